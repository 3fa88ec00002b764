"""Syne Tune's transfer learners on the candidates: zero-shot transfer and
quantile-based transfer (extra `baselines`).

Both models are the library's; they choose among the view's candidates instead of the
random configurations that the library samples. Neither knows scale, and neither learns
from the target's outcomes: the library's own do not. Sources: D. Salinas et al., "Syne
Tune" (AutoML 2022); M. Wistuba, N. Schilling, L. Schmidt-Thieme, "Sequential model-free
hyperparameter tuning" (ICDM 2015); D. Salinas, H. Shen, V. Perrone, "A quantile-based
approach for hyperparameter transfer learning" (ICML 2020).
"""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import xgboost
from syne_tune.blackbox_repository.blackbox_surrogate import BlackboxSurrogate
from syne_tune.config_space import uniform
from syne_tune.optimizer.schedulers.transfer_learning.quantile_based import (
    quantile_based_searcher,
)
from syne_tune.optimizer.schedulers.transfer_learning.transfer_learning_task_evaluation import (
    TransferLearningTaskEvaluations,
)
from syne_tune.optimizer.schedulers.transfer_learning.zero_shot import (
    ZeroShotTransfer,
)

from autollm.policies.base import RankingPolicy, describe

METRIC = "loss"
SPARE = 3
"""Candidates that are ordered by the library, as a multiple of the trials."""
MIN_ROWS = 12
"""The quantile model holds a tenth of the rows back to estimate its error."""

logging.getLogger("syne_tune").setLevel(logging.ERROR)


class ZeroShot(RankingPolicy):
    """Configurations that jointly have the lowest mean rank over the cheap experiments,
    each one's rows completed by XGBoost.

    The library would complete every experiment at other random configurations and
    compare ranks by position, so the surrogates are fitted here, as it fits them, and
    asked about the candidates.
    """

    policy_id = "syne-zeroshot"

    def prepare(self) -> None:
        self._scores = self.from_centre
        usable = [e for e in self.view.evidence if len(e.loss) >= 2]
        self.n_experiments = len(usable)
        if not usable:
            return
        space = _space(len(self.view.space))
        completed = {
            e.experiment_id: _evaluations(
                space,
                self.candidates,
                _surrogate(space, e.points, e.loss).predict(
                    _frame(self.candidates)
                ),
            )
            for e in usable
        }
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # of pandas, about the library's own frames
            scheduler = ZeroShotTransfer(
                space,
                METRIC,
                completed,
                sort_transfer_learning_evaluations=False,
                random_seed=0,
            )
            chosen = [
                scheduler.get_config()
                for _ in range(
                    min(len(self.candidates), SPARE * self.view.trials)
                )
            ]
        points = np.array([list(map(c.__getitem__, space)) for c in chosen])
        order = np.argmin(
            np.abs(self.candidates[None] - points[:, None]).sum(axis=2), axis=1
        )
        self._scores += len(order)
        self._scores[order[::-1]] = np.arange(len(order))[::-1]

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        if not self.n_experiments:
            return "no cheap experiment to transfer from: the middle of the window comes first"
        best = describe(
            self.view.space.decode(
                self.candidates[int(np.argmin(self._scores))]
            )
        )
        return (
            f"{best} has the lowest mean rank over {self.n_experiments} experiments, "
            "completed by boosted trees"
        )


class Quantile(RankingPolicy):
    """Thompson samples of one model of normal quantiles over all cheap experiments, as
    the library draws them, one for each trial.
    """

    policy_id = "syne-quantile"

    def prepare(self) -> None:
        self._seed = int(self.rng.integers(2**31))
        usable = [e for e in self.view.evidence if len(e.loss) >= 2]
        self.n_rows = sum(len(e.loss) for e in usable)
        self._mean = None
        if self.n_rows < MIN_ROWS:
            return
        space = _space(len(self.view.space))
        evidence = {
            e.experiment_id: _evaluations(space, e.points, e.loss)
            for e in usable
        }
        with redirect_stdout(
            io.StringIO()
        ):  # the library prints how long it took
            pipeline, _, self._sd = quantile_based_searcher.fit_model(
                space,
                evidence,
                "gaussian",
                max_fit_samples=100_000,
                model=_trees(),
                random_state=np.random.RandomState(self._seed),
            )
        self._mean = np.asarray(
            pipeline.predict(_frame(self.candidates)), dtype=float
        ).ravel()

    def scores(self) -> np.ndarray:
        if self._mean is None:
            return self.from_centre
        return np.random.default_rng([self._seed, len(self.trials)]).normal(
            self._mean, self._sd
        )

    def explain(self) -> str:
        if self._mean is None:
            return f"fewer than {MIN_ROWS} rows of evidence: the middle of the window comes first"
        return (
            f"a sample of boosted trees on the quantiles of {self.n_rows} rows, whose "
            f"held-out error is {self._sd:.2f} normal units"
        )


def _space(d: int) -> dict[str, object]:
    """The library's space over coordinates; its bounds matter to its own sampling
    alone.
    """
    return {f"x{j:04}": uniform(0.0, 1.0) for j in range(d)}


def _frame(points: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        points, columns=[f"x{j:04}" for j in range(points.shape[1])]
    )


def _evaluations(
    space: dict[str, object], points: np.ndarray, loss: np.ndarray
) -> TransferLearningTaskEvaluations:
    return TransferLearningTaskEvaluations(
        space,
        _frame(points),
        [METRIC],
        np.asarray(loss, dtype=float).reshape(-1, 1, 1, 1),
    )


def _surrogate(space: dict[str, object], points: np.ndarray, loss: np.ndarray):
    return BlackboxSurrogate.make_model_pipeline(space, {}, _trees()).fit(
        _frame(points), loss
    )


def _trees() -> xgboost.XGBRegressor:
    return xgboost.XGBRegressor(n_jobs=1)
