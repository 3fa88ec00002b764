"""scikit-learn's Gaussian process, the only module that imports it: kernels, fits and
conditioning of the policies that use one.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

Kernel = Any
Process = Any
"""scikit-learn has no types of its own."""
Bounds = tuple[float, float]
NOISE_START = 0.02
"""Variance that a noise term begins with, in units of the outputs' variance."""


def smooth_term(
    amplitude: float,
    amplitude_bounds: Bounds,
    lengths: np.ndarray,
    length_bounds: Sequence[Bounds],
) -> Kernel:
    """amplitude times a squared exponential, a length scale an input."""
    return ConstantKernel(amplitude, amplitude_bounds) * RBF(
        lengths, length_bounds
    )


def noise_term(bounds: Bounds) -> Kernel:
    """White noise of a variance within the bounds."""
    return WhiteKernel(NOISE_START, bounds)


def fitted(kernel: Kernel, x: np.ndarray, y: np.ndarray) -> Process:
    """The process on inputs [n, d] and outputs [n] whose hyper-parameters have the
    highest likelihood, found by one search from `kernel`.
    """
    with warnings.catch_warnings():
        # A bound that is reached is an answer too.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessRegressor(kernel).fit(x, y)


def conditioned(kernel: Kernel, x: np.ndarray, y: np.ndarray) -> Process:
    """The process of a kernel as it is, on inputs [n, d] and outputs [n]."""
    return GaussianProcessRegressor(kernel, optimizer=None).fit(x, y)
