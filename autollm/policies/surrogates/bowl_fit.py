"""One bowl, fitted jointly to all cheap experiments, whose optimum moves with scale.

    u = a_c + exp(g . z) * sum_j (y_j^2 + k_j y_j^3 / (1 + |y_j|)),   y = R (x - c0 - S z)

x: configuration in natural units; z: log2 fidelity relative to the target; u: squashed
loss of experiment c (squashing.squash). R (shape, upper triangular; diagonal beyond
FULL_SHAPE coordinates) and k (skew, |k| < 0.9, so the bowl keeps one minimum at y = 0)
are shared by all experiments. Fitting jointly is what matters: an optimum per
experiment first and a law afterwards is twice as far off.

Invariant: priors make every fit solvable, down to a single row; with no row the fit is
the prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from autollm.gym.tasks.view import TaskView
from autollm.policies.surrogates.bowl_rows import Rows

FULL_SHAPE = 8
"""With more coordinates (mixtures, per-layer lists) rows could not determine how they
interact.
"""
GENERIC_SLOPE = {"rate": ("params", -0.5), "size": ("tokens", 0.5)}
"""Prior octaves of the optimum per octave of fidelity: a rate falls with the root of
size, a batch grows with that of data."""
SLOPE_SD = 0.25
SHARPNESS_SD = 0.1
SKEW_SD = 0.5
SHAPE_SD = 1.0
"""Prior standard deviations of S, g, k and of log R's diagonal (its off-diagonal:
half of it)."""


@dataclass
class Bowl:
    """Parameters, for d coordinates and f fidelities; in brackets the letter of the
    formula above.

    Attributes:
        floors (a): [n_experiments], u of the optimum.
        sharpness (g): [f], how the log of the curvature moves with fidelity.
        shape (R): [d, d], upper triangular with a log diagonal.
        optimum (c0): [d], at the target's fidelity.
        slopes (S): [d, f], how the optimum moves with fidelity.
        raw_skew (k): [d], before it is squashed into (-.9, .9).
    """

    floors: np.ndarray
    sharpness: np.ndarray
    shape: np.ndarray
    optimum: np.ndarray
    slopes: np.ndarray
    raw_skew: np.ndarray
    upper: tuple[np.ndarray, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        d = len(self.optimum)
        self.upper = (
            np.triu_indices(d) if d <= FULL_SHAPE else np.diag_indices(d)
        )

    @property
    def root(self) -> np.ndarray:
        """R [d, d]."""
        out = np.triu(self.shape, 1)
        np.fill_diagonal(out, np.exp(np.clip(np.diag(self.shape), -6, 6)))
        return out

    @property
    def skew(self) -> np.ndarray:
        return 0.9 * np.tanh(self.raw_skew)

    def centre(self, z: np.ndarray) -> np.ndarray:
        """Optimum at fidelity z [..., f] relative to the target: [..., d]."""
        return self.optimum + z @ self.slopes.T

    def height(
        self, x: np.ndarray, centre: np.ndarray, z: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """u above the floor at x [..., d] for optimum `centre` [..., d]."""
        y = (x - centre) @ self.root.T
        return np.exp(
            z @ self.sharpness if isinstance(z, np.ndarray) else 0.0
        ) * np.sum(y**2 + self.skew * _cubic(y), axis=-1)

    def heights(self, x: np.ndarray, centres: np.ndarray) -> np.ndarray:
        """u above the floor at every x [n, d] for every optimum of `centres` [p, d]:
        [p, n]; `height`, one coordinate at a time.
        """
        root = self.root
        out = np.zeros((len(centres), len(x)))
        for at, optimum, skew in zip(
            (x @ root.T).T, (centres @ root.T).T, self.skew, strict=True
        ):
            y = at - optimum[:, None]
            square = y * y
            size = np.abs(y)
            out += square
            out += skew * square * y / (1 + size)
        return out

    def pack(self) -> np.ndarray:
        return np.concatenate(
            [
                self.floors,
                self.sharpness,
                self.shape[self.upper],
                self.optimum,
                self.slopes.ravel(),
                self.raw_skew,
            ]
        )

    def moved(self, theta: np.ndarray) -> Bowl:
        """The bowl of parameter vector `theta` (as `pack` orders them)."""
        d, f = self.slopes.shape
        sizes = np.cumsum([len(self.floors), f, len(self.upper[0]), d, d * f])
        floors, sharpness, upper, optimum, slopes, skew = np.split(theta, sizes)
        shape = np.zeros((d, d))
        shape[self.upper] = upper
        slopes = slopes.reshape(d, f)
        return Bowl(floors, sharpness, shape, optimum, slopes, skew)


def prior_bowl(view: TaskView, rows: Rows) -> Bowl:
    """Where a fit starts, and towards which it is regularised: generic slopes through
    the best rows, a width of a third of the window.
    """
    d = len(view.space)
    f = len(view.target_z)
    slopes = np.zeros((d, f))
    for j, knob in enumerate(view.space.knobs):
        if knob.role in GENERIC_SLOPE:
            name, slope = GENERIC_SLOPE[knob.role]
            slopes[j, _coordinate(view.fidelity_names, name)] = slope
    good = np.empty(0, dtype=bool)
    if len(rows.u):
        whole = ~np.isin(rows.c, rows.few)
        good = whole & (rows.u <= np.quantile(rows.u[whole], 0.1))
    optimum = view.space.window.mean(axis=0)
    if good.any():
        optimum = (rows.x - rows.z @ slopes.T)[good].mean(axis=0)
    extent = np.maximum(np.ptp(view.space.window, axis=0), 1e-6)
    shape = np.diag(-np.log(extent / 3))
    floors = np.full(rows.n_experiments, 0.05)
    sharpness = np.zeros(f)
    skew = np.zeros(d)
    return Bowl(floors, sharpness, shape, optimum, slopes, skew)


def _coordinate(names: Sequence[str], name: str) -> int:
    """Place of a name or of what stands for it; `params` stands for no data."""
    others = [n for n in names if n != "params"] or names
    stand_in = names[0] if name == "params" else others[-1]
    return names.index(name if name in names else stand_in)


def fit(
    rows: Rows, prior: Bowl, begin: Bowl | None = None, n_iterations: int = 25
) -> Bowl:
    """Robust damped least squares from `begin` (default: the prior)."""
    precision = _precision(prior, rows.floor_sd)
    mean = prior.pack()
    bowl = begin or prior
    damping = 1e-2
    cost = np.inf
    for _ in range(n_iterations):
        residual, jacobian = _residuals(rows, bowl)
        weight = _weights(rows.u, residual) * rows.nearness
        gap = bowl.pack() - mean
        gram = (jacobian * weight[:, None]).T @ jacobian + np.diag(precision)
        gradient = jacobian.T @ (weight * residual) + precision * gap
        before = weight @ residual**2 + precision @ gap**2
        for _ in range(6):
            step = np.linalg.solve(
                gram + damping * np.diag(np.diag(gram)), gradient
            )
            trial = bowl.moved(bowl.pack() - step)
            after = (
                weight @ (_predict(rows, trial) - rows.u) ** 2
                + precision @ (trial.pack() - mean) ** 2
            )
            if after <= before:
                break
            damping *= 5
        else:
            break
        bowl = trial
        damping = max(damping / 5, 1e-6)
        if abs(cost - after) < 1e-4 * after:
            break
        cost = after
    return bowl


def own_centre(
    rows: Rows, bowl: Bowl, experiment: int, n_iterations: int = 8
) -> np.ndarray:
    """Optimum [d] of one experiment alone, with the joint shape and a weak pull (one
    natural unit) to the joint optimum.
    """
    own = rows.only(experiment)
    joint = bowl.centre(own.z[0]) if len(own.u) else bowl.optimum
    centre = joint.copy()
    floor = float(bowl.floors[experiment])
    root = bowl.root
    skew = bowl.skew
    for _ in range(n_iterations if len(own.u) else 0):
        y = (own.x - centre) @ root.T
        sharp = np.exp(own.z @ bowl.sharpness)[:, None]
        residual = (
            floor
            + sharp[:, 0] * np.sum(y**2 + skew * _cubic(y), axis=1)
            - own.u
        )
        jacobian = np.column_stack(
            [np.ones(len(y)), -sharp * (2 * y + skew * _cubic_slope(y)) @ root]
        )
        weight = _weights(own.u, residual)
        floor_sd = rows.floor_sd[experiment]
        precision = np.array([1 / floor_sd**2, *np.ones(len(centre))])
        gap = np.array([floor - 0.05, *(centre - joint)])
        gram = (jacobian * weight[:, None]).T @ jacobian + np.diag(precision)
        step = np.linalg.solve(
            gram, jacobian.T @ (weight * residual) + precision * gap
        )
        step *= min(1.0, 1.0 / max(np.abs(step[1:]).max(), 1e-12))
        floor = floor - step[0]
        centre = centre - step[1:]
    return centre


def left_over(rows: Rows, bowl: Bowl) -> np.ndarray:
    """Residuals [n]: u of the rows less u of the bowl."""
    return rows.u - _predict(rows, bowl)


def _cubic(y: np.ndarray) -> np.ndarray:
    return y**3 / (1 + np.abs(y))


def _cubic_slope(y: np.ndarray) -> np.ndarray:
    size = np.abs(y)
    return (3 * size**2 + 2 * size**3) / (1 + size) ** 2


def _weights(u: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Precision of each row: noise grows with u, and outliers count less (Cauchy)."""
    sd = 0.1 + 0.2 * u
    return 1 / (sd**2 + (residual / 1.5) ** 2)


