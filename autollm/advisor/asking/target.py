"""What the user wrote as the target, resolved against the evidence's ladder:
`params=7B,tokens=1.4e11`, `model=500M`, `tokens_per_param=20`.

Invariant: a coordinate that varies in the evidence is never guessed.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from autollm.advisor.answer import Assumption
from autollm.core.errors import QuestionError
from autollm.core.values import parse_value
from autollm.gym.tables.outcome_table import Experiment

RATIO = re.compile(r"(\w+?)s?(?:_per_|/)(\w+)")
"""`tokens_per_param`, `D/N`: the first coordinate is that many times the second."""
NO_SIZE = "one"
"""The coordinate of evidence in which nothing says how large a run was, 1 everywhere."""
COUNTED = ("tokens", "params", "steps", "epochs", "samples")
"""Units that coordinates have."""
MEASURED = {
    "bytes": re.compile("byte"),
    "s": re.compile("time|hour|second|minute|wall"),
    "rate": re.compile("rate|throughput"),
    "flops": re.compile("flop|compute"),
    "share": re.compile("share|frac|percent|ratio"),
}
"""Units that only coordinates of such a name have."""
LEAST = {"params": 1e3, "tokens": 1e3}
MOST = {"params": 1e14, "tokens": 1e17}
"""Between them lie all models and data sets there are; beyond them a letter was
forgotten or is too many, unless the evidence lies there, too."""
BELOW, ABOVE = 1e6, 1e9
"""Times below and above all of the evidence at which nobody asks."""
LARGER = 4.0
"""Times the evidence that a target usually is, at least."""
LETTERS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
ONE_RATIO = 1.05
"""Times by which a ratio may vary and is still one: sizes are told with two digits."""
ROUNDED = 0.05
"""Relative difference of a size in a plan and in the target that is rounding: people
write 1.4B for 1,362,000,000."""
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
    if isinstance(written, Real) and not isinstance(written, (bool, int)):
        written = float(written)
    value = parse_value(written)
    if value is None or not 0 < value.number < math.inf:
        raise QuestionError(
            f"--target: {told!r} is no coordinate. Expected NAME=NUMBER, such as "
            "params=7e9,tokens=140B."
        )
    name = told.partition("=")[0].lower()
    if not _counts(name, value.unit):
        raise QuestionError(
            f"--target: {told!r} is in another unit ({value.unit}). Fix: a plain number, "
            "or K, M, B, T behind it: params=7B."
        )
    return float(value.number)


def _counts(name: str, unit: str) -> bool:
    """Whether a coordinate of that name can have the unit; a name that speaks of none
    can have those that are counted.
    """
    if unit in MEASURED:
        return MEASURED[unit].search(name) is not None
    named = [known for known in COUNTED if known.rstrip("s") in name]
    return not unit or unit in (named or COUNTED)


def resolve_target(
    said: Mapping[str, float],
    experiments: Iterable[Experiment],
    columns: Mapping[str, str],
    planned: Mapping[str, float] | None = None,
) -> tuple[dict[str, float], list[Assumption]]:
    """The target's fidelity in the ladder's order, and what was assumed.

    `columns`: canonical name -> the user's; both may be said, in any case. `planned`:
    coordinates that a plan to be checked says.

    Raises:
        QuestionError: an unknown name, no positive number, a coordinate that varies
            and was not said, or one of which the plan says another.
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
    planned = planned or {}
    given = {**planned, **given}
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
    for name, value in given.items():
        _check_plausible(name, value, experiments, columns)
    for name, value in planned.items():
        if not math.isclose(value, given[name], rel_tol=ROUNDED):
            raise QuestionError(
                f"--target makes {columns.get(name, name)} {given[name]:g}, and your plan "
                f"says {value:g}. Fix: say it once, or correct the wrong one."
            )
    lacking = [n for n in names if n not in given and _varies(n, experiments)]
    if lacking:
        raise _lacks(lacking, said, given, experiments, columns)
    target = {}
    for name in names:
        if name not in given:
            given[name] = experiments[0].fidelity[name]
            shown = columns.get(name, name)
            text = f"{shown} = {given[name]:g}, as in every run"
            assumptions.append(Assumption("target-constant", text, "guessed"))
        target[name] = given[name]
    return target, assumptions


