"""What the logs can answer: one row a question, with the cheapest runs that would change
the answer.

Invariant: `yes` only where a number with an interval stands behind it; every row says
because of what.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from autollm.advisor.answer import Answerable, Help, Interval
from autollm.advisor.answering.lines import interval_text
from autollm.advisor.asking.target import NO_SIZE
from autollm.advisor.asking.window import further_level
from autollm.advisor.deciding.allocation import split_of
from autollm.advisor.deciding.cheap_runs import beyond
from autollm.advisor.deciding.cost import cost_at, shown_cost
from autollm.advisor.deciding.sizes import buildable
from autollm.advisor.deciding.study import Study
from autollm.advisor.statistics.laws import Law
from autollm.advisor.statistics.tried import Ends
from autollm.advisor.words import count, several

LOOSE_SPLIT = 4.0
"""High over low of the best size, from which the split is told in part only."""
QUESTIONS = {"rate": "learning rate", "size": "batch size"}
NAMES = {
    "rate": re.compile(r"(^|[^a-z])(lr|learning[^a-z]?rate|eta)($|[^a-z])"),
    "size": re.compile(r"batch|(^|[^a-z])[mg]?bs($|[^a-z])"),
}
SAME_PLACE = 1e-6
"""Natural units: canonical values keep nine digits."""
MOST_LAWS = 4
"""Told in one row of the table."""
LEAST_LEVELS = 3
LEAST_RUNS = 3
"""That ended well at one size, from which a number has an optimum at all."""
SURE = 1.64
"""Standard errors from which a category is told from the next best, at 5 % one-sided."""
WIDE = 2.0
"""Half width of a forecast in median - best of the target, from which it does not tell
a good choice from a poor one."""


def can_answer(study: Study) -> tuple[Answerable, ...]:
    """The table, in the order of the contract: rate, batch, other knobs, mixture, size
    and tokens, achievable outcome, noise.
    """
    rows = [_knob_row(study, role, name) for role, name in QUESTIONS.items()]
    rows += _other_rows(study)
    rows.append(_mixture_row(study))
    rows += [_size_row(study), _outcome_row(study), _noise_row(study)]
    return tuple(row for row in rows if row is not None)


def _knob_row(study: Study, role: str, question: str) -> Answerable:
    knobs = [k for k in _varied(study) if _is(k, role)]
    if not knobs:
        return Answerable(
            question,
            "no",
            f"no setting that varies in your runs is called {question}",
        )
    return _of_knobs(study, question, [k.name for k in knobs])


def _varied(study: Study) -> list[Any]:
    """The knobs that have several values, or any: one that has one value asks nothing."""
    return [k for k in study.question.space.knobs if len(k.levels) != 1]


def _is(knob: Any, role: str) -> bool:
    """Whether a number is the learning rate, or the batch, by its name: mappings gave
    the role to others, too.
    """
    return NAMES[role].search(knob.name.lower()) is not None


def _other_rows(study: Study) -> list[Answerable]:
    others = []
    for knob in _varied(study):
        if knob.scale != "simplex" and not any(_is(knob, r) for r in QUESTIONS):
            others.append(knob.name)
    return [_of_knobs(study, "other knobs", others)] if others else []


def _best_categories(study: Study, names: list[str]) -> tuple[list[str], bool]:
    """A sentence a category, and whether the best of each is told from the next best."""
    told = []
    is_sure = len(study.rows) >= LEAST_LEVELS
    gaps = {one.knob: one for one in study.policy.gaps}
    for knob in study.question.space.knobs:
        if knob.scale != "categorical" or knob.name not in names:
            continue
        compared = gaps.get(knob.name)
        if compared is None or len(knob.levels) < 2:
            told.append(
                f"no runs compare the values of {study.native(knob.name)}"
            )
            is_sure = False
            continue
        best, second = np.argsort(compared.mean, kind="stable")[:2]
        apart = float(compared.mean[second] - compared.mean[best])
        error = float(np.hypot(compared.sd[best], compared.sd[second]))
        values = knob.levels[best], knob.levels[second]
        text = f"{study.native(knob.name)} = {values[0]} is better than {values[1]}, by "
        text += f"{apart * study.spread:.2g}"
        if apart < SURE * error:
            text = f"{study.native(knob.name)}: {values[0]} and {values[1]} are not told "
            text += "apart"
            is_sure = False
        told.append(text)
    return told, is_sure


def _of_knobs(study: Study, question: str, names: list[str]) -> Answerable:
    """Yes where every law is told, partly where some optimum is seen, else no."""
    laws = [law for law in study.laws if law.knob in names]
    categories, is_sure = _best_categories(study, names)
    names = [
        n for n in names if n in study.response.names or study.is_unseen(n)
    ]
    if categories and not names:
        return Answerable(
            question, "yes" if is_sure else "partly", "; ".join(categories)
        )
    seen = [n for n in names if n in study.response.names]
    native = ", ".join(study.native(n) for n in names)
    untold = [study.unseen_in_words(n) for n in names if study.is_unseen(n)]
    if not seen:
        answer = "partly" if categories else "no"
        because = "; ".join(categories + untold) or f"{native} has no order"
        return Answerable(
            question, answer, because, tuple(_more_values(study, names))
        )
    n_good = max(int((~rows.diverged).sum()) for rows in study.rows)
    has_lost = any(rows.diverged.any() for rows in study.rows)
    if has_lost and n_good < LEAST_RUNS:
        because = f"{several(n_good, 'run')} of one size did not diverge: no optimum shows"
        return Answerable(question, "no", because)
    if study.is_prior:
        verb = "has" if len(names) == 1 else "have"
        because = f"{native} {verb} an optimum at one scale; nothing says how it moves"
        return Answerable(
            question, "partly", because, tuple(_another_level(study))
        )
    unknown = [law for law in laws if law.verdict == "unknown"]
    sure = is_sure or not categories
    if unknown or len(seen) < len(names) or not sure:
        told = [_said(study, law) for law in laws[:MOST_LAWS]]
        because = "; ".join(told + categories + untold)
        help_ = (*_beyond_edges(study, seen), *_another_level(study))
        return Answerable(question, "partly", because, help_[:3])
    because = "; ".join(
        [_said(study, law) for law in laws[:MOST_LAWS]] + categories
    )
    return Answerable(
        question, "yes", because, tuple(_beyond_edges(study, seen)[:2])
    )


def _said(study: Study, law: Law) -> str:
    """A law in words."""
    knob = study.native(law.knob)
    per = study.native(law.per)
    if law.exponent is None:
        return f"{knob} against {per}: {law.because}"
    space = study.question.space
    scale = space.knobs[space.names.index(law.knob)].scale
    unit = "octaves" if scale == "log" else "steps"
    shift = (
        f"{law.exponent:+.2f} {unit} a doubling of {per} "
        f"({law.low:+.2f} to {law.high:+.2f})"
    )
    if law.verdict == "unknown":
        return f"whether the best {knob} moves is not resolved: {shift}"
    if law.verdict == "moves":
        return f"the best {knob} moves: {shift}"
    most = max(abs(law.low or 0.0), abs(law.high or 0.0))
    return f"the best {knob} hardly moves: by {most:.2g} {unit} a doubling of {per} at most"


def _mixture_row(study: Study) -> Answerable | None:
    mixtures = [k for k in study.question.space.knobs if k.scale == "simplex"]
    if not mixtures:
        return None
    n = len(study.question.levels)
    shared = _rank_agreement(study)
    if n < 2:
        because = "mixtures were tried at one scale; nothing says how the best one moves"
        return Answerable(
            "mixture", "partly", because, tuple(_another_level(study))
        )
    if shared is None:
        because = (
            f"{n} scales, and no mixtures in common to compare their order"
        )
        return Answerable("mixture", "partly", because)
    because = (
        f"over {n} scales, common mixtures keep their order (rank correlation "
    )
    because += f"{shared:.2f})"
    return Answerable("mixture", "yes" if shared > 0.7 else "partly", because)


def _rank_agreement(study: Study) -> float | None:
    """Spearman's correlation of losses of the configurations that the two most
    expensive levels with at least 8 in common share.
    """
    from scipy.stats import spearmanr

    for second in range(len(study.rows) - 2, -1, -1):
        a = study.rows[-1]
        b = study.rows[second]
        index = {tuple(np.round(p, 6)): i for i, p in enumerate(a.points)}
        pairs = []
        for j, point in enumerate(b.points):
            i = index.get(tuple(np.round(point, 6)))
            if i is not None:
                pairs.append((a.loss[i], b.loss[j]))
        if len(pairs) >= 8:
            return float(spearmanr(*zip(*pairs, strict=True)).statistic)
    return None


def _size_row(study: Study) -> Answerable:
    question = "size and tokens"
    law = study.loss_law
    ladder = study.ladder
    if ladder.collinear:
        told = " and ".join(study.native(n) for n in ladder.collinear)
        because = f"{told} grow together: their exponents cannot be told apart"
        return Answerable(question, "no", because, tuple(_off_the_ray(study)))
    if law is None or law.form != "sum":
        n = len(study.question.levels)
        because = f"{several(n, 'level')}; parameters and tokens each need a term, from 6 "
        because += "levels on"
        if study.question.view.direction == "max":
            because = "the objective is maximized, and follows no law of loss"
            return Answerable(question, "no", because)
        return Answerable(question, "no", because, tuple(_another_level(study)))
    split = split_of(study.question, law)
    if split is None:
        because = "compute is not parameters times tokens: no split to choose"
        return Answerable(question, "no", because)
    params, low, high = split.params
    because = (
        f"this compute is best spent on {count(_round(params))} parameters "
        f"({count(_round(low))} to {count(_round(high))}); "
    )
    because += f"within a factor of {split.flat_within:.2g} it hardly matters"
    told = high / low <= LOOSE_SPLIT
    help_ = () if told else tuple(_another_level(study))
    return Answerable(question, "yes" if told else "partly", because, help_)


def _round(value: float) -> float:
    return float(f"{value:.3g}")


def _outcome_row(study: Study) -> Answerable:
    question = "achievable outcome"
    law = study.loss_law
    if study.question.view.direction == "max":
        because = "what is maximized follows no law of loss: it is not forecast"
        return Answerable(question, "no", because)
    if law is None:
        n = len(study.question.levels)
        because = f"{several(n, 'level')}; a law of loss needs {LEAST_LEVELS} that fall with scale"
        return Answerable(question, "no", because, tuple(_another_level(study)))
    low, high = law.forecast.interval()
    told = interval_text(Interval(law.forecast.mean, low, high))
    because = f"{law.n_levels} levels give {told}"
    if law.is_bound:
        because += "; some optima lie beyond what was tried: an upper bound"
        return Answerable(
            question, "partly", because, tuple(_beyond_edges(study)[:2])
        )
    if high - low > 2 * WIDE * study.spread:
        because += "; wider than what choices at the target differ by"
        return Answerable(
            question, "partly", because, tuple(_another_level(study))
        )
    return Answerable(question, "yes", because)


def _noise_row(study: Study) -> Answerable:
    noise = study.noise
    if noise.origin == "replicas":
        return Answerable(
            "noise", "yes", f"replicas differ by {noise.sd:.2g} (sd)"
        )
    help_ = tuple(_repeat(study))
    if noise.origin == "residual":
        because = f"no repeats: rows scatter by {noise.sd:.2g} around the fit, a bound"
        return Answerable("noise", "partly", because, help_)
    return Answerable(
        "noise", "no", "no repeats, and too few rows for a fit", help_
    )


def _help(
    study: Study, point: np.ndarray, level: int, **changes: float
) -> Help:
    """A run at `point` at the fidelity of a level, some coordinates changed."""
    experiment = study.question.table.experiments[study.question.levels[level]]
    fidelity, about = buildable(study, experiment.fidelity | changes)
    shown = {study.native(n): v for n, v in fidelity.items()}
    z = np.log2(np.array(list(fidelity.values())))
    return Help(
        study.run_at(point),
        shown_cost(study, cost_at(study, z, level)),
        shown,
        tuple(map(study.native, about)),
    )


def _at_optimum(study: Study, level: int) -> np.ndarray:
    """The best row's point of a level, its fitted coordinates at their optimum."""
    rows = study.rows[level]
    point = rows.points[int(np.argmin(rows.loss))].copy()
    if len(study.response.columns) == study.question.space.gridded.sum():
        point[list(study.response.columns)] = study.response.levels[
            level
        ].optimum
    return point


