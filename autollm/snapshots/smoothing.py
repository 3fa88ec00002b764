"""The judge's smoothed table: a small Gaussian process over one experiment's rows, in
numpy alone.

Row noise decides which row of a sweep is "the best"; latent regret reads both the pick
and the minimum here, so that luck is not rewarded. Policies never see these values.
Losses are squashed first (identity up to the median, logarithm above), since a cliff of
diverged runs would otherwise set the length scales. Source: docs/protocol.md.

Cost: the whole process up to EXACT_ROWS rows, one of each row's NEIGHBOURS up to
MAX_ROWS, nothing beyond (such tables are made by surrogates, which have no noise).
"""

from __future__ import annotations

import itertools

import numpy as np

from autollm.core.spaces.distances import squared_distances
from autollm.gym.tables.squashing import squash, unsquash

LENGTHS = (1.0, 1.5, 2.25, 3.5, 5.0)
"""Candidate length scales per knob, in multiples of that knob's median grid step."""
NOISES = (0.02, 0.05, 0.1, 0.2)
"""Candidate noise standard deviations, in units of median - min."""
EXACT_ROWS = 1500
NEIGHBOURS = 64
MAX_ROWS = 50_000
CHUNK = 256


def smooth(
    points: np.ndarray,
    loss: np.ndarray,
    n_replicas: np.ndarray,
    gridded: np.ndarray | None = None,
) -> np.ndarray:
    """Posterior mean loss at the rows themselves, float64 [n].

    Args:
        points: [n, d] natural units. loss: [n], lower is better, finite. n_replicas:
            [n], noise variance is divided by it.
        gridded: bool [d], coordinates whose lengths are multiples of their own median
            step (default: all); others of one natural unit.

    Length scales and noise are those of highest marginal likelihood on a fixed small
    lattice: deterministic, no optimizer. Fewer than 6 rows and more than MAX_ROWS are
    returned as they are.
    """
    n, d = points.shape
    if n < 6 or n > MAX_ROWS or np.ptp(loss) == 0:
        return loss.copy()
    u = squash(loss)
    centred = u - u.mean()
    steps = np.array(
        [
            _median_step(points[:, j]) if gridded is None or gridded[j] else 1.0
            for j in range(d)
        ]
    )
    if n <= EXACT_ROWS:
        return unsquash(
            u.mean() + _fit(points, steps, centred, n_replicas)[0], loss
        )
    subset = np.linspace(0, n - 1, EXACT_ROWS // 2).astype(int)
    _, lengths, noise = _fit(
        points[subset], steps, centred[subset], n_replicas[subset]
    )
    return unsquash(
        u.mean()
        + _local_posterior(
            points / steps / lengths, centred, noise**2 / n_replicas
        ),
        loss,
    )


def _fit(
    points: np.ndarray,
    steps: np.ndarray,
    centred: np.ndarray,
    n_replicas: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Posterior mean [n], length scales [d] and noise of highest marginal likelihood."""
    n, d = points.shape
    scale = np.maximum(centred.std(), 1e-9)
    # One length for all beyond two knobs: then distances are summed once, and [n, n, d]
    # never exists.
    squared = (
        ((points[:, None, :] - points[None, :, :]) / steps) ** 2
        if d <= 2
        else squared_distances(points / steps)[:, :, None]
    )
    best: tuple[float, np.ndarray, np.ndarray, float] | None = None
    for lengths in (
        itertools.product(LENGTHS, repeat=min(d, 2))
        if d <= 2
        else ((length,) for length in LENGTHS)
    ):
        kernel = scale**2 * np.exp(-0.5 * squared @ (1 / np.square(lengths)))
        for noise in NOISES:
            covariance = kernel + np.diag(noise**2 / n_replicas)
            chol = np.linalg.cholesky(covariance + 1e-9 * np.eye(n))
            weights = np.linalg.solve(chol.T, np.linalg.solve(chol, centred))
            evidence = -0.5 * centred @ weights - np.log(np.diag(chol)).sum()
            if best is None or evidence > best[0]:
                best = (
                    evidence,
                    kernel @ weights,
                    np.broadcast_to(lengths, d),
                    noise,
                )
    assert best is not None, "there are lengths and noises to choose from"
    return best[1:]


def _local_posterior(
    points: np.ndarray, centred: np.ndarray, noise_variance: np.ndarray
) -> np.ndarray:
    """Posterior mean [n] at each row from its NEIGHBOURS nearest rows, itself among
    them. `points` [n, d] in length scales.
    """
    scale = np.maximum(centred.std(), 1e-9)
    out = np.empty(len(points))
    for start in range(0, len(points), CHUNK):
        rows = slice(start, start + CHUNK)
        squared = squared_distances(points[rows], points)
        near = np.argpartition(squared, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        kernel = scale**2 * np.exp(
            -0.5
            * np.array([squared_distances(points[index]) for index in near])
        )
        noisy = (
            kernel
            + np.eye(NEIGHBOURS) * (noise_variance[near] + 1e-9)[:, None, :]
        )
        to_row = scale**2 * np.exp(
            -0.5 * np.take_along_axis(squared, near, axis=1)
        )
        out[rows] = np.sum(
            to_row * np.linalg.solve(noisy, centred[near][:, :, None])[:, :, 0],
            axis=1,
        )
    return out


def _median_step(values: np.ndarray) -> float:
    gaps = np.diff(np.unique(np.round(values, 6)))
    return float(np.median(gaps)) if len(gaps) else 1.0
