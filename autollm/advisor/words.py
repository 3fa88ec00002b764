"""Numbers and counts as people write them, for all that the advisor says."""

from __future__ import annotations

from typing import Any

COUNTS = ((1e12, "T"), (1e9, "B"), (1e6, "M"))
NO_CHOICE = (
    "no setting differs between your runs of one size, so none can be better"
)

FEW_VALUES = (
    "too few values of each setting were tried to tell one choice from another"
)


def count(value: float) -> str:
    """A size as people write it: 7B, 62.5M, 250000, 0.25."""
    for factor, letter in COUNTS:
        if abs(value) >= factor:
            return f"{value / factor:.4g}{letter}"
    return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def short(value: Any) -> str:
    """A setting as a configuration file would have it: 524288, 0.0003, adamw."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e12:
        return str(int(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def several(n: int, noun: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def have_in_words(outcome: float) -> str:
    """That settings are those of a run of the evidence."""
    return f"you have this run: {outcome:.4g}"


def last_part(name: str) -> str:
    """`loss` of eval/loss: what files leave of a tracker's name."""
    return name.replace("/", ".").rsplit(".", 1)[-1]
