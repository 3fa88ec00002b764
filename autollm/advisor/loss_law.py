"""What the target can reach: saturating power laws through what the experiments could
have reached.

    loss = E + A 2^(-a z)                     in compute, or in the one thing that varies
    loss = E + A 2^(-a n) + B 2^(-b d)        in parameters and tokens (Chinchilla's form)
    loss = E + A 2^(-(a n + b d ...))         several coordinates, too few levels for sums

z: log2 relative to the target, so that E + A + B is the forecast. For given exponents
the rest is linear: exponents are summed over a whole grid (every start there is), E, A
and B solved in closed form. The units of inference are experiments, never rows: the
noise is their lack of fit, its variance has a weak prior, and the forecast is a mixture
of Student t. E, the irreducible loss, cannot be learnt far from it, so it has a prior,
and the forecast is shown at three values of it. Source: J. Hoffmann et al., "Training
compute-optimal large language models" (2022), section 3.3; conjugate regression as in
A. Gelman et al., "Bayesian data analysis" (2013), chapter 14.

What does not belong here: what a knob costs (decide.py). Invariant: fewer than three
levels, or no loss that falls, give no forecast.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from autollm.advisor.laws import Ladder
from autollm.advisor.response import Level

EXPONENTS = 2.0 ** np.arange(-5, 0.76, 0.25)
"""1/32 to 1.68 per octave; published exponents of loss lie between .05 and .5."""
EXPONENT_PRIOR = (np.log(0.25), 0.7)
"""Mean and sd of an exponent's logarithm: .06 to 1 in 95 %."""
FLOOR_SHARE = (0.65, 0.2)
"""Mean and sd of E over the lowest loss reached: Chinchilla's E is .7 to .87 of losses
between 2.4 and 1.94 nats."""
LACK_SHARE, LACK_FREEDOM = 0.004, 2
"""Prior of the lack of fit: this share of the loss, worth that many experiments."""
DISCREPANCY = (0.05, 0.08)
"""Sd that is added, as a share of what is reducible at the target: at once, and per
octave of compute beyond the evidence. A law is no law of nature: over seven sources the
forecast of a hidden experiment missed by .02 (Step Law) to .2 (the lab's tiny models)
of the reducible part an octave (docs/experiments.md)."""
RECORD_WORTH = 3
"""Hidden levels that the library's discrepancy is worth against one's own record."""
MOST_HIDDEN = 8
N_DRAWS = 2000
LEAST_LEVELS = 3
LEAST_FOR_SUM = 6
"""Levels from which parameters and tokens get a term each: five parameters."""


@dataclass(frozen=True)
class Forecast:
    """A loss with its interval's parts: mean, sd and degrees of freedom."""

    mean: float
    sd: float
    df: float

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        half = float(student.ppf(0.5 + level / 2, self.df)) * self.sd
        return self.mean - half, self.mean + half


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
        is_bound: the forecast rests on minima that were not bracketed. record: misses
            on one's own hidden levels over those that the library expects.
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
    names: tuple[str, ...] = ()
    draws: Draws | None = None


def fit_loss_law(
    levels: Sequence[Level], ladder: Ladder, octaves_of_compute: np.ndarray
) -> LossLaw | None:
    """The law through levels in the order of `ladder.axes`.

    `octaves_of_compute` [n]: log2 compute of the levels relative to the target. None
    with too few levels, or where loss does not fall.
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
    )
    if not data.can_tell:
        return None
    record = _record(data, ladder.names)
    form = _form(ladder.names, len(data.y))
    posterior = _Posterior(form, data.axes, data.y, data.sd)
    forecast = posterior.forecast(record * data.discrepancy)
    return LossLaw(
        form,
        posterior.parameters(ladder.names),
        forecast,
        posterior.at_floors(),
        posterior.slope(data.octaves),
        posterior.lack_of_fit,
        len(data.y),
        not bool(bracketed[used].all()),
        record,
        ladder.names,
        posterior.draws() if form == "sum" else None,
    )


@dataclass(frozen=True)
class _Levels:
    """Minima y [n] with errors sd [n], axes [n, n_axes] and octaves of compute [n], the
    last two relative to a target.
    """

    y: np.ndarray
    sd: np.ndarray
    axes: np.ndarray
    octaves: np.ndarray

    @property
    def can_tell(self) -> bool:
        """Whether there are enough levels, and loss falls with scale."""
        if len(self.y) < LEAST_LEVELS or self.y.min() <= 0:
            return False
        total = self.axes.sum(axis=1)
        return bool(np.ptp(total) > 0 and np.corrcoef(total, self.y)[0, 1] < 0)

    @property
    def discrepancy(self) -> float:
        """Library's sd of the forecast, as a share of what is reducible."""
        beyond = max(-float(self.octaves.max()), 0.0)
        return DISCREPANCY[0] + DISCREPANCY[1] * beyond

    def before(self, hidden: int) -> _Levels:
        """The cheaper levels, relative to level `hidden`."""
        kept = self.octaves < self.octaves[hidden] - 0.1
        return _Levels(
            self.y[kept],
            self.sd[kept],
            self.axes[kept] - self.axes[hidden],
            self.octaves[kept] - self.octaves[hidden],
        )


