"""Gaussian processes of BoTorch behind numpy arrays: the only module of `policies` that
imports torch (extra `baselines`).

Inputs are points scaled to the unit cube of the declared window, outputs are u
(squashed losses). Fits are determined by data and seed: torch's global random state is
put back.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.gpytorch import GPyTorchModel
from gpytorch.mlls import ExactMarginalLogLikelihood

MAX_ITERATIONS = 60


def to_unit(points: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Points [n, d] relative to the window [2, d]; a coordinate that cannot vary is 0."""
    return (points - window[0]) / np.maximum(window[1] - window[0], 1e-9)


def fit_single(x: np.ndarray, y: np.ndarray, seed: int) -> SingleTaskGP:
    """A process on inputs [n, d] and outputs [n], n at least 2."""
    with _seeded(seed):
        return _fitted(SingleTaskGP(_tensor(x), _tensor(y)[:, None]))


def posterior(
    model: GPyTorchModel, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean [n] and covariance [n, n] of u at inputs [n, d]."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        posterior_at: Any = model.posterior(_tensor(x))
        return posterior_at.mean.squeeze(
            -1
        ).numpy(), posterior_at.distribution.covariance_matrix.numpy()


def mean_of(model: GPyTorchModel, x: np.ndarray) -> np.ndarray:
    """Mean [n] of u at inputs [n, d]."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.posterior(_tensor(x)).mean.squeeze(-1).numpy()


def leave_one_out(model: SingleTaskGP) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd [n] of every training output (standardized as the model has it) from
    the others, hyper-parameters kept.

    Source: C. Rasmussen, C. Williams, "Gaussian processes for machine learning" (2006),
    eq. 5.12.
    """
    with torch.no_grad():
        x = model.train_inputs[0]
        y = model.train_targets
        mean: Any = model.mean_module
        covariance = model.covar_module(
            x
        ).to_dense() + model.likelihood.noise * torch.eye(len(x), dtype=x.dtype)
        inverse = torch.linalg.inv(covariance)
        variance = 1 / inverse.diagonal()
        return (
            y - (inverse @ (y - mean(x))) * variance
        ).numpy(), variance.sqrt().numpy()


def _fitted(model: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of convergence: a bound that is reached is an answer too
        fit_gpytorch_mll(
            ExactMarginalLogLikelihood(model.likelihood, model),
            optimizer_kwargs={"options": {"maxiter": MAX_ITERATIONS}},
        )
    return model.eval()


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float64)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
