"""Where what was tried ends without showing an optimum, and which values of a number the
advice then takes.

A number that no experiment tried at three values: of two values the better one, where
it is told apart; else that of the best run of the most expensive experiment. A number
whose optimum lies beyond what was tried, and is not expected to move with scale: nothing
inside of its outermost value, where that is told better than its neighbour. The effect
of a number is estimated within each experiment (from rows that are alike in all else
where there are such, else by least squares on the rest; rows on the cliff are left out)
and averaged over experiments, whose contradictions count as error.

Invariant: of a number of unseen optimum only values that were tried are proposed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

from autollm.advisor.statistics.response import FAR, Response
from autollm.advisor.statistics.rows import Rows
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.scales import ONE_COORDINATE
from autollm.core.spaces.space import Space
from autollm.gym.tables.squashing import (
    exp_above_one,
    log_above_one,
    squash,
)

LEVEL = 0.95
"""Of the interval of a difference: nearer ones are not told apart."""
MOVES = ("rate", "size")
"""Roles of numbers whose optimum is expected to move with scale: what is best at the edge
of cheap experiments may lie inside at the target."""


class Effect(NamedTuple):
    """Of one coordinate in one experiment; see `_effect`."""

    slope: float
    size: float
    misfit: float
    df: int


@dataclass(frozen=True)
class Ends:
    """A number whose optimum no run brackets.

    Attributes:
        tried: its values, ascending. side: where its optimum lies beyond them, -1 or 1;
            0 where it is unseen. low, high: natural units that are proposed.
        is_better: whether the runs tell what is proposed from the value beside it.
        gap: loss of that value less that of the proposed one, pooled over `n`
            experiments that tried both; None where none did.
    """

    knob: Knob
    tried: tuple[float, ...]
    side: int = 0
    low: float = -np.inf
    high: float = np.inf
    is_better: bool = False
    gap: float | None = None
    n: int = 0

    @property
    def others(self) -> list[float]:
        """What was tried beside the one value that is proposed."""
        return [v for v in self.tried if v != self.value]

    @property
    def value(self) -> float | None:
        """The one value that is proposed, of an unseen optimum; None of several."""
        is_one = self.low == self.high
        return float(self.knob.decode(self.low)) if is_one else None

    def in_words(self, column: str, shown: Callable[[Any], Any]) -> str:
        """What is known of an unseen optimum. `shown`: a value as the user writes it."""
        if self.value is None:
            return f"no experiment tried three values of {column}: its optimum is unseen"
        low, high = map(shown, self.tried)
        text = f"{column} was tried at {low} and {high} alone, which show no optimum: "
        value = shown(self.value)
        if self.is_better:
            return f"{text}{value} was better, by {self.gap:.2g} over {self.n} experiments"
        return (
            f"{text}they are not told apart, and the best run of the most expensive "
            f"experiment had {value}"
        )

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Which coordinates [n] of the number may be proposed."""
        return (points >= self.low - 1e-9) & (points <= self.high + 1e-9)


def ends_of(
    space: Space,
    rows: Sequence[Rows],
    response: Response,
    outward: Mapping[str, int],
) -> tuple[Ends, ...]:
    """All of a space as it was declared. `rows`: of each experiment, the most expensive
    last; `outward`: by number, the side on which most optima lie beyond what was tried.
    """
    found = []
    for knob in space.knobs:
        if knob.scale not in ONE_COORDINATE or len(knob.levels) < 2:
            continue
        column = space.slices[knob.name].start
        if knob.name in response.names:
            side = 0 if knob.role in MOVES else outward.get(knob.name, 0)
            found += _beyond(knob, column, side, rows) if side else []
        elif len(knob.levels) > 2 or knob.when is not None:
            found.append(Ends(knob, knob.levels))
        else:
            found.append(_of_two(knob, column, rows))
    return tuple(found)


