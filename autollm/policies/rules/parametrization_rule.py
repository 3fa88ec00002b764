"""Transfer as the parametrization of the runs says: where the best of the most expensive
cheap experiment moves to, without a slope that was fitted.

| parametrization           | a learning rate (role `rate`) | a batch size (role `size`) |
|---------------------------|-------------------------------|----------------------------|
| standard, or not declared | falls with params^-0.5        | grows with tokens^0.5      |
| muP, CompleteP            | stays                         | grows with tokens^0.5      |

Standard parametrization: with Adam the best rate falls as the inverse of the width, and
params grow with its square. muP and CompleteP scale the rate of each layer inside the
model, so that the base rate stays; neither says anything of batches. Everything that has
no role stays. Sources: G. Yang et al., "Tensor Programs V" (arXiv 2203.03466), table 3;
N. Dey et al., "CompleteP" (arXiv 2505.01618); batches: H. Zhang et al., "How does
critical batch size scale in pre-training?" (arXiv 2410.21676), which fits D^0.47 and
finds no part of the model's size in it.

The view's `context` declares the parametrization.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autollm.core.spaces.knobs import Knob
from autollm.gym.environments.summary import FittedOptimum, fit_optimum
from autollm.gym.tasks.view import EvidenceTable
from autollm.policies.base import RankingPolicy, describe
from autollm.policies.rules.loss_around import LossAround, fit_loss_around

RATE_BY_PARAMS = -0.5
BATCH_BY_TOKENS = 0.5
STAYS = ("mup", "completep")
"""Parametrizations under which the best rate does not move with size, spelt without
punctuation."""
MUP_SPELLINGS = {"μp": "mup", "µp": "mup", "maximalupdate": "mup"}


class ParametrizationRule(RankingPolicy):
    """Attributes after reset: `origin`, the fitted optimum of the most expensive cheap
    experiment (None without evidence); `slopes` [d, f], octaves per octave of fidelity;
    `centre` float64 [d], natural units.
    """

    policy_id = "parametrization-rule"

    def prepare(self) -> None:
        view = self.view
        self.parametrization = parametrization_of(view.context)
        self.slopes = self._slopes()
        self.origin: FittedOptimum | None = None
        self.centre = view.space.window.mean(axis=0)
        self.loss_around: LossAround | None = None
        if view.evidence:
            fits = [fit_optimum(e.points, e.loss) for e in view.evidence]
            self.origin = fits[-1]
            self.centre = self._moved(self.origin.optimum, view.evidence[-1])
            optima = np.array([fit.optimum for fit in fits])
            self.loss_around = fit_loss_around(
                view, optima, self._misses(optima)
            )
        self._scores = np.sum((self.candidates - self.centre) ** 2, axis=1)

    def scores(self) -> np.ndarray:
        return self._scores

    def predict(
        self, configurations: Sequence[Mapping[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd [n] of u (0 is the target's best, 1 its median); NaN without
        evidence.
        """
        if self.loss_around is None:
            nothing = np.full(len(configurations), np.nan)
            return nothing, nothing
        points = np.array([self.view.space.encode(c) for c in configurations])
        return self.loss_around.predict(points - self.centre)

    def explain(self) -> str:
        if self.origin is None:
            return "no cheap experiment to transfer from: the middle of the window comes first"
        space = self.view.space
        moves = []
        for knob, row in zip(space.knobs, self._slopes_by_knob(), strict=True):
            for fidelity, slope in zip(
                self.view.fidelity_names, row, strict=True
            ):
                if slope:
                    moves.append(f"{knob.name} as {fidelity}^{slope:+g}")
        return (
            f"under {self.parametrization or 'standard'} parametrization "
            f"{' and '.join(moves) if moves else 'nothing'} moves: from "
            f"{describe(space.decode(self.origin.optimum))} to "
            f"{describe(space.decode(self.centre))}"
        )

    def _slopes(self) -> np.ndarray:
        """Octaves of each coordinate per octave of each fidelity, [d, f]."""
        view = self.view
        slopes = np.zeros((len(view.space), len(view.fidelity_names)))
        for knob in view.space.knobs:
            name, slope = self._slope(knob)
            if name in view.fidelity_names and knob.scale == "log":
                j = view.space.slices[knob.name].start
                slopes[j, view.fidelity_names.index(name)] = slope
        return slopes

    def _slope(self, knob: Knob) -> tuple[str, float]:
        """The fidelity that a knob follows, and its exponent; ("", 0): none."""
        if knob.role == "rate" and self.parametrization not in STAYS:
            return "params", RATE_BY_PARAMS
        if knob.role == "size":
            return "tokens", BATCH_BY_TOKENS
        return "", 0.0

    def _slopes_by_knob(self) -> list[np.ndarray]:
        starts = [where.start for where in self.view.space.slices.values()]
        return [self.slopes[start] for start in starts]

    def _moved(
        self, optimum: np.ndarray, experiment: EvidenceTable
    ) -> np.ndarray:
        """Where an experiment's optimum [d] stands at the target, inside the window."""
        octaves = self.view.target_z - experiment.z
        return np.clip(optimum + self.slopes @ octaves, *self.view.space.window)

    def _misses(self, optima: np.ndarray) -> np.ndarray:
        """How far the rule missed each experiment's optimum, from that of the one just
        cheaper, [n - 1, d].
        """
        evidence = self.view.evidence
        misses = []
        for i in range(1, len(evidence)):
            octaves = evidence[i].z - evidence[i - 1].z
            misses.append(optima[i] - optima[i - 1] - self.slopes @ octaves)
        return np.array(misses).reshape(-1, optima.shape[1])


def parametrization_of(context: Mapping[str, Any]) -> str:
    """The declared parametrization in small letters without punctuation: `mup`,
    `completep`; empty where none is declared.
    """
    for name, value in context.items():
        if name.lower() == "parametrization":
            word = "".join(c for c in str(value).lower() if c.isalnum())
            return MUP_SPELLINGS.get(word, word)
    return ""
