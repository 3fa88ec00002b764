"""What the user wrote as the target, resolved against the evidence's ladder:
`params=7B,tokens=1.4e11`, `model=500M`, `tokens_per_param=20`.

Invariant: a coordinate that varies in the evidence is never guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

from autollm.advisor.answer import Assumption
from autollm.core.errors import QuestionError
from autollm.core.values import parse_number
from autollm.gym.tables.outcome_table import Experiment

RATIO = re.compile(r"(\w+?)s?(?:_per_|/)(\w+)")
"""`tokens_per_param`, `D/N`: the first coordinate is that many times the second."""
NO_SIZE = "one"
"""The coordinate of evidence in which nothing says how large a run was, 1 everywhere."""
SAME = 1e-6
"""Relative difference below which a coordinate counts as constant: canonical JSON
keeps six digits."""


def parse_target(text: str) -> dict[str, float]:
    """Names and positive numbers of `name=value,...`.

    Raises:
        QuestionError: no such list, or a value that is no positive number.
    """
    found: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, written = part.partition("=")
        number = size_of(written.strip() if name.strip() else None, part)
        if found.get(name.strip(), number) != number:
            raise QuestionError(
                f"--target: {name.strip()} is said twice, {found[name.strip()]:g} and "
                f"{number:g}. Fix: say it once."
            )
        found[name.strip()] = number
    return found


def size_of(written: Any, told: str) -> float:
    """A coordinate's number, as a number or as people write it. `told`: how it was
    said.

    Raises:
        QuestionError: no positive number.
    """
    number = parse_number(written)
    if isinstance(written, Real) and not isinstance(written, (bool, int)):
        number = float(written)
    if number is None or not 0 < number < math.inf:
        raise QuestionError(
            f"--target: {told!r} is no coordinate. Expected NAME=NUMBER, such as "
            "params=7e9,tokens=140B."
        )
    return float(number)


def resolve_target(
    said: Mapping[str, float],
    experiments: Iterable[Experiment],
    columns: Mapping[str, str],
) -> tuple[dict[str, float], list[Assumption]]:
    """The target's fidelity in the ladder's order, and what was assumed.

    `columns`: canonical name -> the user's; both may be said, in any case.

    Raises:
        QuestionError: an unknown name, no positive number, or a coordinate that varies
            and was not said.
    """
    said = {n: size_of(v, f"{n}={v}") for n, v in said.items()}
    experiments = list(experiments)
    names = list(experiments[0].fidelity)
    spelled = {n.lower(): n for n in names}
    spelled |= {c.lower(): n for n, c in columns.items() if n in names}
    assumptions = []
    if names == [NO_SIZE]:
        assumptions = [
            Assumption(
                "target-size",
                f"your runs do not say how large they are: the answer holds at their own "
                f"size, not at {name} = {value:g}",
                "guessed",
            )
            for name, value in said.items()
            if name.lower() not in spelled
        ]
        said = {n: v for n, v in said.items() if n.lower() in spelled}
    given, ratios = _split(said, spelled)
    for ratio, (upper, lower, value) in ratios.items():
        if lower in given:
            wanted = value * given[lower]
            if not math.isclose(given.setdefault(upper, wanted), wanted):
                raise QuestionError(
                    f"--target: {ratio} = {value:g} makes {upper} {wanted:g}, and "
                    f"{given[upper]:g} is said. Fix: leave one of them out."
                )
        elif upper in given:
            given[lower] = given[upper] / value
        else:
            raise QuestionError(
                f"--target: {ratio} needs {lower} or {upper} beside it."
            )
    assumptions += [
        Assumption("target", f"{columns.get(n, n)} = {v:g}", "said")
        for n, v in given.items()
    ]
    target = {}
    for name in names:
        if name not in given:
            given[name], assumption = _constant(name, experiments, columns)
            assumptions.append(assumption)
        target[name] = given[name]
    return target, assumptions


def _split(
    said: Mapping[str, float], spelled: Mapping[str, str]
) -> tuple[dict[str, float], dict[str, tuple[str, str, float]]]:
    """Coordinates, and ratios of two of them."""
    given: dict[str, float] = {}
    ratios: dict[str, tuple[str, str, float]] = {}
    for name, value in said.items():
        known = spelled.get(name.lower()) or _only_one(name, spelled)
        ratio = RATIO.fullmatch(name)
        pair = (
            [_coordinate(word, spelled) for word in ratio.groups()]
            if ratio
            else []
        )
        if known:
            if given.get(known, value) != value:
                raise QuestionError(
                    f"--target: {known} is said twice, {given[known]:g} and {value:g}. "
                    "Fix: say it once."
                )
            given[known] = value
        elif pair and all(pair):
            ratios[name] = (*pair, value)
        else:
            raise QuestionError(
                f"--target: the evidence has no coordinate {name!r}. It has: "
                f"{', '.join(dict.fromkeys(spelled))}. Fix: leave {name} out of --target, "
                f"or, where a column counts it: --fidelity {name}=COLUMN."
            )
    return given, ratios


def _only_one(name: str, spelled: Mapping[str, str]) -> str:
    """The one coordinate whose name holds a word (`params` for `effective_params`)."""
    word = re.compile(rf"(^|[^a-z]){re.escape(name.lower())}($|[^a-z])")
    found = {
        known
        for text, known in spelled.items()
        if word.search(text.replace("_", " "))
    }
    return found.pop() if len(found) == 1 else ""


def _coordinate(word: str, spelled: Mapping[str, str]) -> str:
    """`token`, `tokens` or the user's own spelling of a coordinate; empty: none."""
    return spelled.get(word.lower()) or spelled.get(f"{word.lower()}s") or ""


def _constant(
    name: str, experiments: list[Experiment], columns: Mapping[str, str]
) -> tuple[float, Assumption]:
    values = [e.fidelity[name] for e in experiments]
    shown = columns.get(name, name)
    if max(values) - min(values) > SAME * max(values):
        raise QuestionError(
            f"--target lacks {shown}, which varies in the evidence ({min(values):g} to "
            f"{max(values):g}). Fix: --target ...,{shown}=VALUE."
        )
    text = f"{shown} = {values[0]:g}, as in every run"
    return values[0], Assumption("target-constant", text, "guessed")
