"""Warnings: what a person should know before following an advice, each by its code.

Invariant: a doubt is a function of the study alone, and has a test that raises it and
one that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from autollm.advisor.answer import Warn
from autollm.advisor.asking.together import (
    correlation,
    rank_correlation,
    tied_pairs,
)
from autollm.advisor.deciding.study import Study
from autollm.advisor.statistics.parametrization import should_stay, transfers

FEW_ROWS = 12
"""Runs of a level: a bowl of two knobs has six parameters, and noise needs as many."""
FAR_ALONG, FAR_ACROSS = 4.0, 2.0
"""Standard deviations of the levels."""
FAR_BELOW = 1.0
"""Octaves below the cheapest experiment: half of its compute."""
NOISY = 0.33
"""Noise over median - best: a third of the spread hides the order of good rows."""
EFFORT = 0.7
"""Rank correlation of rows and compute from which effort changes with scale."""
UNEVEN = 2.0
"""Most over fewest rows of an experiment, from which the raw best is another thing."""
CONTRADICTION = 6.0
"""Replicas this many pooled sd apart contradict each other."""


def doubts(study: Study) -> tuple[Warn, ...]:
    """All that apply, in a fixed order."""
    found: list[Warn] = []
    for rule in RULES:
        found += rule(study)
    return tuple(found)


def one_scale(study: Study) -> Iterator[Warn]:
    if study.is_prior:
        rates = "rates fall with the root of size"
        if transfers(study.question.view.context):
            rates = "rates stay, as the declared parametrization says"
        yield Warn(
            "one-scale",
            "all runs are of one scale: how optima move with scale is the library's "
            f"prior ({rates}, batches grow with data), not your evidence.",
        )


def few_rows(study: Study) -> Iterator[Warn]:
    few = [study.place(r.label) for r in study.rows if len(r.loss) < FEW_ROWS]
    if few and study.has_choice:
        yield Warn(
            "few-rows",
            f"{len(few)} of {len(study.rows)} experiments have fewer than {FEW_ROWS} "
            f"configurations ({', '.join(few[:3])}): their optima are loose.",
        )


def edge(study: Study) -> Iterator[Warn]:
    for j, name in enumerate(study.response.names):
        sides = [level.edge[j] for level in study.response.levels]
        n = sum(1 for side in sides if side)
        if n and (n >= len(sides) / 3 or sides[-1]):
            beyond = {1: "above", -1: "below"}
            where = " or ".join(w for s, w in beyond.items() if s in sides)
            yield Warn(
                "edge",
                f"the optimum of {study.native(name)} lies {where} what was "
                f"tried in {n} of {len(sides)} experiments: a bound, not a value, and "
                "what is said of values beyond it is a guess.",
            )
    for ends in study.ends:
        if ends.value is not None and ends.is_better:
            name = ends.knob.name
            where = "above" if ends.value == ends.tried[-1] else "below"
            shown = study.names.value(name, ends.value)
            yield Warn(
                "edge",
                f"{study.native(name)} = {shown} was the better of two values, and "
                f"nothing {where} it was tried: a bound, not a value.",
            )


def collinear(study: Study) -> Iterator[Warn]:
    if study.ladder.collinear:
        told = " and ".join(study.native(n) for n in study.ladder.collinear)
        yield Warn(
            "collinear",
            f"{told} grow together in your runs: what each does alone is not "
            "identified. One run off the ray would tell (see what the logs can answer).",
        )


def together(study: Study) -> Iterator[Warn]:
    """Two numeric knobs that changed together in every experiment."""
    space = study.question.space
    for pair in tied_pairs(space, [rows.points for rows in study.rows]):
        told = " and ".join(study.native(space.coordinates[k]) for k in pair)
        yield Warn(
            "together",
            f"{told} changed together in every experiment: the fit cannot say which of "
            "them mattered.",
        )


def effort(study: Study) -> Iterator[Warn]:
    n = [len(r.loss) for r in study.rows]
    tied = rank_correlation(np.array(n), np.arange(len(n)))
    uneven = max(n) >= UNEVEN * min(n)
    if len(n) >= 3 and uneven and tied is not None and abs(tied) > EFFORT:
        yield Warn(
            "effort",
            f"runs per experiment change with cost, from {n[0]} at the cheapest to "
            f"{n[-1]} at the most expensive: a raw best of many lies lower than a best "
            "of few. The advice compares fitted minima instead.",
        )


def failures_deleted(study: Study) -> Iterator[Warn]:
    """No diverged or failed run although rates span two octaves above the optimum."""
    statuses = {run["status"] for run in study.evidence.runs}
    if statuses - {"finished"} or len(study.evidence.runs) < 30:
        return
    declared = study.question.table.experiments[0].space
    for j, name in enumerate(study.response.names):
        if name not in declared.names:  # a part of a mixture or list
            continue
        knob = declared.knobs[declared.names.index(name)]
        if knob.role != "rate" or knob.scale != "log":
            continue
        above = [
            r.points[:, study.response.columns[j]].max() - level.optimum[j]
            for r, level in zip(study.rows, study.response.levels, strict=True)
        ]
        steps = np.median(
            [
                _lopsided(r.points[:, study.response.columns[j]])
                for r in study.rows
            ]
        )
        if min(above) > 0 and max(above) >= 1 and steps < 0.6:
            yield Warn(
                "failures-deleted",
                f"no run diverged, and high values of {study.native(name)} have "
                "fewer runs than low ones: were failed runs deleted? Then the cliff "
                "is not in the evidence.",
            )


def unfinished(study: Study) -> Iterator[Warn]:
    counts: dict[str, int] = {}
    for run in study.evidence.runs:
        if run["status"] in ("killed", "pruned", "running", "failed"):
            counts[run["status"]] = counts.get(run["status"], 0) + 1
    n = sum(counts.values())
    if n:
        listed = ", ".join(
            f"{c} {status}" for status, c in sorted(counts.items())
        )
        bounds = [here.bounds for here in study.rows if here.bounds is not None]
        held = sum(len(losses) for _, losses, _ in bounds)
        yield Warn(
            "unfinished",
            f"{n} of {len(study.evidence.runs)} runs did not end by themselves ({listed})"
            f": {held} count as bounds of what they would have reached, {n - held} for "
            "nothing.",
        )


def mostly_diverged(study: Study) -> Iterator[Warn]:
    runs = study.evidence.runs
    n = sum(run["status"] == "diverged" for run in runs)
    if n > len(runs) / 2:
        yield Warn(
            "diverged",
            f"{n} of {len(runs)} runs diverged: all that is said rests on the others. Fix: "
            "a few cheap runs where none diverges, at lower rates first.",
        )


def contradiction(study: Study) -> Iterator[Warn]:
    sd = study.evidence.sd_replicas
    if not sd:
        return
    cells: dict[tuple[str, str], list[float]] = {}
    for run in study.evidence.runs:
        value = run["objective_value"]
        if (
            run["status"] == "finished"
            and value is not None
            and np.isfinite(value)
        ):
            cells.setdefault(
                (run["experiment_id"], run["config_id"]), []
            ).append(value)
    ranges = {cell: max(v) - min(v) for cell, v in cells.items() if len(v) > 1}
    typical = float(np.median(list(ranges.values()))) if ranges else 0.0
    bad = [
        c
        for c, wide in ranges.items()
        if len(ranges) >= 3 and wide > CONTRADICTION * typical > 0
    ]
    if bad:
        worst = max(bad, key=ranges.__getitem__)
        yield Warn(
            "replicas",
            f"{len(bad)} configurations were repeated with results that contradict each "
            f"other, the worst by {ranges[worst]:.3g} where {typical:.3g} is usual. Was "
            "something changed between them?",
        )


def noisy(study: Study) -> Iterator[Warn]:
    sd = study.noise.sd
    if (
        sd is not None
        and study.noise.origin == "replicas"
        and sd > NOISY * study.spread
    ):
        yield Warn(
            "noise",
            f"one run's noise ({sd:.2g}) is large against what choices change "
            f"({study.spread:.2g} from median to best): repeat before you believe a "
            "difference.",
        )


NOTED = {
    "changed-together": "together",
    "confounded-context": "confounded",
    "context-left-out": "context",
    "measured-or-chosen": "measured",
    "set-aside": "set-aside",
}
"""Codes of what was noticed while reading, and the warnings that they are."""


def noted(study: Study) -> Iterator[Warn]:
    """What reading the logs noticed already."""
    told = set()
    for code, text in study.evidence.notes:
        # a proposal and what is read by it see the same settings change with scale
        if code in NOTED and not (
            code == "confounded-context" and code in told
        ):
            yield Warn(NOTED[code], text)
        told.add(code)


def direction(study: Study) -> Iterator[Warn]:
    """Larger scales ought to be better."""
    typical = np.array([np.median(rows.loss) for rows in study.rows])
    tied = correlation(study.octaves, typical)
    if tied is not None and tied > 0.8:
        yield Warn(
            "direction",
            f"{study.native(study.question.view.objective)} gets worse with scale if "
            f"{study.question.view.direction} is better. Is it the other way? Fix: "
            f"--objective NAME:{'max' if study.sign > 0 else 'min'}.",
        )


def far(study: Study) -> Iterator[Warn]:
    along = study.distance.along
    across = study.distance.across
    below = float(study.octaves.min())
    if below > FAR_BELOW:
        yield Warn(
            "far-below",
            f"the target costs {2.0**-below:.2g} of your cheapest experiment: a run so "
            "cheap is tried, not foretold. Is a letter missing (B, M)?",
        )
    elif along is not None and along > FAR_ALONG:
        yield Warn(
            "far-along",
            f"the target lies {along:.1f} standard deviations beyond the middle of your "
            "levels: errors of exponents multiply.",
        )
    if across is not None and across > FAR_ACROSS:
        yield Warn(
            "far-across",
            f"the target lies {across:.1f} standard deviations off the line of your "
            "levels (another ratio of its coordinates): little speaks for that side.",
        )


def disagree(study: Study) -> Iterator[Warn]:
    """The decider and the textbook's line are more than one step apart."""
    for j, name in enumerate(study.response.names):
        trend = study.trends.get(name)
        if trend is None or j >= len(study.optimum):
            continue
        gap = abs(
            float(np.clip(trend.at_target, *_window(study, j)))
            - study.optimum[j]
        )
        if gap > max(1.0, 2 * trend.sd):
            knobs = study.question.space.knobs
            is_log = any(k.name == name and k.scale == "log" for k in knobs)
            apart = (
                f"a factor of {2.0**gap:.2g}" if is_log else f"{gap:.1f} steps"
            )
            yield Warn(
                "disagree",
                f"two ways to read your runs put the best {study.native(name)} {apart} "
                "apart: each level's own optimum and a line through them, and one fit "
                "to all rows.",
            )


