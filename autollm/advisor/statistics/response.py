"""What each experiment could have reached, and where: one quadratic response per
experiment, all of them with nearly the same curvature.

    u = a_e + b_e . x + s_e x' H x      x: natural units, centred; u: loss above the
                                        experiment's best, in one unit for all

a, b, H and s enter linearly, so that one least squares gives them with their
covariance; b_e = b + its own deviation, ridged; s_e is near 1; H is shared and made
positive definite. The minimum of the fitted response is what an experiment could have
reached: the raw best of n rows is not, since the best of 40 lies lower than the best of
5 of the same thing. Its variance is that of a prediction at the optimum (envelope
theorem), so that it knows how many runs it rests on. Rows far above the median may
stand on a cliff, which is no part of a bowl: they enter once the bowl through the
others foretells them. Source: G. Box, K. Wilson, "On the experimental attainment of
optimum conditions" (1951).

Invariant: an optimum lies within its experiment's own rows; where the fit puts it
beyond, `edge` says on which side, and the minimum is an upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from autollm.advisor.statistics.censored import Censored
from autollm.advisor.statistics.quadratic import (
    careful_sd,
    lowest_within,
    positive,
    solve,
)
from autollm.advisor.statistics.rows import Rows, common_scale
from autollm.core.spaces.space import Space
from autollm.gym.tables.squashing import squash

FAR = 3.0
"""Rows that lie further above the median, in squashed units (7 times median - best),
start as part of the cliff; rows that diverged stay there."""
FULL_SHAPE = 6
"""With more coordinates only the diagonal of H is fitted: rows could not determine how
they interact."""
N_PASSES = 6
STRETCH_SD = 0.3
"""Prior sd of an experiment's curvature over the common one, as a share."""
STRETCHES = (0.4, 2.5)
"""Bounds of that share: two prior sd, as a factor either way."""
OUTLIER = 3.0
"""Robust standard deviations from which a residual counts half."""
MOST_LEVERAGE = 0.9
"""A row of leverage 1 has no residual of its own to tell of its variance."""


@dataclass(frozen=True)
class Level:
    """One experiment's response.

    Attributes:
        optimum, optimum_sd, edge: [n_coordinates of `Response.names`], natural units;
            edge is -1 or 1 where the optimum lies below or above the experiment's rows.
        reached, reached_sd: minimum of the response, as loss, and its standard error.
        raw_best: the lowest recorded loss. scale: loss units of one u. stretch: its own
            curvature over the common one. alone: [n_coordinates], where all of its rows
            have one value; None: nowhere. stopped: runs bounded from below, points and
            the loss that the fit expects of their ends, None without any.
    """

    label: str
    z: np.ndarray
    n_rows: int
    optimum: np.ndarray
    optimum_sd: np.ndarray
    edge: np.ndarray
    reached: float
    reached_sd: float
    raw_best: float
    scale: float
    stretch: float = 1.0
    alone: np.ndarray | None = None
    stopped: tuple[np.ndarray, np.ndarray] | None = None

    def tells(self, j: int) -> bool:
        """Whether its rows tried more than one value of coordinate `j`."""
        return self.alone is None or not self.alone[j]

    @property
    def bracketed(self) -> bool:
        """Whether the optimum lies between the experiment's own rows in every knob."""
        return not self.edge.any()


@dataclass(frozen=True)
class Response:
    """All experiments. `names`: coordinates of numbers that have an optimum; `columns`:
    their places in a point; `residual_sd`: of good rows around the fit, in u;
    `scatter_sd`: of all rows short of the cliff, loss units, which bounds the noise
    (good rows were partly lucky, and scatter less); `explained`: share of the variance
    within experiments that the fit explains.
    """

    names: tuple[str, ...]
    columns: tuple[int, ...]
    levels: tuple[Level, ...]
    curvature: np.ndarray = field(repr=False)
    residual_sd: float = 0.0
    scatter_sd: float = 0.0
    explained: float = 0.0


