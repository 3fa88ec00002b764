"""How far apart losses lie at the target, guessed from the evidence: the unit in which
trials are compared.

Policies model u, the squashed loss (squashing.squash). Of the target neither minimum
nor median is known, so its outcomes are counted from the first one, in units of the
expected spread.
"""

from __future__ import annotations

import numpy as np

from autollm.core.spaces.distances import nearest
from autollm.gym.tables.squashing import log_above_one, squash
from autollm.gym.tasks.view import TaskView
from autollm.policies.surrogates.bowl_rows import FEW_ROWS

RIDGE = 4.0
"""On the slopes of log spread, in squared octaves of fidelity: two close sizes say
little about a far one.
"""


def expected_spread(view: TaskView) -> float:
    """Expected median - min at the target, in the objective's unit: a regularised line
    in log2 fidelity through the experiments that have FEW_ROWS rows (through all of
    them if none has).

    1.0 where no evidence has any spread.
    """
    spreads = np.array(
        [np.median(e.loss) - np.min(e.loss) for e in view.evidence]
    )
    sizes = np.array([len(e.loss) for e in view.evidence])
    known = spreads > 0
    if (known & (sizes >= FEW_ROWS)).any():
        known &= sizes >= FEW_ROWS
    if not known.any():
        return 1.0
    y = np.log(spreads[known])
    z = np.array([e.z - view.target_z for e in view.evidence])[known]
    x = z - z.mean(axis=0)
    slope = np.linalg.solve(
        x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (y - y.mean())
    )
    return float(
        np.exp(
            np.clip(y.mean() - z.mean(axis=0) @ slope, y.min() - 1, y.max() + 1)
        )
    )


def first_u(view: TaskView, point: np.ndarray) -> float:
    """What the target's first outcome counts as: u of the row nearest to `point` [d] in
    the most expensive experiment; 0 without evidence.
    """
    if not view.evidence:
        return 0.0
    most_expensive = view.evidence[-1]
    return float(
        squash(most_expensive.loss)[nearest(most_expensive.points, point)[0]]
    )


def u_from_first(losses: np.ndarray, first: float, spread: float) -> np.ndarray:
    """u of the target's outcomes [k] in the order of the trials, the first one being
    `first`; `spread` in the objective's unit.
    """
    return log_above_one(first + (losses - losses[:1]) / spread)
