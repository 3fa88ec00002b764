"""How far apart losses lie at the target, guessed from the evidence: the unit in which trials are compared."""

from __future__ import annotations

import numpy as np

from autollm.gym.task import TaskView

RIDGE = 4.0
"""On the slopes of log spread, in squared octaves of fidelity: two close sizes say little about a far one."""


def expected_spread(view: TaskView) -> float:
    """median - min at the target, objective's unit: a ridged line in log2 fidelity through those of the evidence.

    1.0 where no evidence has any spread.
    """
    spreads = np.array([np.median(e.loss) - np.min(e.loss) for e in view.evidence])
    known = spreads > 0
    if not known.any():
        return 1.0
    y = np.log(spreads[known])
    z = np.array([e.z - view.target_z for e in view.evidence])[known]
    x = z - z.mean(axis=0)
    slope = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (y - y.mean()))
    return float(np.exp(np.clip(y.mean() - z.mean(axis=0) @ slope, y.min() - 1, y.max() + 1)))
