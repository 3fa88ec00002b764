"""What the judge found beside regrets and intervals, as numbers: laws ahead, reading, and
what a plan saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autollm.advisor.judged.calibration import Prediction, coverage
from autollm.advisor.judged.future import FutureForecast
from autollm.advisor.judged.inference import Comparison, Estimate, compare
from autollm.advisor.judged.reading import Reading
from autollm.advisor.judged.results import Answers
from autollm.advisor.judged.sources import Table


@dataclass(frozen=True)
class ForecastSummary:
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


def forecast_summaries(
    found: Sequence[tuple[Table, Sequence[FutureForecast]]],
) -> list[ForecastSummary]:
    """Each source, then all of them: every source weighs alike, and so does every
    number of levels seen within a table.
    """
    by_source: dict[str, list[tuple[Table, Sequence[FutureForecast]]]] = {}
    for table, forecasts in found:
        by_source.setdefault(table.source, []).append((table, forecasts))
    each = [_forecast_summary(name, mine) for name, mine in by_source.items()]
    if len(each) > 1:
        told = _all_told(found)
        misses = np.array([one.miss for one in each])
        biases = np.array([one.bias for one in each])
        halves = np.array([one.half_width for one in each])
        whole = ForecastSummary(
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


def _forecast_summary(
    name: str, found: Sequence[tuple[Table, Sequence[FutureForecast]]]
) -> ForecastSummary:
    told = _all_told(found)
    gaps = np.array([(t.came - t.mean) / t.scale for t in told])
    halves = [(t.high - t.low) / 2 / t.scale for t in told]
    return ForecastSummary(
        name,
        len(found),
        len(told),
        coverage(told),
        float(np.sqrt(np.mean(gaps**2))),
        float(np.mean(gaps)),
        float(np.mean(halves)),
    )


def _all_told(
    found: Sequence[tuple[Table, Sequence[FutureForecast]]],
) -> list[Prediction]:
    """What came is known with an error of its own, by which the interval is not
    widened: the forecast is to hold the fitted value.
    """
    told = []
    for table, forecasts in found:
        for a in forecasts:
            where = table.source, f"{table.name} {a.target}"
            told.append(
                Prediction(*where, a.mean, a.low, a.high, a.reached, a.spread)
            )
    return told


@dataclass(frozen=True)
class FormatSummary:
    """One format: in how many questions the same advice came out, and why not in the
    others, by source.
    """

    format: str
    n: int
    n_same: int
    reasons: dict[str, list[str]]


def format_summaries(found: Sequence[Reading]) -> list[FormatSummary]:
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
        told.append(FormatSummary(name, len(mine), n_same, reasons))
    return told


@dataclass(frozen=True)
class SpendingSummary:
    """One share of the target's cost: regret of the advice by who bought runs, and the
    plan minus the ladder and minus chance. runs: bought, on average.
    """

    share: float
    comparison: Comparison
    runs: dict[str, float]
    n_questions: int
    n_sources: int


def spending(found: Answers) -> list[SpendingSummary]:
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
            SpendingSummary(
                float(share),
                compare(scores, names, "plan"),
                runs,
                n,
                len(grouped),
            )
        )
    return told
