"""A home's own record against its intervals: how wide they should have been.

Of every scored outcome (a followed recommendation that finished, told of once) the miss
is counted in half widths of its own interval. The factor is the smallest number of half
widths that holds nine outcomes of ten (split conformal prediction: the k-th smallest of
n misses, k = ceil(.9 (n + 1)); V. Vovk et al., "Algorithmic learning in a random world",
2005). With fewer than nine outcomes there is no such k, and nothing is changed.

Invariant: runs that were stopped are censored: counted, and neither hit nor miss.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from autollm.advisor.answer import Advice, Checked, Interval, Proposal
from autollm.advisor.kept.ledger import STOPPED, Entry, entries, scored

Answer = TypeVar("Answer", Proposal, Checked)
LEVEL = 0.9
LEAST = math.ceil(LEVEL / (1 - LEVEL) - 1e-9)
"""Nine: the fewest n for which ceil(.9 (n + 1)) is at most n."""


@dataclass(frozen=True)
class Record:
    """Of all saved advice of a home. `factor`: None with fewer than LEAST scored."""

    n_scored: int
    n_inside: int
    n_censored: int
    factor: float | None


def record_of(home: str) -> Record:
    """The record of a home's ledger."""
    return record(entries(home)) if home else Record(0, 0, 0, None)


def record(saved: Iterable[Entry]) -> Record:
    """The record of saved advice."""
    misses: list[float] = []
    n_inside = 0
    n_censored = 0
    for entry in saved:
        n_censored += sum(1 for run in entry.told if run.status in STOPPED)
        for run, bounds in scored(entry):
            shown = half_widths(run.outcome, bounds)
            n_inside += shown <= 1
            misses.append(shown * _factor_of(entry))
    return Record(len(misses), n_inside, n_censored, _quantile(misses))


def half_widths(outcome: float, bounds: dict[str, float]) -> float:
    """Distance of an outcome from the mean, in half widths of the side it lies on."""
    mean = bounds["mean"]
    side = bounds["high"] if outcome >= mean else bounds["low"]
    return abs(outcome - mean) / max(abs(side - mean), 1e-300)


def _factor_of(entry: Entry) -> float:
    """By which the frozen intervals had been widened already."""
    return (entry.answer.get("calibration") or {}).get("factor") or 1.0


def _quantile(misses: list[float]) -> float | None:
    if len(misses) < LEAST:
        return None
    k = math.ceil(LEVEL * (len(misses) + 1) - 1e-9)
    return sorted(misses)[k - 1]


def recalibrated(advice: Advice, record: Record) -> Advice:
    """The advice with its intervals as wide as the record says, and the record in it;
    the same advice where nothing was told of yet.
    """
    if record.n_scored + record.n_censored == 0:
        return advice
    told = replace(advice, calibration=asdict(record))
    if record.factor is None:
        return told
    proposals = []
    for proposal in advice.recommendations:
        proposals.append(_wider(proposal, record.factor))
    checked = advice.checked and _wider(advice.checked, record.factor)
    return replace(told, recommendations=tuple(proposals), checked=checked)


def _wider(answer: Answer, factor: float) -> Answer:
    wider = {}
    for name in ("predicted", "advised_predicted"):
        old = getattr(answer, name, None)
        if old is not None:
            low = old.mean - factor * (old.mean - old.low)
            high = old.mean + factor * (old.high - old.mean)
            wider[name] = Interval(old.mean, low, high, old.level)
    return replace(answer, **wider)