def moves_under_mup(study: Study) -> Iterator[Warn]:
    """A rate that moves with size where the declared parametrization says that it does
    not."""
    first = study.question.table.experiments[0]
    for law in study.laws:
        if law.verdict == "moves" and should_stay(
            law, first.space, first.context
        ):
            yield Warn(
                "parametrization",
                f"under {first.context['parametrization']} the best "
                f"{study.native(law.knob)} should not move with "
                f"{study.native(law.per)}, and in your runs it does: {law.exponent:+.2f} "
                f"an octave ({law.low:+.2f} to {law.high:+.2f}). Is it declared rightly?",
            )


def unproven(study: Study) -> Iterator[Warn]:
    tests = study.own_backtests
    if tests and np.mean([b.regret for b in tests]) > 0.3:
        yield Warn(
            "backtests",
            f"on {len(tests)} hidden experiments of your own the advice lost "
            f"{np.mean([b.regret for b in tests]):.0%} of what separates the median from "
            "the best.",
        )


def _window(study: Study, j: int) -> np.ndarray:
    return study.question.space.window[:, study.response.columns[j]]


def _lopsided(values: np.ndarray) -> float:
    """Runs at the highest value over runs at the lowest."""
    rounded = np.round(values, 3)
    return float(
        np.sum(rounded == rounded.max()) / np.sum(rounded == rounded.min())
    )


RULES: tuple[Callable[[Study], Iterator[Warn]], ...] = (
    one_scale,
    few_rows,
    edge,
    collinear,
    together,
    effort,
    failures_deleted,
    unfinished,
    mostly_diverged,
    contradiction,
    noisy,
    noted,
    direction,
    far,
    disagree,
    moves_under_mup,
    unproven,
)