def fit_response(space: Space, experiments: Sequence[Rows]) -> Response:
    """Fit all experiments together; they need one row each, and no minimum number."""
    columns = _curved(space, experiments)
    fit = _Fit(space, experiments, columns)
    for _ in range(N_PASSES):
        fit.step()
    levels = [fit.level(e) for e in range(len(experiments))]
    told = fit.told
    names = tuple(space.coordinates[j] for j in told)
    places = [columns.index(j) for j in told]
    curvature = fit.curvature[np.ix_(places, places)]
    return Response(
        names,
        tuple(told),
        tuple(levels),
        curvature,
        fit.residual_sd,
        *fit.scatter(),
    )


def _curved(space: Space, experiments: Sequence[Rows]) -> list[int]:
    """Coordinates with at least three values in some experiment: two show no bend."""
    found = []
    for j in range(len(space)):
        most = max(
            len(np.unique(np.round(e.points[:, j], 6))) for e in experiments
        )
        if most >= 3:
            found.append(j)
    return found


class _Fit:
    """The least squares: design, weights, parameters and their covariance."""

    def __init__(
        self, space: Space, experiments: Sequence[Rows], columns: list[int]
    ):
        self._experiments = experiments
        self._columns = columns
        self._scale = common_scale(experiments)
        self._best = [float(np.min(e.loss)) for e in experiments]
        self._u, self._x, self._c = self._gather()
        self._centre = self._x[self._u <= 1].mean(axis=0)
        self._x = self._x - self._centre
        self._spanned = np.ptp(self._x, axis=0) > 0
        d = len(columns)
        i, j = np.triu_indices(d) if d <= FULL_SHAPE else np.diag_indices(d)
        self._pairs = i, j
        extent = np.ptp(space.window, axis=0)[columns]
        self._extent = np.maximum(extent, 1e-6)
        self._told = [
            k for k, column in enumerate(columns) if space.gridded[column]
        ]
        far = [
            ((squash(e.loss) > FAR) | e.diverged) & (e.loss > e.loss.min())
            for e in experiments
        ]
        self._on_cliff = np.concatenate(far)
        self._diverged = np.concatenate([e.diverged for e in experiments])
        self._weight = np.where(self._on_cliff, 0.0, 1.0)
        self._bounds = Censored(
            [e.bounds for e in experiments],
            self._best,
            self._scale,
            self._centre,
        )
        i, j = self._pairs
        self.curvature = np.diag(4 / self._extent**2)
        self.residual_sd = 0.0

    @property
    def told(self) -> list[int]:
        """Coordinates whose optimum means something: a number's own. A part of a
        mixture cannot move alone.
        """
        return [self._columns[k] for k in self._told]

    def _gather(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Losses above the best in u [n], points [n, d_all], experiment numbers [n]."""
        rows = self._experiments
        u = np.concatenate([e.loss - e.loss.min() for e in rows])
        x = np.concatenate([e.points for e in rows])
        counts = [len(e.loss) for e in rows]
        return u / self._scale, x, np.repeat(np.arange(len(rows)), counts)

    def _rows(self, x: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Design [n, p] of centred points [n, d_all] of experiments [n]: floors, common
        slopes, own slopes, own stretch of the curvature, curvature.
        """
        one_hot = np.eye(len(self._experiments))[c]
        curved = x[:, self._columns]
        i, j = self._pairs
        own = one_hot[:, :, None] * curved[:, None, :]
        own = own.reshape(len(x), one_hot.shape[1] * curved.shape[1])
        squares = curved[:, i] * curved[:, j]
        height = np.einsum("ni,ij,nj->n", curved, self.curvature, curved)
        stretch = one_hot * height[:, None]
        return np.concatenate(
            [one_hot, x[:, self._spanned], own, stretch, squares], axis=1
        )

    def _prior(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and precision of the parameters: floors and common slopes nearly free,
        own slopes within 1 u a natural unit, own curvature within STRETCH_SD of the
        common one, and that about 4 u across the window.
        """
        i, j = self._pairs
        n = len(self._experiments)
        d = len(self._columns)
        shape = 4 / (self._extent[i] * self._extent[j])
        mean_shape = np.where(i == j, shape, 0.0)
        n_common = int(self._spanned.sum())
        mean = np.concatenate([np.zeros(n + n_common + n * d + n), mean_shape])
        sd = np.concatenate(
            [
                np.ones(n + n_common + n * d),
                np.full(n, STRETCH_SD),
                2 * shape,
            ]
        )
        return mean, 1 / sd**2

    def step(self) -> None:
        """One reweighted least squares, then H is made positive definite and the rest
        refitted to it.
        """
        design = self._rows(self._x, self._c)
        mean, precision = self._prior()
        bounds = self._bounds
        edges = self._rows(bounds.x, bounds.c)
        stacked = np.concatenate([design, edges])
        u = np.concatenate([self._u, bounds.u])
        weight = np.concatenate([self._weight, bounds.weight])
        theta, covariance = solve(stacked, u, weight, mean, precision)
        n_shape = len(self._pairs[0])
        curvature = positive(
            theta[len(theta) - n_shape :], self._pairs, self._extent
        )
        shape = curvature[self._pairs] * np.where(
            self._pairs[0] == self._pairs[1], 1, 2
        )
        if n_shape and np.abs(shape - theta[-n_shape:]).max() > 1e-12:
            rest = u - stacked[:, -n_shape:] @ shape
            head, _ = solve(
                stacked[:, :-n_shape],
                rest,
                weight,
                mean[:-n_shape],
                precision[:-n_shape],
            )
            theta = np.concatenate([head, shape])
        residual = self._u - design @ theta
        good = (self._u <= 1) & ~self._on_cliff
        freedom = max(good.sum() - len(self._experiments), 1)
        self.residual_sd = float(np.sqrt(np.sum(residual[good] ** 2) / freedom))
        # by the fitted u: by the recorded one, lucky rows would weigh more
        sd = self.residual_sd + 0.1 * np.clip(self._u - residual, 0.1, 2)
        scaled = residual / sd
        kept = np.abs(scaled[~self._on_cliff])
        typical = max(1.48 * float(np.median(kept)), 1e-6)
        strange = np.abs(scaled) / (OUTLIER * typical)
        # a row that the bowl foretells stands on no cliff, however far up it lies
        self._on_cliff = self._on_cliff & ((strange > 1) | self._diverged)
        trust = 1 / (1 + strange**2)  # Cauchy, as bowl_fit
        trust[self._on_cliff] = 0.0
        n_free = max(trust.sum() - self._n_used(precision, covariance), 1.0)
        self._variance = max(float(trust @ scaled**2) / n_free, 1e-12)
        self._weight = trust / sd**2
        self._bounds.update(edges @ theta, self.residual_sd)
        self._theta = theta
        self._plain = covariance * self._variance
        self._n_free = n_free
        self._covariance = self._sandwich(
            design, residual, covariance, precision
        )
        self.curvature = curvature

    def scatter(self) -> tuple[float, float]:
        """sd of all rows around the fit, loss units, and the share of the variance
        within experiments that it explains.
        """
        kept = ~self._on_cliff
        u = self._u[kept]
        at = self._c[kept]
        left = u - self._rows(self._x[kept], at) @ self._theta
        n = len(self._experiments)
        counts = np.maximum(np.bincount(at, minlength=n), 1)
        means = np.bincount(at, weights=u, minlength=n) / counts
        squares = float(np.sum(left**2))
        total = float(np.sum((u - means[at]) ** 2))
        explained = 1 - squares / total if total > 0 else 0.0
        freedom = max(len(left) - n, 1)
        return self._scale * float(np.sqrt(squares / freedom)), explained

    @staticmethod
    def _n_used(precision: np.ndarray, covariance: np.ndarray) -> float:
        """Parameters that the rows determine, and not the prior."""
        return len(precision) - float(precision @ np.diag(covariance))

    def _sandwich(
        self,
        design: np.ndarray,
        residual: np.ndarray,
        bread: np.ndarray,
        precision: np.ndarray,
    ) -> np.ndarray:
        """Covariance of the parameters [p, p], whatever the rows' own variances are:
        HC3 of J. MacKinnon, H. White, "Some heteroskedasticity-consistent covariance
        matrix estimators" (1985), with the prior's share.
        """
        pull = self._weight[:, None] * design
        leverage = np.einsum("np,pq,nq->n", pull, bread, design)
        left_out = residual / (1 - np.clip(leverage, 0.0, MOST_LEVERAGE))
        meat = (pull * left_out[:, None] ** 2).T @ pull
        return bread @ (meat + self._variance * np.diag(precision)) @ bread

    def level(self, e: int) -> Level:
        """The response of experiment `e`."""
        here = self._experiments[e]
        x = here.points - self._centre
        best = int(np.argmin(here.loss))
        at = x[best].copy()
        optimum = self._optimum(e)
        curved = x[:, self._columns]
        low = curved.min(axis=0)
        high = curved.max(axis=0)
        alone = high - low < 1e-9
        sides = np.sign(optimum - np.clip(optimum, low - 1e-9, high + 1e-9))
        edge = np.where(alone, 0, sides).astype(int)
        if len(self._columns) <= FULL_SHAPE:
            optimum_inside = lowest_within(self.curvature, optimum, low, high)
            at[self._columns] = optimum_inside
            row = self._rows(at[None], np.array([e]))[0]
        else:  # mixtures, lists: a point between rows need not exist
            rows = self._rows(x, np.full(len(x), e))
            row = rows[int(np.argmin(rows @ self._theta))]
        u = float(row @ self._theta)
        sd = careful_sd(row, (self._covariance, self._plain), self._n_free)
        scale = self._scale
        return Level(
            here.label,
            here.z,
            len(here.loss),
            (np.clip(optimum, low, high) + self._centre[self._columns])[
                self._told
            ],
            self._optimum_sd(e, optimum)[self._told],
            edge[self._told],
            self._best[e] + scale * u,
            scale * sd,
            self._best[e],
            scale,
            self._stretch(e),
            alone[self._told],
            self._stopped(e),
        )

    def _stopped(self, e: int) -> tuple[np.ndarray, np.ndarray] | None:
        here = self._experiments[e]
        if here.bounds is None:
            return None
        points, losses, sides = here.bounds
        below = sides > 0
        rows = self._rows(
            points[below] - self._centre, np.full(int(below.sum()), e)
        )
        fitted = self._best[e] + self._scale * (rows @ self._theta)
        return points[below], np.maximum(fitted, losses[below])

    def _slopes(self, e: int) -> np.ndarray:
        """b_e [d]."""
        n = len(self._experiments)
        d = len(self._columns)
        common = np.zeros(len(self._spanned))
        n_common = int(self._spanned.sum())
        common[self._spanned] = self._theta[n : n + n_common]
        own = self._theta[n + n_common :][e * d : (e + 1) * d]
        return common[self._columns] + own

    def _stretch(self, e: int) -> float:
        """Curvature of experiment `e` over the common one."""
        n = len(self._experiments)
        start = n + int(self._spanned.sum()) + n * len(self._columns)
        return float(np.clip(1 + self._theta[start + e], *STRETCHES))

    def _optimum(self, e: int) -> np.ndarray:
        if not self._columns:
            return np.empty(0)
        downhill = np.linalg.solve(self.curvature, self._slopes(e))
        return -0.5 * downhill / self._stretch(e)

    def _optimum_sd(self, e: int, optimum: np.ndarray) -> np.ndarray:
        """Delta method: c = -H^-1 b / (2 s), so dc = -H^-1 (db / 2 + dH c) / s - c ds / s,
        with s the stretch.
        """
        n = len(self._experiments)
        d = len(self._columns)
        if not d:
            return np.empty(0)
        places = np.cumsum(self._spanned) - 1
        n_common = int(self._spanned.sum())
        gradient = np.zeros((d, len(self._theta)))
        for k, column in enumerate(self._columns):
            gradient[k, n + places[column]] += 0.5 * self._spanned[column]
            gradient[k, n + n_common + e * d + k] = 0.5
        stretch = self._stretch(e)
        start = n + n_common + n * d
        gradient[:, start + e] = self.curvature @ optimum
        start += n
        for m, (i, j) in enumerate(zip(*self._pairs, strict=True)):
            gradient[i, start + m] += 0.5 * stretch * optimum[j]
            gradient[j, start + m] += 0.5 * stretch * optimum[i]
        jacobian = -np.linalg.solve(self.curvature, gradient) / stretch
        variance = np.sum((jacobian @ self._covariance) * jacobian, axis=1)
        return np.sqrt(np.maximum(variance, 0.0))
