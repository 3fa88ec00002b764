"""The judge's results in Markdown: what docs/results.md holds.

Invariant: equal results give equal text; every table names how many sources it rests on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from autollm.advisor.judged.calibration import LEAST_COVERED, Class
from autollm.advisor.judged.inference import (
    LEVEL,
    RESOLVED,
    Comparison,
    Estimate,
)
from autollm.advisor.judged.one_question import ADVISOR
from autollm.advisor.judged.results import (
    LEAST_SOURCES,
    Answers,
    Calibration,
    Chances,
    Decision,
    Intervals,
)
from autollm.advisor.judged.summaries import (
    ForecastSummary,
    FormatSummary,
    SpendingSummary,
)
from autollm.evaluation.markdown import markdown


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> list[str]:
    """Lines of a Markdown table."""
    named = [dict(zip(header, row, strict=True)) for row in rows]
    return markdown(named, limit=len(named)).split("\n")


def number(value: float | None) -> str:
    """Three digits, no leading zero; a dash for None."""
    if value is None:
        return "-"
    return f"{value:.3f}".replace("0.", ".", 1)


def estimated(found: Estimate | None) -> str:
    """`.123 [.045, .210]`."""
    if found is None:
        return "-"
    if found.low is None:
        return number(found.mean)
    return f"{number(found.mean)} [{number(found.low)}, {number(found.high)}]"


COMPARED = ("advice - it", "the advice is")


def _compared(
    found: Comparison,
    name: str,
) -> tuple[str, str]:
    """The advice minus one other, and whether its interval holds zero."""
    difference = found.differences.get(name)
    side = "-" if difference is None else difference.side
    return estimated(difference), side


def decision_lines(found: Decision) -> list[str]:
    """Who loses how much at the first trial."""
    sources = list(found.n_questions)
    n = sum(found.n_questions.values())
    asked = ", ".join(f"{s} {k}" for s, k in found.n_questions.items())
    lines = [
        f"{n} hidden experiments of {found.n_sources} sources ({asked}), "
        f"{found.n_seeds} seeds each. Regret of the first proposal on the smoothed "
        "table, 0 is the best, 1 the median; sources weigh alike; 95 % intervals "
        "resample sources, then experiments, then seeds.",
        "",
    ]
    names = sorted(found.latent.names, key=lambda c: found.latent.means[c].mean)
    header = ["who", "mean of sources", "recorded values", *COMPARED]
    rows = []
    for name in names:
        rows.append(
            [
                name,
                estimated(found.latent.means[name]),
                number(found.realised.means[name].mean),
                *_compared(found.latent, name),
                *(number(found.by_source[name][s]) for s in sources),
            ]
        )
    lines += table([*header, *sources], rows)
    lines += ["", _verdict(found.latent)]
    if found.nearer:
        lines += [
            "",
            "Less than 8 times as expensive as the evidence, for want of a gap in the "
            f"ladder: {', '.join(found.nearer)}.",
        ]
    lines += _partly(found)
    return lines


def trained_lines(
    answers: Answers, by_row: Comparison, trained: Comparison
) -> list[str]:
    """The lab's questions whose picks were trained, by contender and question."""
    asked: dict[str, list[Any]] = {}
    for answer in answers:
        asked.setdefault(answer["question"], []).append(answer["picks"])
    sources = {answer["source"] for answer in answers}
    lines = [
        f"{len(asked)} hidden experiments of {len(sources)} sources of the lab, of which "
        "some pick was not recorded. Regret by the nearest recorded row, and of the pick "
        "trained: over the best recorded configuration under the same seed.",
        "",
    ]
    rows = []
    for name in trained.names:
        cells = [name, number(by_row.means[name].mean)]
        cells += [estimated(trained.means[name]), *_compared(trained, name)]
        for picks in asked.values():
            regrets = [pick[name]["trained_regret"] for pick in picks]
            cells.append(number(float(np.mean(regrets))))
        rows.append(cells)
    header = ["who", "nearest row", "trained", *COMPARED, *asked]
    return [*lines, *table(header, rows), "", _verdict(trained)]


