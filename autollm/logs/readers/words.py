"""What names mean in other people's logs: the words themselves are data (words.toml).

Invariant: read once, and nothing of it is changed.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_WORDS = tomllib.loads(
    Path(__file__).with_name("words.toml").read_text(encoding="utf-8")
)
STEP_NAMES: tuple[str, ...] = tuple(_WORDS["names"]["counters"])
LATEX_SIGNS: tuple[tuple[str, str], ...] = tuple(
    map(tuple, _WORDS["latex"]["signs"])
)
TOKEN_METRICS = frozenset(_WORDS["names"]["tokens"])


def names(entry: str) -> tuple[str, ...]:
    """The names of an entry, in its order."""
    return tuple(_WORDS["names"][entry])


def pattern(entry: str) -> re.Pattern[str]:
    """The pattern of an entry; letters may be large or small."""
    return re.compile(_WORDS["patterns"][entry], re.IGNORECASE)


def ending(entry: str) -> re.Pattern[str]:
    """What an entry says of a run's end."""
    return re.compile(_WORDS["endings"][entry])
