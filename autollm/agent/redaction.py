"""Secrets taken out of text before it leaves this machine or reaches a log: keys,
tokens, passwords, e-mail addresses.

A net, not a proof: it knows the usual forms and the very secrets that it is handed.
What does not belong here: deciding what is sent. Invariant: redacting twice changes
nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

REDACTED = "[redacted]"
_FORMS = (
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        re.DOTALL,
    ),
    re.compile(r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}"),  # OpenAI, Anthropic, Stripe
    re.compile(
        r"\b(?:hf_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|wandb_v1_)[A-Za-z0-9_-]{10,}"
    ),
    re.compile(r"\bA(?:KIA|SIA)[A-Z0-9]{16}\b"),  # AWS
    re.compile(r"\bAIza[A-Za-z0-9_-]{30,}"),  # Google
    re.compile(
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    ),  # JSON web tokens
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),  # user:password in an address
    re.compile(
        r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b"
    ),
)
_NAMED = re.compile(
    r"""(?i)\b((?:[a-z0-9]+[_-])*(?:api[_-]?key|access[_-]?key|secret|passwd|password|token|authorization)["']?\s*[:=]\s*["']?"""
    r"""(?:bearer\s+|basic\s+)?)(?!\[redacted\]|bearer\b|basic\b)([^\s"',;}\]]{6,})"""
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)(?!\[redacted\])([A-Za-z0-9._~+/=-]{8,})")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with every secret replaced by `[redacted]`; `secrets` are known ones,
    taken out wherever they stand.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    for form in _FORMS:
        text = form.sub(REDACTED, text)
    return _BEARER.sub(rf"\1{REDACTED}", _NAMED.sub(rf"\1{REDACTED}", text))