def _verdict(found: Comparison) -> str:
    others = {n: e.mean for n, e in found.means.items() if n != ADVISOR}
    best = min(others, key=lambda name: others[name])
    upper = number(found.upper)
    return (
        f"Against the best other policy ({best}): {number(found.against_best)}; "
        f"one-sided {LEVEL:.0%} upper bound of the difference to the best of every "
        f"resample {upper}, wanted below {number(RESOLVED)}: **{found.verdict}**."
    )


def _partly(found: Decision) -> list[str]:
    lines = []
    for name, played in found.partial.items():
        shown = []
        for source in played:
            shown.append(f"{source} {number(found.by_source[name][source])}")
        lines += ["", f"{name} could not play everywhere: {', '.join(shown)}."]
    for name, n in found.failed.items():
        lines += ["", f"{name} failed {n} times (regret 1)."]
    return lines


def calibration_lines(found: Calibration) -> list[str]:
    """Intervals and probabilities."""
    lines = ["Nominal 90 % intervals, at each contender's own picks:", ""]
    header = ["picks of", "what", "n", "sources", "covered", "mean score"]
    rows = []
    for name in found.regret:
        for what, kinds in (
            ("outcome", found.outcome),
            ("regret", found.regret),
        ):
            if name in kinds:
                rows.append([name, what, *_interval_cells(kinds[name])])
    if found.optimum is not None:
        cells = _interval_cells(found.optimum)
        rows.append(["laws of knobs", "optimum at the target", *cells])
    if found.exponent is not None:
        cells = _interval_cells(found.exponent)
        rows.append(["laws of knobs", "exponent", *cells])
    lines += [*table(header, rows), ""]
    lines += _widths(found)
    lines += _distances(found)
    lines += _verdict_lines(found)
    lines += chance_lines("a divergence", found.p_diverge)
    lines += chance_lines("being the best row", found.p_best)
    return lines


def _verdict_lines(found: Calibration) -> Iterable[str]:
    if not found.verdicts:
        return []
    rows = []
    for (told, whole), n in sorted(found.verdicts.items()):
        rows.append([told, whole, str(n)])
    header = ["a knob, told", "by all levels", "laws"]
    return [*table(header, rows), ""]


def _interval_cells(found: Intervals) -> list[str]:
    return [
        str(found.n),
        str(found.n_sources),
        estimated(found.covered),
        number(found.score.mean),
    ]


def _widths(found: Calibration) -> list[str]:
    ours = found.outcome.get(ADVISOR)
    if ours is None:
        return ["No outcome was predicted.", ""]
    low = ours.covered.low
    met = low is not None and low >= LEAST_COVERED
    word = "met" if met else "not met"
    lines = [
        f"Coverage of the advice's own outcomes: its lower end is to be at least "
        f"{number(LEAST_COVERED)}: {word}. Scores are in units of median - best, lower "
        "is better.",
        "",
    ]
    rows = [["the advice", *_interval_cells(ours), ""]]
    if found.constant is not None:
        theirs, gap = found.constant
        cells = _interval_cells(theirs)
        rows.append(["a constant width", *cells, estimated(gap)])
    if found.bootstrap is not None:
        theirs, gap, same = found.bootstrap
        rows.append(["the advice, first seed", *_interval_cells(same), ""])
        rows.append(
            ["rows resampled", *_interval_cells(theirs), estimated(gap)]
        )
    header = ["width", "n", "sources", "covered", "mean score", "advice - it"]
    return [*lines, *table(header, rows), ""]


def _distances(found: Calibration) -> list[str]:
    rows = []
    for (low, high), told in found.by_distance.items():
        enough = told.n_sources >= LEAST_SOURCES
        shown = estimated(told.covered) if enough else NOT_VERIFIED
        span = (
            f"{low:g} to {high:g}" if high < float("inf") else f"from {low:g}"
        )
        rows.append([span, str(told.n), str(told.n_sources), shown])
    header = ["times the evidence's cost", "n", "sources", "covered"]
    return [*table(header, rows), ""] if rows else []