def _predict(rows: Rows, bowl: Bowl) -> np.ndarray:
    return bowl.floors[rows.c] + bowl.height(
        rows.x, bowl.centre(rows.z), rows.z
    )


def _residuals(rows: Rows, bowl: Bowl) -> tuple[np.ndarray, np.ndarray]:
    """Prediction minus u [n], and its derivative [n, n_parameters] in the order of
    `pack`.
    """
    n = len(rows.u)
    root = bowl.root
    skew = bowl.skew
    offset = rows.x - bowl.centre(rows.z)
    y = offset @ root.T
    sharp = np.exp(rows.z @ bowl.sharpness)
    height = sharp * np.sum(y**2 + skew * _cubic(y), axis=1)
    slope = sharp[:, None] * (2 * y + skew * _cubic_slope(y))  # du/dy
    i, j = bowl.upper
    by_shape = (
        slope[:, i] * offset[:, j] * np.where(i == j, np.diag(root)[i], 1.0)
    )
    by_centre = -slope @ root
    by_slopes = (by_centre[:, :, None] * rows.z[:, None, :]).reshape(
        n, bowl.slopes.size
    )
    by_skew = (
        sharp[:, None] * _cubic(y) * 0.9 * (1 - np.tanh(bowl.raw_skew) ** 2)
    )
    by_floor = np.zeros((n, len(bowl.floors)))
    by_floor[np.arange(n), rows.c] = 1.0
    jacobian = np.concatenate(
        [
            by_floor,
            height[:, None] * rows.z,
            by_shape,
            by_centre,
            by_slopes,
            by_skew,
        ],
        axis=1,
    )
    return bowl.floors[rows.c] + height - rows.u, jacobian


def _precision(prior: Bowl, floor_sd: np.ndarray) -> np.ndarray:
    """1 / variance of every parameter's prior, in the order of `pack`; the optimum
    itself is nearly free (4 natural units). floor_sd [n_experiments].
    """
    d, f = prior.slopes.shape
    shape = np.where(prior.upper[0] == prior.upper[1], SHAPE_SD, 0.5 * SHAPE_SD)
    sd = np.concatenate(
        [
            floor_sd,
            np.full(f, SHARPNESS_SD),
            shape,
            np.full(d, 4.0),
            np.full(d * f, SLOPE_SD),
            np.full(d, SKEW_SD),
        ]
    )
    return 1 / sd**2
