"""How the optimum of a knob moves with scale: a random-effects regression of fitted
optima over levels.

    c_e = alpha + beta . z_e + tau e1 + s_e e2

c_e, s_e: an experiment's fitted optimum and its standard error (response.py); z_e: log2
of what varies. An optimum at the edge of its experiment's rows enters as an inequality
(Tobit). beta is an exponent where the knob is logarithmic. Intervals: t with levels -
coefficients degrees of freedom, the variance taken from the spread between levels
(G. Knapp, J. Hartung, "Improved tests for a random effects meta-regression", 2003).

Invariant: fewer than three levels give the verdict `unknown` and no exponent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_ndtr
from scipy.stats import t as student

from autollm.advisor.statistics.response import Response

WITHIN = 0.1
"""Natural units per octave that count as not moving: a knob on this bound is half an
octave off after a factor of 32 in scale, about one step of a common grid."""
LEVEL = 0.9
COLLINEAR = 0.98
"""Correlation of two coordinates from which their exponents are not told apart."""


@dataclass(frozen=True)
class Law:
    """One knob against one coordinate. exponent, low, high: natural units per octave
    (the exponent of a log knob); None where the levels cannot carry it.

    verdict: `moves`, `still` (|exponent| at most `within`), or `unknown`.
    """

    knob: str
    per: str
    exponent: float | None
    low: float | None
    high: float | None
    verdict: str
    within: float
    because: str = ""


@dataclass(frozen=True)
class Trend:
    """A knob's optimum at the target. at_target: natural units; sd: of the line there,
    the scatter of one more level included; df: degrees of freedom; scatter: of optima
    around the line.

    beta [1 + n_axes], covariance: of the line; the ladder's axes are 0 at the target.
    """

    knob: str
    at_target: float
    sd: float
    df: int
    scatter: float
    beta: np.ndarray
    covariance: np.ndarray

    def along(self, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The line at places [n, n_axes] of the ladder, and half its 90 % band [n]."""
        design = np.column_stack([np.ones(len(axes)), axes])
        variance = np.sum(design @ self.covariance * design, axis=1)
        t = float(student.ppf(0.5 + LEVEL / 2, max(self.df, 1)))
        return design @ self.beta, t * np.sqrt(variance + self.scatter**2)


@dataclass(frozen=True)
class Ladder:
    """What levels differ in. axes [n_levels, n_axes]: log2 of each, relative to the
    target; names: a fidelity each, or `compute` where they are collinear.
    """

    names: tuple[str, ...]
    axes: np.ndarray
    collinear: tuple[str, ...] = ()


def ladder_of(
    names: Sequence[str],
    z: np.ndarray,
    target_z: np.ndarray,
    compute: np.ndarray,
) -> Ladder:
    """The axes of levels z [n, f]. `compute`: log2 FLOPs [n] relative to the target,
    which stands for all coordinates where two of them cannot be told apart.
    """
    varied = [j for j in range(z.shape[1]) if np.ptp(z[:, j]) > 1e-9]
    together = tuple(names[j] for j in varied)
    if len(varied) > 1 and (
        len(z) < len(varied) + 3 or _collinear(z[:, varied])
    ):
        told = together if _collinear(z[:, varied]) else ()
        return Ladder(("compute",), compute[:, None], told)
    return Ladder(together, (z - target_z)[:, varied])


def _collinear(z: np.ndarray) -> bool:
    """Whether some column is a line in the others: variance inflation as of a pairwise
    correlation of COLLINEAR.
    """
    x = z - z.mean(axis=0)
    values = np.linalg.eigvalsh(np.corrcoef(x.T))
    return bool(values[0] < 1 - COLLINEAR)


def knob_laws(
    response: Response, ladder: Ladder
) -> tuple[tuple[Law, ...], dict[str, Trend]]:
    """The laws of all knobs that have an optimum, and each one's optimum at the target."""
    laws: list[Law] = []
    trends: dict[str, Trend] = {}
    for j, knob in enumerate(response.names):
        fit = _fit(response, j, ladder.axes)
        if fit is None:
            n = int(_inside(response, j).sum())
            because = f"{n} of {len(response.levels)} optima lie within what was tried; "
            because += f"a law with its interval needs {len(ladder.names) + 2}"
            laws += [
                Law(knob, per, None, None, None, "unknown", WITHIN, because)
                for per in ladder.names
            ]
            continue
        laws += [fit.law(knob, per, i) for i, per in enumerate(ladder.names)]
        trends[knob] = fit.trend(knob)
    return tuple(laws), trends