def _record(data: _Levels, names: Sequence[str]) -> float:
    """How large the law's misses on one's own hidden levels are, over the library's:
    the most expensive levels that have three cheaper ones, each forecast from those;
    shrunk to 1 as if RECORD_WORTH more had missed as the library expects.
    """
    squares = []
    for hidden in np.argsort(-data.octaves)[:MOST_HIDDEN]:
        cheaper = data.before(int(hidden))
        if cheaper.can_tell:
            form = _form(names, len(cheaper.y))
            posterior = _Posterior(form, cheaper.axes, cheaper.y, cheaper.sd)
            told = posterior.forecast(0.0)
            miss = (data.y[hidden] - told.mean) ** 2 - told.sd**2
            sd = cheaper.discrepancy * posterior.reducible
            squares.append(max(float(miss), 0.0) / max(sd, 1e-12) ** 2)
    total = RECORD_WORTH + sum(squares)
    return float(np.sqrt(total / (RECORD_WORTH + len(squares))))


def _form(names: Sequence[str], n_levels: int) -> str:
    if len(names) == 1:
        return "power"
    return "sum" if len(names) == 2 and n_levels >= LEAST_FOR_SUM else "product"


class _Posterior:
    """Grid over exponents [g, n_axes]; for each a Gaussian over (E, A ...)."""

    def __init__(
        self, form: str, axes: np.ndarray, y: np.ndarray, sd: np.ndarray
    ):
        self._form = form
        self._axes = axes
        self._y = y
        self._grid = np.array(
            list(itertools.product(EXPONENTS, repeat=axes.shape[1]))
        )
        lack = LACK_SHARE * y.min()
        for _ in range(
            2
        ):  # the second pass weighs experiments by their own errors
            self._weight = 1 / (1 + (sd / lack) ** 2)
            self._solve(lack)
            lack = max(self.lack_of_fit, 0.2 * LACK_SHARE * y.min())

    def _solve(self, lack: float) -> None:
        y = self._y
        weight = self._weight
        mean = FLOOR_SHARE[0] * y.min()
        share = FLOOR_SHARE[1] * y.min()
        n_coefficients = 1 + (2 if self._form == "sum" else 1)
        freedom = len(y) + 1 - n_coefficients - self._axes.shape[1]
        self.df = max(freedom, 0) + LACK_FREEDOM
        rows = []
        log_weights = []
        for exponents in self._grid:
            basis = self._basis(self._axes, exponents)
            gram = (basis * weight[:, None]).T @ basis
            pull = np.zeros(n_coefficients)
            pull[0] = (lack / share) ** 2
            moment = basis.T @ (weight * y)
            moment[0] += pull[0] * mean
            gram += np.diag(pull) + 1e-9 * np.diag(np.diag(gram))
            covariance = np.linalg.inv(gram)
            beta = covariance @ moment
            residual = y - basis @ beta
            squares = weight @ residual**2 + pull[0] * (beta[0] - mean) ** 2
            squares += LACK_FREEDOM * (LACK_SHARE * y.min()) ** 2
            log_prior = -0.5 * np.sum(
                ((np.log(exponents) - EXPONENT_PRIOR[0]) / EXPONENT_PRIOR[1])
                ** 2
            )
            n_total = len(y) + LACK_FREEDOM
            log_weight = log_prior - 0.5 * n_total * np.log(squares)
            log_weight += 0.5 * np.linalg.slogdet(covariance)[1]
            if np.any(beta < 0):  # a loss that rises with scale, or below zero
                log_weight = -np.inf
            rows.append((beta, covariance, squares, residual))
            log_weights.append(log_weight)
        log_weights = np.array(log_weights)
        if not np.isfinite(log_weights).any():
            log_weights = np.array([-0.5 * r[2] for r in rows])
        weights = np.exp(log_weights - log_weights.max())
        self.weights = weights / weights.sum()
        self._betas = np.array([r[0] for r in rows])
        self._covariances = np.array([r[1] for r in rows])
        self._variances = np.array([r[2] for r in rows]) / self.df
        self._best = int(np.argmax(self.weights))
        self.residuals = rows[self._best][3]
        n_free = max(len(y) - n_coefficients, 1)
        self.lack_of_fit = float(np.sqrt(np.sum(self.residuals**2) / n_free))

    def _basis(self, axes: np.ndarray, exponents: np.ndarray) -> np.ndarray:
        if self._form == "sum":
            terms = 2.0 ** (-axes * exponents)
        else:
            terms = 2.0 ** -(axes @ exponents)[:, None]
        return np.column_stack([np.ones(len(axes)), terms])

    @property
    def _at_target(self) -> np.ndarray:
        """Forecast mean of every grid point: the basis at the target is all ones."""
        return self._betas.sum(axis=1)

    @property
    def reducible(self) -> float:
        """Forecast above E."""
        return float(self.weights @ self._betas[:, 1:].sum(axis=1))

    def forecast(self, discrepancy_share: float) -> Forecast:
        """Mixture over the grid; `discrepancy_share`: sd over what is reducible."""
        means = self._at_target
        mean = float(self.weights @ means)
        within = self._covariances.sum(axis=(1, 2)) * self._variances
        lack = self._variances  # the target is one more experiment
        variance = self.weights @ (within + lack + (means - mean) ** 2)
        variance += (discrepancy_share * self.reducible) ** 2
        return Forecast(mean, float(np.sqrt(variance)), float(self.df))

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
        if self._form == "sum":
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

    def parameters(self, names: Sequence[str]) -> dict[str, float]:
        beta = self._betas[self._best]
        exponents = self._grid[self._best]
        found = {"E": float(beta[0])}
        found |= {f"{'AB'[i]}": float(v) for i, v in enumerate(beta[1:])}
        found |= {
            f"exponent_{n}": float(v)
            for n, v in zip(names, exponents, strict=True)
        }
        return found
