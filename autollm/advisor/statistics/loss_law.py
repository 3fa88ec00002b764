"""What the target can reach: saturating power laws through what the experiments could
have reached.

    loss = E + A 2^(-a z)                     in compute, or in the one thing that varies
    loss = E + A 2^(-a n) + B 2^(-b d)        in parameters and tokens (Chinchilla's form)
    loss = E + A 2^(-(a n + b d ...))         several coordinates, too few levels for sums

z: log2 relative to the target, so that E + A + B is the forecast. For given exponents
the rest is linear: exponents are summed over a whole grid (every start there is), E, A
and B solved in closed form. The units of inference are experiments, never rows: the
noise is their lack of fit, its variance has a weak prior, and the forecast is a mixture
of Student t; leaving experiments out must not move it by more. E, the irreducible loss,
cannot be learnt far from it, so it has a prior (of the evaluation set where one is
known: floors.py), and the forecast is shown at three values of it.

A law is no law of nature. How far it misses what lies ahead is learnt from hidden
experiments (MISS_SD, MISS_FREEDOM) and from one's own levels, each forecast from the
cheaper ones; the sum of both variances has Satterthwaite's degrees of freedom. Source:
J. Hoffmann et al., "Training compute-optimal large language models" (2022), section
3.3; conjugate regression as in A. Gelman et al., "Bayesian data analysis" (2013),
chapters 3.2 and 14.

Invariant: fewer than three levels, or no loss that falls, give no forecast.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autollm.advisor.statistics.forecast import END_SD, Forecast
from autollm.advisor.statistics.laws import Ladder
from autollm.advisor.statistics.response import Level

EXPONENTS = 2.0 ** np.arange(-5, 0.76, 0.25)
"""1/32 to 1.68 per octave; published exponents of loss lie between .05 and .5."""
EXPONENT_PRIOR = (np.log(0.25), 0.7)
"""Mean and sd of an exponent's logarithm: .06 to 1 in 95 %."""
FLOOR_SHARE = (0.65, 0.2)
"""Mean and sd of E over the lowest loss reached: Chinchilla's E is .7 to .87 of losses
between 2.4 and 1.94 nats."""
LACK_SHARE, LACK_FREEDOM = 0.004, 2
"""Prior of the lack of fit: this share of the loss, worth that many experiments."""
MISS_SD, MISS_FREEDOM, AT_ONCE = 0.27, 1.8, 0.4
"""Of a miss over sqrt(lack of fit x loss) x (AT_ONCE + octaves of compute beyond the
evidence): its sd, what that is worth in hidden levels of one's own, and the octaves that
the next level counts as (`python -m research.loss_law_misses`)."""
CAUTION = 1.25
"""By which that sd is larger: the smallest factor (of 1, 1.25, 1.5 ...) with which 90 %
intervals held 90 % on sources that were left out."""
SAME = 1e-6
"""Octaves below which two coordinates are one."""
MOST_HIDDEN = 8
N_DRAWS = 2000
LEAST_LEVELS = 3
LEAST_FOR_SUM = 6
"""Levels from which parameters and tokens get a term each: five parameters."""


@dataclass(frozen=True)
class Draws:
    """Laws drawn from the posterior: coefficients [n, 1 + n_terms] (E, A, B at the
    target) and exponents [n, n_axes], all positive.
    """

    coefficients: np.ndarray
    exponents: np.ndarray


@dataclass(frozen=True)
class LossLaw:
    """The law at its most probable exponents, and what it says at the target.

    Attributes:
        parameters: E, A, B (loss units at the target) and exponents.
        forecast: of the best that the target can reach, discrepancy included.
        at_floors: three values of E -> forecast mean under it.
        slope: d loss / d log2 compute at the target along the evidence's main axis,
            negative; lack_of_fit: sd of experiments around the law.
        is_bound: the forecast rests on minima that were not bracketed. record: sd of
            misses as one's own hidden levels have it, over what others' say alone;
            unit_of_miss: loss units in which misses at the target are told.
        names: of the axes; draws: laws of the form `sum`, None of the others.
    """

    form: str
    parameters: dict[str, float]
    forecast: Forecast
    at_floors: dict[float, float]
    slope: float
    lack_of_fit: float
    n_levels: int
    is_bound: bool = False
    record: float = 1.0
    unit_of_miss: float = 0.0
    names: tuple[str, ...] = ()
    draws: Draws | None = None


