"""The judge's smoothed table: a small Gaussian process over one experiment's rows, in numpy alone.

Row noise decides which row of a sweep is "the best"; latent regret reads both the pick and the minimum here, so that
luck is not rewarded. Policies never see these values. Losses are squashed first (identity up to the median, logarithm
above), since a cliff of diverged runs would otherwise set the length scales. Source: docs/protocol.md.
"""

from __future__ import annotations

import itertools

import numpy as np

LENGTHS = (1.0, 1.5, 2.25, 3.5, 5.0)
"""Candidate length scales per knob, in multiples of that knob's median grid step."""
NOISES = (0.02, 0.05, 0.1, 0.2)
"""Candidate noise standard deviations, in units of median - min."""


def squash(loss: np.ndarray) -> np.ndarray:
    """(loss - min) / (median - min), identity below 1 and 1 + log above. Shape kept."""
    best, median = np.min(loss), np.median(loss)
    u = (loss - best) / (median - best) if median > best else np.zeros_like(loss)
    return np.where(u <= 1, u, 1 + np.log(np.maximum(u, 1)))


def unsquash(u: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Inverse of `squash` with the same reference losses."""
    best, median = np.min(loss), np.median(loss)
    return best + (median - best) * np.where(u <= 1, u, np.exp(np.minimum(u, 50) - 1))


def smooth(points: np.ndarray, loss: np.ndarray, n_replicas: np.ndarray) -> np.ndarray:
    """Posterior mean loss at the rows themselves, float64 [n].

    Args:
        points: [n, d] natural units. loss: [n], lower is better, finite. n_replicas: [n], noise variance is divided by it.

    Length scales and noise are those of highest marginal likelihood on a fixed small lattice: deterministic, no optimizer.
    Fewer than 6 rows are returned as they are.
    """
    n, d = points.shape
    if n < 6 or np.ptp(loss) == 0:
        return loss.copy()
    u = squash(loss)
    centred = u - u.mean()
    scale = np.maximum(centred.std(), 1e-9)
    steps = np.array([_median_step(points[:, j]) for j in range(d)])
    squared = ((points[:, None, :] - points[None, :, :]) / steps) ** 2
    best: tuple[float, np.ndarray] | None = None
    lengths_lattice = itertools.product(LENGTHS, repeat=d) if d <= 2 else ((length,) * d for length in LENGTHS)
    for lengths in lengths_lattice:
        kernel = scale**2 * np.exp(-0.5 * squared @ (1 / np.square(lengths)))
        for noise in NOISES:
            covariance = kernel + np.diag(noise**2 / n_replicas)
            chol = np.linalg.cholesky(covariance + 1e-9 * np.eye(n))
            weights = np.linalg.solve(chol.T, np.linalg.solve(chol, centred))
            evidence = -0.5 * centred @ weights - np.log(np.diag(chol)).sum()
            if best is None or evidence > best[0]:
                best = evidence, u.mean() + kernel @ weights
    return unsquash(best[1], loss)


def _median_step(values: np.ndarray) -> float:
    gaps = np.diff(np.unique(np.round(values, 6)))
    return float(np.median(gaps)) if len(gaps) else 1.0