def _repeat(study: Study) -> list[Help]:
    return [_help(study, _at_optimum(study, 0), 0)]


def _another_level(study: Study) -> list[Help]:
    """The best configuration at one more level, the cheapest that would tell: a quarter
    of one scale's coordinates; of several, what lies between the ends where they are
    far apart, else half of the cheapest one's. Nothing where no run tells its size.
    """
    experiments = [
        study.question.table.experiments[e] for e in study.question.levels
    ]
    first = experiments[0].fidelity
    if list(first) == [NO_SIZE]:
        return []
    last = experiments[-1].fidelity
    changes = {}
    for name, value in first.items():
        if len(experiments) == 1:
            changes[name] = value / 4
        elif not math.isclose(value, last[name], rel_tol=1e-6):
            far = last[name] > 8 * value
            changes[name] = math.sqrt(value * last[name]) if far else value / 2
    return [_help(study, _at_optimum(study, 0), 0, **changes)]


def _more_values(study: Study, names: list[str]) -> list[Help]:
    """A run at the cheapest level with one more value of the first number of unseen
    optimum.
    """
    unseen = [n for n in names if study.is_unseen(n)]
    if not unseen:
        return []
    ends = study.ends_by_name[unseen[0]]
    at = study.question.space.slices[unseen[0]].start
    point = _at_optimum(study, 0)
    places = [ends.knob.encode(value) for value in _untried(ends)]
    tried = study.rows[0].points[:, at]
    new = [p for p in places if np.abs(tried - p).min() > SAME_PLACE]
    if not new:
        return []
    # of two as near, the larger one
    point[at] = min(new, key=lambda place: (abs(place - point[at]), -place))
    return [_help(study, point, 0)]


