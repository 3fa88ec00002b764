"""BOHB in its asynchronous form: ASHA whose new candidates come from a tree-structured
Parzen estimator over what the rungs gave.

The estimator is Optuna's, on the highest rung that has enough outcomes; one candidate
in three is random, as published. Where nothing is charged and no run can be paused this
is `asha`.

Sources: S. Falkner, A. Klein, F. Hutter, "BOHB: robust and efficient hyperparameter
optimization at scale" (ICML 2018); A. Klein et al., "Model-based asynchronous
hyperparameter and neural architecture search" (2020).
"""

from __future__ import annotations

import numpy as np
import optuna

from autollm.policies.multifidelity.climbing import Rung
from autollm.policies.multifidelity.halving import Asha
from autollm.policies.peers.optuna_samplers import finished, study_of, suggest

RANDOM_SHARE = 1 / 3


class Bohb(Asha):
    """A rung is modelled from d + 2 outcomes on, d coordinates of the space: one good
    row and d + 1 others.
    """

    policy_id = "bohb"

    def plan(self) -> None:
        self._seed = int(self.rng.integers(2**31))

    def fresh(self, r: int, running: list[set[int]]) -> int | None:
        known = self._known()
        begun = sum(len(rung.losses) for rung in self.ladder) + sum(
            map(len, running)
        )
        stream = np.random.default_rng([self._seed, begun])
        if known is None or stream.random() < RANDOM_SHARE:
            return super().fresh(r, running)
        study = study_of(
            optuna.samplers.TPESampler(
                seed=int(stream.integers(2**31)), n_startup_trials=0
            )
        )
        worst = max(
            (loss for loss in known.losses.values() if np.isfinite(loss)),
            default=0.0,
        )
        study.add_trials(
            finished(
                self.view.space,
                (
                    (known.points[c], min(loss, worst))
                    for c, loss in known.losses.items()
                ),
            )
        )
        away = np.sum(
            (self.ladder[r].candidates - suggest(study, self.view.space)) ** 2,
            axis=1,
        )
        return self.first_new(
            r, running, np.argsort(away, kind="stable").tolist()
        )

    def _known(self) -> Rung | None:
        """The highest rung with outcomes enough."""
        return next(
            (
                rung
                for rung in reversed(self.ladder)
                if len(rung.losses) >= len(self.view.space) + 2
            ),
            None,
        )

    def explain(self) -> str:
        known = self._known() if self.climbs else None
        if known is None:
            return super().explain()
        return (
            f"{super().explain()}; new candidates are likely among the good ones of "
            f"{known.experiment or 'the target'} ({len(known.losses)} runs)"
        )
