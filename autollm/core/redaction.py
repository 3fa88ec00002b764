"""Secrets and private names taken out of text before it leaves this machine or reaches
a page: keys, tokens, passwords, addresses, host and user names, paths.

A net, not a proof: it knows the usual forms and the very secrets that it is handed.
Every repetition in a pattern is bounded, so that the time grows with the text alone.
Forms of tokens follow what their issuers document and what detectors such as gitleaks
look for. Invariant: redacting twice changes nothing more.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Iterable
from functools import cache
from typing import Any

REDACTED = "[redacted]"
HOST, USER, ADDRESS, FOLDER = "[host]", "[user]", "[address]", "[folder]"

_PREFIXES = (
    r"sk-(?:proj-|ant-|or-|svcacct-)?",  # OpenAI, Anthropic, OpenRouter
    r"(?:sk|rk|pk|whsec)_(?:live_|test_)?",  # Stripe
    r"hf_|api_org_",  # Hugging Face
    r"gh[pousr]_|github_pat_",
    r"gl(?:pat|dt|rt|ptt|soat|ft|cbt|imt|agent)-",  # GitLab
    r"xox[abeoprs](?:\.xox[abp])?-|xapp-",  # Slack
    r"wandb_v1_",
    r"GOCSPX-|ya29\.|1//0",  # Google
    r"npm_|pypi-|dckr_pat_|rubygems_",
    r"gsk_|xai-|pplx-|r8_|fw_|nvapi-|tgp_v1_|csk-",  # Groq, xAI, Perplexity, ...
    r"dapi|do[oprt]_v1_|dp\.(?:pt|st|ct|sa|scim|audit)\.|lin_api_|ntn_|secret_",
    r"gl(?:c|sa)_|sntry[su]_|shp(?:at|ca|pa|ss)_|SG\.|key-|HRKU-|hv[sbr]\.|pul-",
    r"PMAK-|sbp_|pscale_(?:tkn|pw|oauth)_|figd_|dd[ap]_|nr(?:ak|js)-|CFPAT-|EAA",
    r"AGE-SECRET-KEY-|LTAI|AKCp|cmVmd|rpa_|ts-api-|vercel_|vc[pika]_",
)
_LONG_TOKEN = r"[A-Za-z0-9_~.+/=-]{14,512}"
_KEY = r"(?:RSA |EC |DSA |OPENSSH |ENCRYPTED |PGP )?PRIVATE KEY(?: BLOCK)?"
_FORMS = (
    # a block that is cut off ends with the text
    rf"-----BEGIN {_KEY}-----[^-]{{0,20000}}(?:-----END {_KEY}-----)?",
    rf"\b(?:{'|'.join(_PREFIXES)})(?=[A-Za-z0-9_~.+/=-]{{0,40}}[0-9A-Z]){_LONG_TOKEN}",
    r"\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{12,20}\b",  # AWS
    r"\bAIza[A-Za-z0-9_-]{30,60}",  # Google
    r"\beyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,4000}(?:\.[A-Za-z0-9_-]{0,4000})?",
    r"[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,40}",  # Azure client secrets
    r"\b(?:SK|AC)[0-9a-f]{32}\b",  # Twilio
    r"\b[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,45}",  # Discord
    r"\b\d{8,10}:AA[A-Za-z0-9_-]{30,40}",  # Telegram
    r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/_-]{8,200}",
    r"(?<=discord\.com/api/webhooks/)[A-Za-z0-9/_-]{8,200}",
    r"(?<=://)[^/\s:@\"']{0,256}:[^/\s@\"']{1,512}(?=@)",  # user:password in an address
)
_TOKENS = tuple(re.compile(form) for form in _FORMS)

_SECRET_WORD = (
    r"api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|signing[_-]?key|"
    r"encryption[_-]?key|secret|passwd|password|passphrase|passwort|credentials?|"
    r"client[_-]?secret|connection[_-]?string|session[_-]?id|auth[_-]?key"
)
_VALUE = r"(?:\[redacted\]|\"[^\"\n]{1,2000}\"|'[^'\n]{1,2000}'|[^\s\"',;}\])&]{1,2000})"
_GIVEN = r"[\"']?[ \t]{0,8}[:=][ \t]{0,8}"
_NAMED = (
    re.compile(rf"(?i)((?:{_SECRET_WORD})[\w-]{{0,24}}{_GIVEN})({_VALUE})"),
    re.compile(rf"(?i)((?<![a-z0-9])(?:pwd|pass|pw|pat){_GIVEN})({_VALUE})"),
    re.compile(rf"(?i)((?:\b|_|-)token{_GIVEN})({_VALUE})"),
    re.compile(r"(?i)(\bpassword[ \t]{1,8})([^\s\"']{6,200})"),  # netrc
    re.compile(
        r"(?i)([?&](?:key|sig|signature|token|x-amz-signature|code)=)([^\s&#\"']+)"
    ),
)
_HEADERS = re.compile(
    r"(?im)((?:proxy-)?authorization[\"']?[ \t]{0,8}[:=][ \t]{0,8}[\"']?"
    r"(?:(?:bearer|basic|digest|token)[ \t]{1,8})?"
    r"|(?:set-)?cookie[\"']?[ \t]{0,8}:[ \t]{0,8}[\"']?"
    r"|\bx-[a-z0-9-]{0,40}(?:key|token|auth)[\"']?[ \t]{0,8}:[ \t]{0,8}[\"']?)"
    r"(\[redacted\]|[^\n\"']{1,4000})"
)
_SCHEME = re.compile(r"(?i)\b(bearer[ \t]{1,8})([A-Za-z0-9._~+/=-]{8,4000})")
_MODEL_TOKEN = re.compile(
    r"(?i)(?:pad|eos|bos|unk|sep|cls|mask|stop|image|start|end|next|first|last|special)"
    r"[_-]$"
)
"""Words before `token` that make it a piece of text that a model reads, not a secret.
"""

_EMAIL = re.compile(
    r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
)
_IP4 = re.compile(
    r"(?<![\w.])(?!127\.|0\.0\.0\.0)(?:\d{1,3}\.){3}\d{1,3}(?![\w.])"
)
_IP6 = re.compile(
    r"(?i)(?<![\w:])(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{1,4}(?![\w:])"
)
_INNER_HOST = re.compile(
    r"(?i)(?<![\w.-])(?:[a-z0-9-]{1,63}\.){1,8}"
    r"(?:internal|local|localdomain|corp|lan|intranet|compute\.amazonaws\.com)(?![\w-])"
)
_HOST_FIELD = re.compile(
    rf"(?i)(\b(?:_?host(?:name)?|node(?:name|_name)?|machine(?:_name)?){_GIVEN})"
    rf"({_VALUE})"
)
_USER_FIELD = re.compile(
    rf"(?i)(\b(?:user(?:name|_name)?|login|logname|author|owner){_GIVEN})({_VALUE})"
)
_PATH = re.compile(
    r"(?<![\w/:.~\]-])(?:~[\w-]{0,64}|[A-Za-z]:)?[/\\]"
    r"(?:[^\s/\\\"'<>|:*?\[\]]{1,255}[/\\]){1,64}"
)
_HOME = re.compile(r"(?<![\w/:.~\]-])/(?:home|Users)/[^\s/\"'<>|:*?\[\]]{1,64}")
_SAFE_VALUE = re.compile(
    r"[\"']?(?:\[(?:redacted|host|user|address)\]|[-+0-9.e_]{1,24})"
)
"""A redacted value, or a number: `tokens`, `max_token` are counts."""
_COMMON_NAMES = frozenset(
    ("root", "user", "admin", "ubuntu", "runner", "localhost")
)
"""Names that say nothing about whose machine it is, and are words of the language."""


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with every secret replaced by `[redacted]`, and names of machines,
    people and folders by what they are.

    Args:
        secrets: known ones, taken out wherever they stand.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    text = _HEADERS.sub(_after_name, text)
    text = _SCHEME.sub(rf"\1{REDACTED}", text)
    for form in _TOKENS:
        text = form.sub(REDACTED, text)
    for named in _NAMED:
        text = named.sub(_after_name, text)
    return _without_names(text)


def _after_name(match: re.Match[str]) -> str:
    """The name of a value, the value redacted; numbers of tokens stay."""
    name, value = match[1], match[2]
    if value.lstrip("\"'").startswith(REDACTED):
        return match[0]
    is_token = re.search(r"(?i)token[\"']?\s*[:=]", name) is not None
    if is_token and _SAFE_VALUE.fullmatch(value.strip("\"'")):
        return match[0]
    before = match.string[max(0, match.start() - 8) : match.start() + 1]
    if is_token and _MODEL_TOKEN.search(before):
        return match[0]
    quote = value[0] if value[0] in "\"'" and value[-1] == value[0] else ""
    return f"{name}{quote}{REDACTED}{quote}"


def _without_names(text: str) -> str:
    """Addresses, hosts, users and folders replaced by their kind."""
    text = _EMAIL.sub(REDACTED, text)
    text = _HOST_FIELD.sub(lambda match: _kind(match, HOST), text)
    text = _USER_FIELD.sub(lambda match: _kind(match, USER), text)
    text = _INNER_HOST.sub(HOST, text)
    text = _IP4.sub(ADDRESS, text)
    text = _IP6.sub(ADDRESS, text)
    text = _HOME.sub(FOLDER, text)
    text = _PATH.sub(f"{FOLDER}/", text)
    for own, kind in _own_names():
        text = own.sub(kind, text)
    return text


def _kind(match: re.Match[str], kind: str) -> str:
    value = match[2]
    if value.lstrip("\"'").startswith("["):
        return match[0]
    quote = value[0] if value[0] in "\"'" and value[-1] == value[0] else ""
    return f"{match[1]}{quote}{kind}{quote}"


@cache
def _own_names() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Names of this machine and of who uses it, where they are not common words."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, in a container
        user = ""
    patterns = []
    for name, kind in ((socket.gethostname(), HOST), (user, USER)):
        if len(name) >= 3 and name.lower() not in _COMMON_NAMES:
            pattern = rf"(?<![\w-]){re.escape(name)}(?![\w-])"
            patterns.append((re.compile(pattern), kind))
    return tuple(patterns)


def redacted(value: Any) -> Any:
    """The same value with secrets taken out of every text in it: lists, tuples and
    objects as JSON has them; keys stay.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: redacted(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(one) for one in value]
    return value