def _untried(ends: Ends) -> list[float]:
    """Values that one more run of a number could have: those of other experiments; of two
    values one beyond the proposed one where a run can have that, else between.
    """
    if ends.value is None:
        return list(ends.tried)
    side = -1 if ends.value == ends.tried[0] else 1
    value = further_level(ends.knob, side)
    if value is None:
        value = ends.knob.decode(float(ends.knob.window.mean()))
    return [value]


def _beyond_edges(study: Study, names: list[str] | None = None) -> list[Help]:
    """A run one step beyond the rows, at every level whose optimum lies there, the
    cheapest first.
    """
    found = []
    for level, fitted in enumerate(study.response.levels):
        for j, name in enumerate(study.response.names):
            if not fitted.edge[j] or (names is not None and name not in names):
                continue
            further = beyond(study, level, j)
            if further is not None:
                point = _at_optimum(study, level)
                point[study.response.columns[j]] = further
                found.append(_help(study, point, level))
    return found


def _off_the_ray(study: Study) -> list[Help]:
    """The one run off the ray that would tell two exponents apart: four times the last
    coordinate at the cheapest level.
    """
    name = study.ladder.collinear[-1]
    here = study.question.table.experiments[study.question.levels[0]].fidelity
    return [_help(study, _at_optimum(study, 0), 0, **{name: 4 * here[name]})]
