"""A study of a known policy: what a configuration loses is a formula, so that what is
told of it can be computed by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from autollm.advisor.asking.native import names_of
from autollm.advisor.deciding.decide import choose
from autollm.advisor.deciding.study import Noise
from autollm.advisor.statistics.forecast import Forecast
from autollm.advisor.statistics.loss_law import LossLaw
from autollm.advisor.statistics.regret_error import RegretError
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space


class KnownPolicy:
    """u of points [n, d] is the formula's, in every draw the same beside a shift."""

    policy_id = "known"

    def __init__(
        self,
        formula: Callable[[np.ndarray], np.ndarray],
        shifts: Iterable[float] = (0.0,),
    ):
        self._formula = formula
        self._shifts = np.array(list(shifts))
        self.gaps = ()
        self.weights = np.full(len(self._shifts), 1 / len(self._shifts))

    def sampled(self, points: np.ndarray) -> np.ndarray:
        return self._formula(points)[None] + self._shifts[:, None]


def law_of(
    mean: float = 2.0, floor: float = 1.5, slope: float = -0.05, sd: float = 0.1
) -> LossLaw:
    """A law of loss with these figures at the target; its forecast is nearly normal."""
    return LossLaw(
        "power",
        {"E": floor, "A": mean - floor, "exponent_params": 0.3},
        Forecast(mean, sd, 1e6),
        {},
        slope,
        0.0,
        5,
    )


def study_of(
    knobs: Iterable[Knob],
    formula: Callable[[np.ndarray], np.ndarray],
    *,
    spread: float = 0.4,
    law: LossLaw | None = None,
    shifts: Iterable[float] = (0.0,),
    keeps: Callable[[np.ndarray], np.ndarray] | None = None,
    columns: Mapping[str, str] | None = None,
    runs: Iterable[Mapping[str, Any]] = (),
    **more: Any,
) -> Any:
    """What worth.py and check.py read of a study."""
    space = Space(tuple(knobs))

    # what is expected is all but certain, and the best candidate loses nothing
    known = {
        "regret_error": RegretError(1e-9, 1e-9, 5.0, 0),
        "lowest_expected": 0.0,
        "lost_to_constraints": 0.0,
        "has_choice": True,
        "worst_seen": np.inf,
        "ends": (),
        "ends_by_name": {},
        "is_unseen": lambda knob: False,
    }

    def all_kept(points: np.ndarray) -> np.ndarray:
        return np.ones(len(points), dtype=bool)

    policy = KnownPolicy(formula, shifts)

    def proposed(k: int) -> Any:
        view = found.question.view
        risk = found.divergence.probability(view.candidates, found.optimum)
        return choose(policy, view, k, risk)

    found = SimpleNamespace(
        chosen=proposed,
        sampled=policy.sampled,
        question=SimpleNamespace(space=space, keeps=keeps or all_kept),
        policy=policy,
        names=names_of(space, columns or {}, runs),
        spread=spread,
        loss_law=law,
        noise=Noise(None, "none"),
        sign=1.0,
        **(known | more),
    )
    return found