@dataclass(frozen=True)
class _Line:
    """alpha and beta [1 + n_axes] with covariance, df, tau and n of the levels used."""

    beta: np.ndarray
    covariance: np.ndarray
    df: int
    tau: float
    n_edge: int

    def law(self, knob: str, per: str, axis: int) -> Law:
        value = float(self.beta[1 + axis])
        sd = float(np.sqrt(self.covariance[1 + axis, 1 + axis]))
        half = float(student.ppf(0.5 + LEVEL / 2, self.df)) * sd
        low = value - half
        high = value + half
        verdict = "unknown"
        if low > 0 or high < 0:
            verdict = "moves"
        if max(abs(low), abs(high)) <= WITHIN:
            verdict = "still"
        because = f"{self.df} degrees of freedom"
        if self.n_edge:
            because += f"; {self.n_edge} optima at an edge count as bounds"
        return Law(knob, per, value, low, high, verdict, WITHIN, because)

    def trend(self, knob: str) -> Trend:
        sd = float(np.sqrt(self.covariance[0, 0] + self.tau**2))
        return Trend(
            knob,
            float(self.beta[0]),
            sd,
            self.df,
            self.tau,
            self.beta,
            self.covariance,
        )


def _inside(response: Response, j: int) -> np.ndarray:
    """Levels whose rows bracket the optimum of coordinate `j`, [n_levels]."""
    found = [not v.edge[j] and v.tells(j) for v in response.levels]
    return np.array(found, dtype=bool)


def _fit(response: Response, j: int, axes: np.ndarray) -> _Line | None:
    levels = response.levels
    y = np.array([level.optimum[j] for level in levels])
    sd = np.array([max(level.optimum_sd[j], 1e-3) for level in levels])
    edge = np.array([level.edge[j] for level in levels])
    design = np.column_stack([np.ones(len(y)), axes])
    inside = _inside(response, j)
    df = int(inside.sum()) - design.shape[1]
    if df < 1 or np.linalg.matrix_rank(design[inside]) < design.shape[1]:
        return None
    told = inside | (edge != 0)
    beta, tau = _maximum(design[told], y[told], sd[told], edge[told])
    weight = np.where(inside, 1 / (sd**2 + tau**2), 0.0)
    gram = (design * weight[:, None]).T @ design
    residual = y - design @ beta
    spread = (
        float(np.sum(weight * residual**2)) / df
    )  # Knapp and Hartung's factor
    covariance = np.linalg.inv(gram) * max(spread, 1e-12)
    scatter = max(tau, float(np.sqrt(np.sum(inside * residual**2) / df)))
    return _Line(beta, covariance, df, scatter, int((edge != 0).sum()))


def _maximum(
    design: np.ndarray, y: np.ndarray, sd: np.ndarray, edge: np.ndarray
) -> tuple[np.ndarray, float]:
    """Coefficients and tau of highest likelihood; bounds are one-sided."""
    inside = edge == 0
    start = np.linalg.lstsq(design[inside], y[inside], rcond=None)[0]
    rough = float(np.std(y[inside] - design[inside] @ start)) + 1e-2

    def loss(theta: np.ndarray) -> float:
        total = np.sqrt(sd**2 + np.exp(2 * theta[-1]))
        scaled = (y - design @ theta[:-1]) / total
        seen = 0.5 * scaled[inside] ** 2 + np.log(total[inside])
        # the optimum lies beyond y: above it for an upper edge
        beyond = -log_ndtr(-edge[~inside] * scaled[~inside])
        return float(seen.sum() + beyond.sum())

    found = minimize(
        loss,
        np.append(start, np.log(rough)),
        method="Nelder-Mead",
        options={"maxiter": 2000, "xatol": 1e-5, "fatol": 1e-7},
    )
    return found.x[:-1], float(np.exp(np.clip(found.x[-1], -12, 5)))
