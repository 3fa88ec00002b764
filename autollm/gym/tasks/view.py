"""The view of a task that a policy gets: everything that it may know."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from autollm.core.spaces.space import Space
from autollm.gym.tasks.task import Constraint, Setting


@dataclass(frozen=True)
class EvidenceTable:
    """A cheaper experiment as this draw shows it; rows in table order.

    Attributes:
        z: float64 [n_fidelity], log2 of the fidelity coordinates.
        points: float64 [n, n_coordinates], natural units. loss: float64 [n], lower is
            better, finite. diverged: bool [n].
        cost_flops: of one run.
    """

    experiment_id: str
    z: np.ndarray
    points: np.ndarray
    loss: np.ndarray
    diverged: np.ndarray
    cost_flops: float


@dataclass(frozen=True)
class ChargedTable:
    """A cheap experiment that may be run: its place and cost are known, its outcomes
    are not.

    Attributes:
        z: float64 [n_fidelity]. candidates: float64 [n, n_coordinates], as of the
            target. cost: of one run, a run of the target is 1.
    """

    experiment_id: str
    z: np.ndarray
    candidates: np.ndarray
    cost: float


@dataclass(frozen=True)
class TaskView:
    """All that a policy may know. Evidence and charged experiments are sorted by cost,
    the most expensive last.

    `candidates`: float64 [n, n_coordinates]; in `declared` the declared grid (a
    proposal is snapped to the nearest recorded row). Where `lists_rows` (in
    `pool-visible`, of architectures, and wherever the space has no finite grid:
    mixtures, per-layer lists) the target's feasible rows without outcomes.
    """

    task_id: str
    setting: Setting
    family: str
    space: Space
    fidelity_names: tuple[str, ...]
    target_z: np.ndarray
    evidence: tuple[EvidenceTable, ...]
    candidates: np.ndarray
    lists_rows: bool
    trials: int
    objective: str
    direction: str
    target_fidelity: dict[str, float]
    constraints: tuple[Constraint, ...] = ()
    charged: tuple[ChargedTable, ...] = ()
    pausable: bool = False
    context: dict[str, str] = field(default_factory=dict)
    """Settings that the target shares with its evidence (parametrization, optimizer ...),
    as far as they are known.
    """
