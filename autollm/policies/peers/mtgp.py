"""A multi-task Gaussian process (BoTorch): the target and the cheap experiments nearest
to it are tasks with a joint covariance.

A task without an outcome has no covariance to learn, so the first proposal is the
lowest posterior mean of the nearest experiment's task; from the first outcome on, that
of the target's own. Scale is known through nearness only. Source: K. Swersky, J. Snoek,
R. Adams, "Multi-task Bayesian optimization" (NeurIPS 2013); model:
botorch.models.MultiTaskGP.
"""

from __future__ import annotations

import numpy as np

from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.episode import Trial
from autollm.policies.base import RankingPolicy, describe
from autollm.policies.peers.botorch_models import fit_tasks, mean_of, to_unit
from autollm.policies.surrogates.spread import expected_spread, first_u, u_from_first

N_TASKS, N_ROWS = 4, 40
"""Cheap experiments, and rows of each: the cost of a fit grows with the cube of all
rows.
"""
MAX_FITTED_TRIALS = 10
"""Hyper-parameters are fitted anew until there are so many outcomes; more of them
change nothing.
"""


class MultiTaskGPPolicy(RankingPolicy):
    """Attributes after reset: `tasks`, ids of the experiments in the model, nearest
    first; `model`, None without evidence.
    """

    policy_id = "mtgp"

    def prepare(self) -> None:
        view = self.view
        self.spread = expected_spread(view)
        near = sorted(
            view.evidence, key=lambda e: float(np.linalg.norm(e.z - view.target_z))
        )
        near = [e for e in near if np.ptp(e.loss) > 0][:N_TASKS]
        self.tasks = [e.experiment_id for e in near]
        self._seed = int(self.rng.integers(2**31))
        parts = []
        for number, e in enumerate(near):
            rows = np.sort(self.rng.permutation(len(e.loss))[:N_ROWS])
            parts.append(
                (
                    to_unit(e.points[rows], view.space.window),
                    squash(e.loss)[rows],
                    np.full(len(rows), number),
                )
            )
        self._evidence = (
            tuple(map(np.concatenate, zip(*parts, strict=True))) if parts else ()
        )
        self._unit = to_unit(self.candidates, view.space.window)
        self._fit()

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        if self.model is not None and len(self.tried[1]) <= MAX_FITTED_TRIALS:
            self._fit()

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        if self.model is None:
            return "no cheap experiment to learn from: the middle of the window comes first"
        best = int(np.argmin(self._scores))
        return (
            f"a multi-task Gaussian process over {len(self.tasks)} experiments and "
            f"{len(self.tried[1])} outcomes expects "
            f"{self._scores[best]:.2f} of the distance from best to median at "
            f"{describe(self.view.space.decode(self.candidates[best]))}"
        )

    def _fit(self) -> None:
        if not self._evidence or len(self._evidence[1]) < 2:
            self.model, self._scores = None, self.from_centre
            return
        x, u, task = self._evidence
        points, losses = self.tried
        asked_task = 0
        if len(losses):
            asked_task = len(self.tasks)
            told = u_from_first(losses, first_u(self.view, points[0]), self.spread)
            x, u = (
                np.concatenate([x, to_unit(points, self.view.space.window)]),
                np.concatenate([u, told]),
            )
            task = np.concatenate([task, np.full(len(told), asked_task)])
        self.model = fit_tasks(x, u, task, self._seed)
        self._scores = mean_of(
            self.model,
            np.column_stack([self._unit, np.full(len(self._unit), asked_task)]),
        )