def chance_lines(
    what: str,
    found: Chances,
) -> Iterable[str]:
    """Probabilities by class, and at each contender's picks."""
    if not found.classes:
        return [f"No probability of {what} was told.", ""]
    rows = []
    for c in found.classes:
        rows.append([f"{c.low:g} to {c.high:g}", *_class_cells(c)])
    lines = table([f"p of {what}", *CLASS_CELLS], rows)
    rows = []
    for name, (whole, skill) in found.by_contender.items():
        enough = whole.n_sources >= LEAST_SOURCES
        shown = number(skill) if enough else NOT_VERIFIED
        rows.append([name, *_class_cells(whole), shown])
    header = [f"p of {what}, picks of", *CLASS_CELLS, "Brier skill"]
    return [*lines, "", *table(header, rows), ""]


CLASS_CELLS = ("n", "sources", "told", "came")
NOT_VERIFIED = "not verified"


def _class_cells(c: Class) -> list[str]:
    enough = c.n_sources >= LEAST_SOURCES
    came = number(c.came) if enough else NOT_VERIFIED
    return [str(c.n), str(c.n_sources), number(c.told), came]


def apart_lines(found: Decision) -> list[str]:
    """A source made by predictors: its means alone."""
    rows = []
    for name in sorted(
        found.latent.names, key=lambda c: found.latent.means[c].mean
    ):
        mean = number(found.latent.means[name].mean)
        rows.append([name, mean, number(found.realised.means[name].mean)])
    asked = ", ".join(found.nearer or found.n_questions)
    return [
        f"Apart, since predictors made it: {asked}.",
        "",
        *table(["who", "regret", "recorded values"], rows),
        "",
    ]


def future_lines(found: Sequence[ForecastSummary]) -> list[str]:
    """The loss law on what came after it."""
    lines = [
        "The law through the cheapest levels forecasts every more expensive one; what "
        "came is what that level could have reached by the fit to the whole table. "
        "Misses are in shares of the level's median - best; sources weigh alike.",
        "",
    ]
    rows = []
    for one in found:
        rows.append(
            [
                one.name,
                str(one.n_tables),
                str(one.n),
                estimated(one.covered),
                number(one.miss),
                number(one.bias),
                number(one.half_width),
            ]
        )
    header = [
        "where",
        "tables",
        "forecasts",
        "covered",
        "root mean square miss",
        "mean miss",
        "mean half width",
    ]
    return [*lines, *table(header, rows)]


def reading_lines(found: Sequence[FormatSummary]) -> list[str]:
    """In how many questions the same advice came out, by format."""
    rows = []
    for one in found:
        rows.append([one.format, str(one.n), str(one.n_same)])
    lines = [
        "Evidence rewritten as people's files, with unfinished runs, labels, times and "
        "measured columns; nothing is said but, for Optuna, the direction. The same "
        "advice is that of the clean table with everything said.",
        "",
        *table(["format", "questions", "same advice"], rows),
    ]
    for one in found:
        for source, reasons in one.reasons.items():
            shown = reasons[0][:200]
            lines += [
                "",
                f"- {one.format}, {source}, {len(reasons)} times: {shown}",
            ]
    return lines


def spending_lines(found: Sequence[SpendingSummary]) -> list[str]:
    """What the advice loses once a share of the target's cost has bought cheap runs."""
    if not found:
        return [
            "No question has two cheap experiments, of which one can be hidden."
        ]
    first = found[0]
    lines = [
        f"{first.n_questions} target tables of {first.n_sources} sources; half of the "
        "cheap experiments is hidden, and a share of the target's cost buys runs of "
        "them. Regret of the advice afterwards; in brackets the runs bought on average.",
        "",
    ]
    rows = []
    for one in found:
        cells = []
        for name in one.comparison.names:
            mean = number(one.comparison.means[name].mean)
            cells.append(f"{mean} ({one.runs[name]:.1f})")
        ladder = estimated(one.comparison.differences["ladder"])
        chance = estimated(one.comparison.differences["random"])
        rows.append([f"{one.share:.0%}", *cells, ladder, chance])
    header = [
        "spent",
        *first.comparison.names,
        "plan - ladder",
        "plan - random",
    ]
    return [*lines, *table(header, rows)]