def fit_loss_law(
    levels: Sequence[Level],
    ladder: Ladder,
    octaves_of_compute: np.ndarray,
    clusters: np.ndarray | None = None,
    floor: tuple[float, float] | None = None,
) -> LossLaw | None:
    """The law through levels in the order of `ladder.axes`.

    `octaves_of_compute` [n]: log2 compute of the levels relative to the target.
    `clusters` [n]: equal for levels that are left out together; each stands alone
    without it. `floor`: mean and sd of E's prior, in loss units, where the evaluation
    set has one. None with too few levels, or where loss does not fall.
    """
    bracketed = np.array([level.bracketed for level in levels])
    used = (
        bracketed
        if bracketed.sum() >= LEAST_LEVELS
        else np.ones(len(levels), bool)
    )
    reached = [(level.reached, level.reached_sd) for level in levels]
    minima, errors = np.array(reached)[used].T
    data = _Levels(
        minima,
        errors,
        ladder.axes[used],
        octaves_of_compute[used],
        floor,
    )
    if not data.can_tell:
        return None
    alone = np.arange(len(levels)) if clusters is None else clusters
    posterior = _Posterior(_form(ladder.names, len(data.y)), data)
    miss = _own_miss(data, ladder.names)
    left_out = _left_out(data, alone[used], ladder.names)
    unit = posterior.unit_of_miss(data.beyond)
    return LossLaw(
        posterior.form,
        posterior.parameters(ladder.names),
        replace(
            _widened(posterior.forecast(), miss, unit, left_out),
            most=_most(levels, ladder.axes),
        ),
        posterior.at_floors(),
        posterior.slope(data.octaves),
        posterior.lack_of_fit,
        len(data.y),
        not bool(bracketed[used].all()),
        miss.sd / (CAUTION * MISS_SD),
        unit,
        ladder.names,
        posterior.draws() if posterior.form == "sum" else None,
    )


def _most(levels: Sequence[Level], axes: np.ndarray) -> float:
    """The least that experiments reached which the target exceeds in nothing less than
    every coordinate, at the upper end of its interval; infinite without any.
    """
    ends = [level.reached + END_SD * level.reached_sd for level in levels]
    exceeded = (axes <= SAME).all(axis=1)
    return min(np.array(ends)[exceeded], default=float("inf"))


@dataclass(frozen=True)
class _Levels:
    """Minima y [n] with errors sd [n], axes [n, n_axes] and octaves of compute [n], the
    last two relative to a target.
    """

    y: np.ndarray
    sd: np.ndarray
    axes: np.ndarray
    octaves: np.ndarray
    floor: tuple[float, float] | None = None

    @property
    def floor_prior(self) -> tuple[float, float]:
        """Mean and sd of E: the evaluation set's, where losses lie above it; else a
        share of the lowest loss."""
        lowest = float(self.y.min())
        if self.floor is not None and self.floor[0] < lowest:
            return self.floor
        return FLOOR_SHARE[0] * lowest, FLOOR_SHARE[1] * lowest

    def without(self, left_out: np.ndarray) -> _Levels:
        """The levels that are not in a mask [n]."""
        kept = ~left_out
        return _Levels(
            self.y[kept],
            self.sd[kept],
            self.axes[kept],
            self.octaves[kept],
            self.floor,
        )

    @property
    def can_tell(self) -> bool:
        """Whether there are enough levels, and loss falls with scale."""
        if len(self.y) < LEAST_LEVELS or self.y.min() <= 0:
            return False
        total = self.axes.sum(axis=1)
        if np.ptp(total) == 0 or np.ptp(self.y) == 0:
            return False
        return bool(np.corrcoef(total, self.y)[0, 1] < 0)

    @property
    def beyond(self) -> float:
        """Octaves of compute between the most expensive level and the target."""
        return max(-float(self.octaves.max()), 0.0)

    def before(self, hidden: int) -> _Levels:
        """The cheaper levels, relative to level `hidden`."""
        kept = self.octaves < self.octaves[hidden] - 0.1
        return _Levels(
            self.y[kept],
            self.sd[kept],
            self.axes[kept] - self.axes[hidden],
            self.octaves[kept] - self.octaves[hidden],
            self.floor,
        )


@dataclass(frozen=True)
class _Miss:
    """Of forecasts, in their `unit_of_miss`: sd, degrees of freedom."""

    sd: float
    df: float