def compared(
    ends: Sequence[Ends],
    space: Space,
    points: np.ndarray,
    spread: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, d] at the proposed one of two values, and what the other value adds to
    their u [n], as a share of `spread`: a bowl through two values has no optimum of its
    own. Nothing where the two are not told apart.
    """
    moved = points.copy()
    added = np.zeros(len(points))
    for one in ends:
        if one.value is None:
            continue
        where = space.slices[one.knob.name]
        for other in one.others:
            same = (
                np.abs(points[:, where.start] - one.knob.encode(other)) < 1e-6
            )
            moved[same, where] = one.low
            if one.is_better and one.gap is not None:
                added[same] += one.gap / spread
    return moved, added


def with_share(u: np.ndarray, share: np.ndarray) -> np.ndarray:
    """u (identity up to 1, then logarithmic) of what loses a `share` of median - best
    more."""
    return log_above_one(exp_above_one(u) + share)


def _of_two(knob: Knob, column: int, rows: Sequence[Rows]) -> Ends:
    slope, error, n = _pooled([_effect(here, column) for here in rows])
    last = rows[-1]
    at = float(last.points[int(np.argmin(last.loss)), column])
    is_better = abs(slope) > error
    low, high = knob.window[:, 0]
    if is_better:
        at = float(low if slope > 0 else high)
    gap = slope * (high - low) * (1 if at == low else -1)
    told = float(gap) if n else None
    return Ends(knob, knob.levels, 0, at, at, is_better, told, n)


def _beyond(
    knob: Knob, column: int, side: int, rows: Sequence[Rows]
) -> list[Ends]:
    """Nothing where the outermost value is not told from its neighbour."""
    effects = []
    for here in rows:
        values = np.unique(np.round(here.points[:, column], 6))
        outer = values[-2:] if side > 0 else values[:2]
        near = np.abs(here.points[:, column] - outer[:, None]).min(axis=0)
        effects.append(_effect(here, column, near < 1e-5))
    slope, error, n = _pooled(effects)
    if side * slope >= 0 or abs(slope) <= error:
        return []
    low, high = knob.window[:, 0]
    step = float(np.diff(knob.grid)[-1 if side > 0 else 0])
    gap = abs(slope) * step
    if side > 0:
        low = high
    bounds = (low, np.inf) if side > 0 else (-np.inf, low)
    return [Ends(knob, knob.levels, side, *bounds, True, gap, n)]


def _effect(
    rows: Rows, column: int, among: np.ndarray | None = None
) -> Effect | None:
    """Loss a natural unit of one coordinate, the sum of squares of what of it the rest
    does not explain, and of the misfit with its degrees of freedom; None where the rows
    cannot tell. `among`: the rows that count, all without it.
    """
    kept = (squash(rows.loss) <= FAR) & ~rows.diverged
    if among is not None:
        kept &= among
    x = rows.points[kept]
    loss = rows.loss[kept]
    if not len(x) or np.ptp(x[:, column]) == 0:
        return None
    others = np.delete(x, column, axis=1)
    own = x[:, column]
    return _slope(own, loss, _alike(others)) or _slope(own, loss, _bent(others))


def _alike(others: np.ndarray) -> np.ndarray:
    """Which rows [n, d] have all other coordinates equal, as columns of 0 and 1: such
    pairs need no model of the rest.
    """
    _, group = np.unique(np.round(others, 6), axis=0, return_inverse=True)
    return np.eye(int(group.max()) + 1)[group.ravel()]


def _bent(others: np.ndarray) -> np.ndarray:
    """A parabola in every other coordinate, [n, 1 + 2 d]."""
    off = others - others.mean(axis=0)
    return np.column_stack([np.ones(len(off)), off, off**2])


def _slope(x: np.ndarray, loss: np.ndarray, rest: np.ndarray) -> Effect | None:
    """Least squares of loss [n] on x [n] and a design of the rest [n, p]."""
    left = _residual(rest, x)
    size = float(left @ left)
    df = len(x) - 1 - int(np.linalg.matrix_rank(rest))
    if df < 1 or size < 1e-9 * len(x):
        return None
    loss = _residual(rest, loss)
    slope = float(left @ loss) / size
    misfit = loss - slope * left
    return Effect(slope, size, float(misfit @ misfit), df)


def _residual(design: np.ndarray, y: np.ndarray) -> np.ndarray:
    return y - design @ np.linalg.lstsq(design, y, rcond=1e-9)[0]


def _pooled(effects: Sequence[Effect | None]) -> tuple[float, float, int]:
    """Effect over all experiments, half its interval of LEVEL, and how many told it: of
    one noise in all experiments, and of what they differ by, the wider one.
    """
    known = [effect for effect in effects if effect is not None]
    if not known:
        return float("nan"), float("inf"), 0
    slopes = np.array([effect.slope for effect in known])
    weight = np.array([effect.size for effect in known])
    total = float(weight.sum())
    mean = float(weight @ slopes) / total
    freedom = [sum(effect.df for effect in known), len(known) - 1]
    squares = [
        sum(effect.misfit for effect in known),
        float(weight @ (slopes - mean) ** 2),
    ]
    half = 0.0
    for df, left in zip(freedom, squares, strict=True):
        if df > 0:
            t = float(student.ppf(0.5 + LEVEL / 2, df))
            half = max(half, t * (left / df / total) ** 0.5)
    return mean, half, len(known)
