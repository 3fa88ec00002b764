"""The published Step Law: lr = 1.79 N^-0.713 D^0.307, batch = 0.58 D^0.571 tokens; the
candidates nearest to it. Evidence is ignored.

N: non-embedding parameters, D: training tokens. It was fitted on the very rows of the
Step Law tables, so on those suites it shows what a law with knowledge of the target can
do, not what transfer can. Source: H. Li et al., "Predictable scale: Part I, Step Law"
(arXiv 2503.04715), dense models.

It abstains, with a SpaceError, from tasks that lack what it needs: a learning rate, a
batch size in tokens, params and tokens.
"""

from __future__ import annotations

import math

import numpy as np

from autollm.core.errors import SpaceError
from autollm.gym.tasks.view import TaskView
from autollm.policies.base import RankingPolicy, describe


def step_law(params: float, tokens: float) -> tuple[float, float]:
    """Learning rate, and batch size in tokens, for N parameters and D tokens."""
    return 1.79 * params**-0.713 * tokens**0.307, 0.58 * tokens**0.571


class StepLaw(RankingPolicy):
    """Attribute after reset: `centre` float64 [d], natural units; knobs that the law
    does not name rest in the middle of the window.
    """

    policy_id = "step-law"

    def prepare(self) -> None:
        rate = _knob(self.view, "rate")
        size = _knob(self.view, "size")
        fidelity = self.view.target_fidelity
        if not {"params", "tokens"} <= set(fidelity):
            raise SpaceError(
                "the Step Law needs the fidelities params and tokens; "
                f"{self.view.task_id} has {', '.join(fidelity)}. "
                "Fix: leave policy 'step-law' out."
            )
        self.centre = self.view.space.window.mean(axis=0)
        for knob, value in zip(
            (rate, size),
            step_law(fidelity["params"], fidelity["tokens"]),
            strict=True,
        ):
            self.centre[knob] = math.log2(value)
        self.centre = np.clip(self.centre, *self.view.space.window)
        self._scores = np.sum((self.candidates - self.centre) ** 2, axis=1)

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        return f"the published Step Law says {describe(self.view.space.decode(self.centre))}"


def _knob(view: TaskView, role: str) -> int:
    """Which coordinate is the only log knob of a role, a size counted in tokens.

    Raises:
        SpaceError: there is none, there are several, or other knobs are no numbers.
    """
    knobs = view.space.knobs
    numbers = [
        i
        for i, k in enumerate(knobs)
        if k.role == role
        and k.scale == "log"
        and (role == "rate" or k.unit == "tokens")
    ]
    if len(numbers) == 1 and len(knobs) == len(view.space):
        return numbers[0]
    roles = ", ".join(
        f"{k.name} ({k.role or 'no role'}{', ' + k.unit if k.unit else ''})"
        for k in knobs
    )
    wanted = (
        "learning rate (role 'rate')"
        if role == "rate"
        else "batch size in tokens (role 'size', unit 'tokens')"
    )
    raise SpaceError(
        f"the Step Law needs exactly one {wanted} on a log scale, and no mixtures or "
        f"categories beside it; {view.task_id} has "
        f"{roles}. Fix: leave policy 'step-law' out."
    )