def _own_miss(
    data: _Levels,
    names: Sequence[str],
) -> _Miss:
    """The library's, and what the most expensive levels that have three cheaper ones
    show of it, each forecast from those.
    """
    squares = []
    for hidden in np.argsort(-data.octaves)[:MOST_HIDDEN]:
        cheaper = data.before(int(hidden))
        if cheaper.can_tell:
            posterior = _Posterior(_form(names, len(cheaper.y)), cheaper)
            told = posterior.forecast()
            square = (data.y[hidden] - told.mean) ** 2 - told.sd**2
            unit = posterior.unit_of_miss(cheaper.beyond)
            squares.append(max(float(square), 0.0) / unit**2)
    df = MISS_FREEDOM + len(squares)
    prior = MISS_FREEDOM * (CAUTION * MISS_SD) ** 2
    return _Miss(float(np.sqrt((prior + sum(squares)) / df)), df)


def _widened(
    told: Forecast, miss: _Miss, unit: float, left_out: float
) -> Forecast:
    """A forecast with misses ahead; its own variance is at least `left_out`, that of its
    mean between fits without some experiments.
    """
    own = max(told.sd**2, left_out)
    ahead = (miss.sd * unit) ** 2
    total = own + ahead
    df = total**2 / (own**2 / told.df + ahead**2 / miss.df)
    return Forecast(told.mean, float(np.sqrt(total)), float(df))


def _left_out(
    data: _Levels, clusters: np.ndarray, names: Sequence[str]
) -> float:
    """Variance of the forecast between fits without one cluster each (the jackknife of
    B. Efron, C. Stein, 1981): experiments are resampled, never rows. 0 with too few.
    """
    means = []
    for cluster in np.unique(clusters):
        fewer = data.without(clusters == cluster)
        if fewer.can_tell:
            form = _form(names, len(fewer.y))
            means.append(_Posterior(form, fewer).forecast().mean)
    n = len(means)
    if n < LEAST_LEVELS + 1:
        return 0.0
    return (n - 1) / n * float(np.sum((np.array(means) - np.mean(means)) ** 2))


def _form(
    names: Sequence[str],
    n_levels: int,
) -> str:
    if len(names) == 1:
        return "power"
    return "sum" if len(names) == 2 and n_levels >= LEAST_FOR_SUM else "product"