def _check_plausible(
    name: str,
    value: float,
    experiments: Sequence[Experiment],
    columns: Mapping[str, str],
) -> None:
    """A number far from all runs is one of which a letter was forgotten.

    Raises:
        QuestionError: no run is of such a size.
    """
    low, high = _range(name, experiments)
    word = next((w for w in LEAST if w in name), "")
    least = low / BELOW
    most = high * ABOVE
    if word:
        least = max(least, min(LEAST[word], low))
        most = min(most, max(MOST[word], high))
    if least <= value <= most:
        return
    shown = columns.get(name, name)
    meant = f"{shown}={_meant(value, high)}"
    raise QuestionError(
        f"--target {shown}={value:g} is no size of a run like yours, which have "
        f"{low:g} to {high:g}. Did you mean {meant}? Fix: --target "
        f"{shlex.quote(f'...,{meant}')}."
    )


def _meant(value: float, near: float) -> str:
    """The number with the letter that brings it nearest to the evidence."""
    options = {}
    for letter, factor in LETTERS.items():
        options[f"{value:g}{letter}"] = value * factor
        options[f"{value / factor:g}"] = value / factor
    return min(
        options, key=lambda text: abs(math.log(options[text] / near / LARGER))
    )


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
    """The one coordinate whose name holds these words (`params` for `effective_params`,
    `model_size` for `config.model_size`).
    """
    words = re.escape(_spaced(name))
    held = re.compile(rf"(^|[^a-z0-9]){words}($|[^a-z0-9])")
    found = {k for text, k in spelled.items() if held.search(_spaced(text))}
    return found.pop() if len(found) == 1 else ""


def _spaced(name: str) -> str:
    return re.sub(r"[_.\-/]", " ", name.lower())


def _coordinate(word: str, spelled: Mapping[str, str]) -> str:
    """`token`, `tokens` or the user's own spelling of a coordinate; empty: none."""
    return spelled.get(word.lower()) or spelled.get(f"{word.lower()}s") or ""


def _range(name: str, experiments: Sequence[Experiment]) -> tuple[float, float]:
    values = [e.fidelity[name] for e in experiments]
    return min(values), max(values)


def _varies(name: str, experiments: Sequence[Experiment]) -> bool:
    low, high = _range(name, experiments)
    return high - low > SAME * high


def _lacks(
    names: Sequence[str],
    said: Mapping[str, float],
    given: Mapping[str, float],
    experiments: Sequence[Experiment],
    columns: Mapping[str, str],
) -> QuestionError:
    """All coordinates that vary and were not said; the number that keeps a ratio which
    all runs have is offered. A name that a list of NAME=NUMBER cannot hold is told as
    the canonical one.
    """
    told = []
    has_kept = False
    words = [f"{name}={value:g}" for name, value in said.items()]
    for name in names:
        column = columns.get(name, name)
        low, high = _range(name, experiments)
        told.append(f"{column} ({low:g} to {high:g})")
        spelled = name if set(column) & set(",=") else column
        kept = _in_ratio(name, given, experiments)
        number = "NUMBER" if kept is None else f"{kept:.4g}"
        has_kept = has_kept or kept is not None
        words.append(f"{spelled}={number}")
    verb = "varies" if len(told) == 1 else "vary"
    ratio = " (in the ratio that all of your runs have)" if has_kept else ""
    return QuestionError(
        f"--target lacks {' and '.join(told)}, which {verb} in the evidence. Fix: "
        f"--target {shlex.quote(','.join(words))}{ratio}."
    )


def _in_ratio(
    name: str, given: Mapping[str, float], experiments: Sequence[Experiment]
) -> float | None:
    """The coordinate's number in its one ratio to another that was said."""
    for other, value in given.items():
        ratios = []
        for experiment in experiments:
            ratios.append(
                experiment.fidelity[name] / experiment.fidelity[other]
            )
        if max(ratios) <= ONE_RATIO * min(ratios):
            return value * sorted(ratios)[len(ratios) // 2]
    return None
