"""Cheap runs that could be made next, in batches that tell something only together.

A run at a fidelity where nothing was run says nothing of an optimum alone, since its
floor is unknown: there a pair around the expected optimum is the least. Places: the
evidence's own levels; each coordinate alone times and over 4 (off the line of the
levels); the target's own ratio at the levels' costs; steps from the most expensive
level towards the target.

Invariant: every run costs at most half of the target, is unlikely to diverge, and keeps
the constraints.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from autollm.advisor.asking.window import level_beyond
from autollm.advisor.deciding.belief import Belief, Runs
from autollm.advisor.deciding.cost import cost_at
from autollm.advisor.deciding.sizes import buildable
from autollm.advisor.deciding.study import Study
from autollm.core.spaces.knobs import Knob

AWAY = 2.0
"""Octaves that one coordinate alone is moved by: a lever as long as two steps of a
common ladder."""
TOWARDS = (0.25, 0.5, 0.75)
"""Shares of the way from the most expensive level to the target; a quarter and a half of
it from the cheapest level the other way make as long a lever for less."""
MOST_COST = 0.5
"""Of the target: beyond it a run is no cheap one."""
RISKY = 0.2
"""Probability of divergence from which a run is not proposed (check.RISKY)."""
RISE = 0.5
"""u that a run of a pair is expected to lie above the optimum: well above noise, and
short of the cliff."""
N_DESIGNS = 12
"""Of mixtures, lists and categories: the designs that are expected to be best."""


@dataclass(frozen=True)
class Place:
    """A fidelity, log2 [f] and as numbers, with the cost of a run there. kind: `level`
    (runs stand there), `ray` (one coordinate moved), `ratio` (the target's ratio) or
    `towards` (the target). level: the nearest level's number. about: coordinates that no
    run has.
    """

    kind: str
    z: np.ndarray
    fidelity: dict[str, float]
    cost: dict[str, float | None]
    level: int
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Runs to be made together. kind: `repeat`, `edge`, or that of the place."""

    kind: str
    place: Place
    points: np.ndarray
    about: str = ""

    @property
    def runs(self) -> Runs:
        return Runs.at(self.points, self.place.z)

    def cost(self, unit: str) -> float:
        """In a unit that the places have."""
        return len(self.points) * float(self.place.cost[unit] or math.inf)


def batches_of(study: Study, belief: Belief) -> list[Batch]:
    """All candidates, in a fixed order; equal ones once."""
    found: dict[bytes, Batch] = {}
    for place in places_of(study):
        for batch in _at(study, belief, place):
            kept = _allowed(study, belief, batch)
            if len(kept.points):
                key = np.round(np.append(place.z, kept.points), 4)
                found.setdefault(key.tobytes(), kept)
    return list(found.values())


def places_of(study: Study) -> list[Place]:
    """Where cheap runs could be made, the levels first."""
    question = study.question
    found = []
    for level, e in enumerate(question.levels):
        fidelity = question.table.experiments[e].fidelity
        found.append(_place(study, "level", fidelity, level))
    if question.compute_flops is not None:
        for kind, z in _new_places(study):
            fidelity = dict(zip(question.fidelity, 2.0**z, strict=True))
            fidelity, about = buildable(study, fidelity)
            place = _place(study, kind, fidelity)
            found.append(replace(place, about=about))
    return _cheap(study, found)


def _new_places(study: Study) -> Iterator[tuple[str, np.ndarray]]:
    z = np.array([rows.z for rows in study.rows])
    target = study.question.target_z
    varied = np.flatnonzero((np.ptp(z, axis=0) > 1e-9) | (z[0] != target))
    by_cost = np.argsort(study.octaves, kind="stable")
    chosen = by_cost[np.unique([0, len(z) // 2, len(z) - 1])]
    if len(varied) > 1:
        for level in chosen:
            for j in varied:
                for side in (AWAY, -AWAY):
                    moved = z[level].copy()
                    moved[j] += side
                    yield "ray", moved
        for level in chosen:
            down = np.zeros(len(target))
            down[varied] = study.octaves[level] / len(varied)
            yield "ratio", target + down
    last = z[by_cost[-1]]
    for share in TOWARDS:
        yield "towards", last + share * (target - last)
    first = z[by_cost[0]]
    for share in TOWARDS[:2]:
        yield "lever", first - share * (target - last)


def _place(
    study: Study, kind: str, fidelity: dict[str, float], level: int = -1
) -> Place:
    z = np.log2(np.array(list(fidelity.values())))
    if level < 0:
        away = [float(np.linalg.norm(rows.z - z)) for rows in study.rows]
        level = int(np.argmin(away))
    return Place(kind, z, fidelity, cost_at(study, z, level), level)


def _cheap(study: Study, places: list[Place]) -> list[Place]:
    """Those of at most MOST_COST, one a fidelity."""
    most = study.question.compute_flops
    found: dict[bytes, Place] = {}
    for place in places:
        flops = place.cost["flops"]
        known = most is not None and flops is not None
        if not known or flops <= MOST_COST * most:
            found.setdefault(np.round(place.z, 2).tobytes(), place)
    return list(found.values())


def _at(study: Study, belief: Belief, place: Place) -> Iterator[Batch]:
    """Batches at one place."""
    rows = study.rows[place.level]
    best = rows.points[int(np.argmin(rows.loss))]
    base = best.copy()
    columns = list(study.response.columns)
    low, high = study.question.space.window[:, columns]
    base[columns] = np.clip(belief.centre(place.z), low, high)
    is_level = place.kind == "level"
    if is_level:
        yield Batch("repeat", place, best[None])
        yield from _beyond(study, place, best)
    if columns:
        yield from _around(study, belief, place, base, is_level)
    if is_level and len(columns) < len(study.question.space):
        for design in _designs(study, belief):
            yield Batch("level", place, design[None])


def _around(
    study: Study,
    belief: Belief,
    place: Place,
    base: np.ndarray,
    is_level: bool,
) -> Iterator[Batch]:
    """One run at the expected optimum, and a pair around it in every knob."""
    pairs = []
    for j, column in enumerate(study.response.columns):
        height = belief.curvature[j, j]
        off = np.zeros(len(base))
        extent = float(np.ptp(study.question.space.window[:, column]))
        wide = min(math.sqrt(RISE / height), extent / 2)
        off[column] = max(wide, _step(study, column))
        around = np.array([base - off, base + off])
        low, high = _legal(study, column)
        around[:, column] = np.clip(around[:, column], low, high)
        pair = _snapped(study, around)
        pairs.append(pair)
        name = study.response.names[j]
        yield Batch(place.kind, place, pair, name)
        if is_level:
            for point in pair:
                yield Batch(place.kind, place, point[None], name)
    if len(pairs) > 1:
        yield Batch(place.kind, place, np.concatenate(pairs))
    if is_level:
        yield Batch(place.kind, place, _snapped(study, base[None]))


def _legal(study: Study, column: int) -> tuple[float, float]:
    """Natural units of a number that a run can have: its window, and one step beyond
    where there is one."""
    knob = _knob(study, column)
    ends = list(knob.window[:, 0])
    for number, side in enumerate((-1, 1)):
        further = level_beyond(knob, side)
        if further is not None:
            ends[number] = float(knob.encode(further))
    return ends[0], ends[1]


def _beyond(study: Study, place: Place, best: np.ndarray) -> Iterator[Batch]:
    """One step beyond the rows where the optimum of a knob lies there."""
    level = study.response.levels[place.level]
    for j, column in enumerate(study.response.columns):
        side = int(level.edge[j])
        further = beyond(study, place.level, j) if side else None
        if further is not None:
            point = best.copy()
            point[column] = further
            name = study.response.names[j]
            yield Batch("edge", place, _snapped(study, point[None]), name)


def beyond(study: Study, level: int, j: int) -> float | None:
    """Natural units one step beyond a level's rows in the fitted number `j`, on the side
    where its optimum lies; None where no run can have that.
    """
    space = study.evidence.table.experiments[0].space
    name = study.response.names[j]
    side = int(study.response.levels[level].edge[j])
    knob = space.knobs[space.names.index(name)]
    tried = study.rows[level].points[:, study.response.columns[j]]
    edge = float(tried.max() if side > 0 else tried.min())
    reached = knob.decode(edge)
    within = tuple(v for v in knob.levels if (reached - v) * side >= 0)
    further = level_beyond(replace(knob, levels=within), side)
    return None if further is None else float(knob.encode(further))


def _designs(study: Study, belief: Belief) -> np.ndarray:
    """The candidates at the target that are expected to be best, [n, d]."""
    points = study.question.view.candidates
    outlooks = belief.of(Runs.at(points[:2000], study.question.target_z))
    mean = sum(o.weight * o.mean for o in outlooks)
    return points[:2000][np.argsort(mean, kind="stable")[:N_DESIGNS]]


def _knob(study: Study, column: int) -> Knob:
    space = study.question.space
    return next(k for k in space.knobs if space.slices[k.name].start == column)


def _step(study: Study, column: int) -> float:
    """Natural units between two levels of a knob that was tried on a lattice; 0 where
    its values lie anyhow."""
    grid = np.asarray(_knob(study, column).grid)
    if len(grid) < 2:
        return 0.0
    gaps = np.diff(grid)
    even = np.ptp(gaps) <= 0.1 * gaps.max()
    return float(np.median(gaps)) if even else 0.0


def _snapped(study: Study, points: np.ndarray) -> np.ndarray:
    """Points on the lattices of their knobs, continued beyond the window, and as a
    person could run them: whole numbers whole, four digits."""
    points = points.copy()
    for column in study.response.columns:
        step = _step(study, column)
        if step:
            first = float(np.asarray(_knob(study, column).grid)[0])
            steps = np.round((points[:, column] - first) / step)
            points[:, column] = first + step * steps
    space = study.question.space
    return np.array([space.encode(space.decode(p)) for p in points])


def _allowed(study: Study, belief: Belief, batch: Batch) -> Batch:
    """The batch, or an empty one where a run of it would probably diverge or breaks a
    constraint."""
    optimum = belief.centre(batch.place.z)
    p = study.divergence.probability(batch.points, optimum)
    risky = p is not None and bool((p > RISKY).any())
    kept = study.question.keeps(batch.points, batch.place.fidelity)
    if risky or not kept.all():
        return Batch(batch.kind, batch.place, batch.points[:0], batch.about)
    return batch
