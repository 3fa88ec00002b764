"""What the judge found beside regrets and intervals, as numbers: laws ahead, reading, and
what a plan saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autollm.advisor.judged.board import Answers
from autollm.advisor.judged.calibration import Told, coverage
from autollm.advisor.judged.future import Ahead
from autollm.advisor.judged.inference import Comparison, Estimate, compare
from autollm.advisor.judged.reading import Reading
from autollm.advisor.judged.sources import Table


@dataclass(frozen=True)
class Outlook:
    """Forecasts of one source, or of all. miss: root mean square; bias: mean of what
    came minus the forecast; half_width: all in shares of the target's median - best.
    """

    name: str
    n_tables: int
    n: int
    covered: Estimate
    miss: float
    bias: float
    half_width: float


def outlooks(found: Sequence[tuple[Table, Sequence[Ahead]]]) -> list[Outlook]:
    """Each source, then all of them: every source weighs alike, and so does every
    number of levels seen within a table.
    """
    by_source: dict[str, list[tuple[Table, Sequence[Ahead]]]] = {}
    for table, forecasts in found:
        by_source.setdefault(table.source, []).append((table, forecasts))
    each = [_outlook(name, mine) for name, mine in by_source.items()]
    if len(each) > 1:
        told = _all_told(found)
        misses = np.array([one.miss for one in each])
        biases = np.array([one.bias for one in each])
        halves = np.array([one.half_width for one in each])
        whole = Outlook(
            f"all {len(each)} sources",
            len(found),
            len(told),
            coverage(told),
            float(np.sqrt(np.mean(misses**2))),
            float(biases.mean()),
            float(halves.mean()),
        )
        each.append(whole)
    return each


def _outlook(
    name: str, found: Sequence[tuple[Table, Sequence[Ahead]]]
) -> Outlook:
    told = _all_told(found)
    gaps = np.array([(t.came - t.mean) / t.scale for t in told])
    halves = [(t.high - t.low) / 2 / t.scale for t in told]
    return Outlook(
        name,
        len(found),
        len(told),
        coverage(told),
        float(np.sqrt(np.mean(gaps**2))),
        float(np.mean(gaps)),
        float(np.mean(halves)),
    )


def _all_told(
    found: Sequence[tuple[Table, Sequence[Ahead]]],
) -> list[Told]:
    """What came is known with an error of its own, by which the interval is not
    widened: the forecast is to hold the fitted value.
    """
    told = []
    for table, forecasts in found:
        for a in forecasts:
            where = table.source, f"{table.name} {a.target}"
            told.append(
                Told(*where, a.mean, a.low, a.high, a.reached, a.spread)
            )
    return told


@dataclass(frozen=True)
class Read:
    """One format: in how many questions the same advice came out, and why not in the
    others, by source.
    """

    format: str
    n: int
    n_same: int
    reasons: dict[str, list[str]]


def read_alike(found: Sequence[Reading]) -> list[Read]:
    """By format, in the order of the formats."""
    by_format: dict[str, list[Reading]] = {}
    for reading in found:
        by_format.setdefault(reading.format, []).append(reading)
    told = []
    for name, mine in by_format.items():
        reasons: dict[str, list[str]] = {}
        for reading in mine:
            if not reading.same:
                reasons.setdefault(reading.source, []).append(reading.why)
        n_same = sum(reading.same for reading in mine)
        told.append(Read(name, len(mine), n_same, reasons))
    return told


@dataclass(frozen=True)
class Spent:
    """One share of the target's cost: regret of the advice by who bought runs, and the
    plan minus the ladder and minus chance. runs: bought, on average.
    """

    share: float
    comparison: Comparison
    runs: dict[str, float]
    n_questions: int
    n_sources: int


def spending(found: Answers) -> list[Spent]:
    """By share of the target's cost."""
    told = []
    for share in found[0]["regrets"] if found else ():
        names = list(found[0]["regrets"][share])
        grouped: dict[str, dict[str, list[list[float]]]] = {}
        for answer in found:
            row = [answer["regrets"][share][name] for name in names]
            mine = grouped.setdefault(answer["source"], {})
            mine.setdefault(answer["question"], []).append(row)
        scores = {}
        n = 0
        for source, questions in grouped.items():
            scores[source] = [np.array(rows) for rows in questions.values()]
            n += len(questions)
        runs = {}
        for name in names:
            runs[name] = float(np.mean([a["runs"][share][name] for a in found]))
        told.append(
            Spent(
                float(share),
                compare(scores, names, "plan"),
                runs,
                n,
                len(grouped),
            )
        )
    return told