class _Posterior:
    """Grid over exponents [g, n_axes]; for each a Gaussian over (E, A ...)."""

    def __init__(self, form: str, data: _Levels):
        self.form = form
        self._axes = data.axes
        self._y = y = data.y
        self._floor = data.floor_prior
        self._grid = np.array(
            list(itertools.product(EXPONENTS, repeat=data.axes.shape[1]))
        )
        self._bases = self._basis()
        lack = LACK_SHARE * y.min()
        for _ in range(
            2
        ):  # the second pass weighs experiments by their own errors
            self._weight = 1 / (1 + (data.sd / lack) ** 2)
            self._solve(lack)
            lack = max(self.lack_of_fit, 0.2 * LACK_SHARE * y.min())

    def _solve(self, lack: float) -> None:
        """All grid points at once: g of them, n levels, p coefficients."""
        y = self._y
        weight = self._weight
        mean, share = self._floor
        n_coefficients = self._bases.shape[2]
        freedom = len(y) + 1 - n_coefficients - self._axes.shape[1]
        self.df = max(freedom, 0) + LACK_FREEDOM
        pull = np.zeros(n_coefficients)
        pull[0] = (lack / share) ** 2
        gram = np.einsum("gnp,n,gnq->gpq", self._bases, weight, self._bases)
        ridge = 1e-9 * np.einsum("gpp->gp", gram) + pull
        gram = gram + ridge[:, :, None] * np.eye(n_coefficients)
        moment = np.einsum("gnp,n->gp", self._bases, weight * y)
        moment[:, 0] += pull[0] * mean
        covariance = np.linalg.inv(gram)
        beta = np.einsum("gpq,gq->gp", covariance, moment)
        residual = y - np.einsum("gnp,gp->gn", self._bases, beta)
        squares = residual**2 @ weight + pull[0] * (beta[:, 0] - mean) ** 2
        squares += LACK_FREEDOM * (LACK_SHARE * y.min()) ** 2
        off = (np.log(self._grid) - EXPONENT_PRIOR[0]) / EXPONENT_PRIOR[1]
        log_weights = -0.5 * np.sum(off**2, axis=1)
        log_weights -= 0.5 * (len(y) + LACK_FREEDOM) * np.log(squares)
        log_weights += 0.5 * np.linalg.slogdet(covariance)[1]
        # a loss that rises with scale, or below zero
        log_weights[(beta < 0).any(axis=1)] = -np.inf
        if not np.isfinite(log_weights).any():
            log_weights = -0.5 * squares
        weights = np.exp(log_weights - log_weights.max())
        self.weights = weights / weights.sum()
        self._betas = beta
        self._covariances = covariance
        self._variances = squares / self.df
        self._best = int(np.argmax(self.weights))
        self.residuals = residual[self._best]
        n_free = max(len(y) - n_coefficients, 1)
        squares_left = float(np.sum(self.residuals**2))
        self.lack_of_fit = float(np.sqrt(squares_left / n_free))
        squares_left += LACK_FREEDOM * (LACK_SHARE * y.min()) ** 2
        lack = float(np.sqrt(squares_left / (n_free + LACK_FREEDOM)))
        self._unit_of_miss = float(np.sqrt(lack * y.min()))

    def unit_of_miss(self, octaves_beyond: float) -> float:
        """Loss units that misses are told in: they grow with the lack of fit, as the
        levels and its prior have it, and with distance.
        """
        return self._unit_of_miss * (AT_ONCE + octaves_beyond)

    def _basis(self) -> np.ndarray:
        """1 and the law's terms at every level, for every grid point, [g, n, p]."""
        if self.form == "sum":
            terms = 2.0 ** (-self._axes[None] * self._grid[:, None])
        else:
            terms = 2.0 ** -(self._axes @ self._grid.T).T[:, :, None]
        return np.concatenate([np.ones_like(terms[:, :, :1]), terms], axis=2)

    @property
    def _at_target(self) -> np.ndarray:
        """Forecast mean of every grid point: the basis at the target is all ones."""
        return self._betas.sum(axis=1)

    def forecast(self) -> Forecast:
        """Mixture over the grid."""
        means = self._at_target
        mean = float(self.weights @ means)
        within = self._covariances.sum(axis=(1, 2)) * self._variances
        of_mean = float(self.weights @ (within + (means - mean) ** 2))
        lack = float(self.weights @ self._variances)
        # the target is one more experiment
        return Forecast(mean, float(np.sqrt(of_mean + lack)), float(self.df))

    def at_floors(self) -> dict[float, float]:
        """E at its posterior's 10, 50 and 90 %, and the forecast under each."""
        floors = self._betas[:, 0]
        order = np.argsort(floors)
        below = np.cumsum(self.weights[order])
        found = {}
        for share in (0.1, 0.5, 0.9):
            floor = float(
                floors[order][np.searchsorted(below, share * below[-1])]
            )
            sd = 0.1 * self._y.min()
            near = self.weights * np.exp(-0.5 * ((floors - floor) / sd) ** 2)
            found[floor] = float(near @ self._at_target / near.sum())
        return found

    def slope(self, octaves: np.ndarray) -> float:
        """d loss / d log2 compute at the target, as the levels moved along it."""
        centred = octaves - octaves.mean()
        path = (
            centred
            @ (self._axes - self._axes.mean(axis=0))
            / (centred @ centred)
        )
        reducible = self._betas[:, 1:]
        if self.form == "sum":
            per_octave = -np.log(2) * np.sum(
                reducible * self._grid * path, axis=1
            )
        else:
            per_octave = -np.log(2) * reducible[:, 0] * (self._grid @ path)
        return float(self.weights @ per_octave)

    def draws(self) -> Draws:
        """N_DRAWS laws; one with a negative coefficient is drawn as its mean."""
        rng = np.random.default_rng(0)
        chosen = rng.choice(len(self.weights), N_DRAWS, p=self.weights)
        means = np.maximum(self._betas[chosen], 1e-9)
        normal = rng.normal(size=means.shape)
        roots = np.linalg.cholesky(self._covariances[chosen])
        sd = np.sqrt(self._variances[chosen])[:, None]
        drawn = means + sd * np.einsum("nij,nj->ni", roots, normal)
        bad = (drawn <= 0).any(axis=1)
        drawn[bad] = means[bad]
        return Draws(drawn, self._grid[chosen])

    def parameters(
        self,
        names: Sequence[str],
    ) -> dict[str, float]:
        beta = self._betas[self._best]
        exponents = self._grid[self._best]
        found = {"E": float(beta[0])}
        found |= {f"{'AB'[i]}": float(v) for i, v in enumerate(beta[1:])}
        found |= {
            f"exponent_{n}": float(v)
            for n, v in zip(names, exponents, strict=True)
        }
        return found
