"""What runs at the target teach: how high its level lies, and where its optimum.

    loss_i = level + spread * unsquashed(u_p(x_i)) + sd_i * Student t(RUN_DF)

u_p: of draw p of the decider; level: the law's forecast before, any where there is no
law. Both are weighed together by Bayes' rule, the level on a grid. A run that diverged
tells that u there is 1 at least. Runs that were stopped tell nothing.

Invariant: without an outcome nothing changes; the order of runs tells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student

from autollm.advisor.statistics.forecast import Forecast
from autollm.gym.tables.squashing import exp_above_one

UNKNOWN_SD, LEAST_SD, GROWTH, RUN_DF = 0.1, 0.02, 0.2, 4.0
"""Of a run around the bowl, in u: where the evidence tells none, and at least; what it
grows by per u, and its tail, as the moving bowl weighs trials."""
MOST_U = 2.0
"""Beyond it the noise of a run grows no further."""
MOST_LOST = 10.0
"""u of which a loss is told: e^9 medians already say hopeless."""
EVENLY = np.linspace(-4.0, 4.0, 41)
AWAY = np.sinh(EVENLY) / 4
"""Places of the grid around what a run shows, in its sd: from a fortieth to seven."""


@dataclass(frozen=True)
class Tried:
    """A run at the target: point [d], loss (NaN where it gave none), status."""

    point: np.ndarray
    loss: float
    status: str

    @property
    def has_outcome(self) -> bool:
        is_known = bool(np.isfinite(self.loss))
        return is_known and self.status == "finished"


def learn(
    u: np.ndarray,
    tried: Sequence[Tried],
    weights: np.ndarray,
    spread: float,
    scatter: float,
    forecast: Forecast | None,
) -> tuple[np.ndarray, Forecast | None]:
    """Weights of draws [n_draws], and the forecast of the level, once runs are known.
    u [n_draws, n_runs]: of the runs; spread, scatter: loss units of one u, and sd of a
    run around the fit (0: not known).
    """
    log_weights = np.log(np.maximum(weights, 1e-300))
    least = max(scatter / spread or UNKNOWN_SD, LEAST_SD)
    sd = least + GROWTH * np.clip(u, 0.0, MOST_U)
    statuses = np.array([run.status for run in tried])
    lost = statuses == "diverged"
    beyond = u[:, lost] - 1
    told = student.logcdf(beyond / sd[:, lost], RUN_DF)
    log_weights += told.sum(axis=1)
    ended = np.array([run.has_outcome for run in tried])
    if not ended.any():
        return _normed(log_weights), forecast
    losses = np.array([run.loss for run in tried])
    above = np.minimum(u[:, ended], MOST_LOST)
    shown = losses[ended] - spread * exp_above_one(above)
    sd = spread * sd[:, ended]
    levels = _grid(shown, sd, forecast)
    width = np.log(np.gradient(levels))
    joint = width[:, None] + log_weights
    if forecast is not None:
        away = (levels - forecast.mean) / forecast.sd
        before = student.logpdf(away, forecast.df)
        joint += before[:, None]
    for one, error in zip(shown.T, sd.T, strict=True):
        off = one - levels[:, None]
        joint += student.logpdf(off / error, RUN_DF)
        joint -= np.log(error)
    joint = _normed(joint)
    weights = joint.sum(axis=0)
    if forecast is None:
        return weights, None
    mass = joint.sum(axis=1)
    return weights, _forecast(levels, mass, forecast)


def _grid(
    shown: np.ndarray,
    sd: np.ndarray,
    forecast: Forecast | None,
) -> np.ndarray:
    """Levels [n] that a forecast or some run makes likely, ascending, each once."""
    shares = np.linspace(0, 1, 15)
    near = np.quantile(shown, shares)
    away = np.median(sd) * AWAY
    parts = [np.add.outer(near, away).ravel()]
    if forecast is not None:
        shares = np.linspace(0.002, 0.998, 101)
        likely = student.ppf(shares, forecast.df)
        parts.append(forecast.mean + forecast.sd * likely)
    return np.unique(np.concatenate(parts))


def _forecast(
    levels: np.ndarray, mass: np.ndarray, before: Forecast
) -> Forecast:
    """The posterior [n] as mean and sd: of the sd whose 90 % interval holds 90 % of it."""
    below = np.cumsum(mass) - mass / 2
    ends = np.interp([0.05, 0.95], below, levels)
    half = float(np.ptp(ends)) / 2
    sd = half / float(student.ppf(0.95, before.df))
    mean = float(mass @ levels)
    return replace(before, mean=mean, sd=sd)


def _normed(log_weights: np.ndarray) -> np.ndarray:
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.sum()
