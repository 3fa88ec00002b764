"""What a run would cost, in the units that the logs have.

Invariant: where the logs say no FLOPs, compute orders experiments and is shown nowhere.
"""

from __future__ import annotations

import numpy as np

from autollm.advisor.asking.question import compute_at
from autollm.advisor.deciding.study import Study


def cost_at(study: Study, z: np.ndarray, level: int) -> dict[str, float | None]:
    """Cost of a run at z: that of the level, times what its compute differs."""
    table = study.question.table
    experiments = [table.experiments[e] for e in study.question.levels]
    flops = compute_at(experiments, z)
    here = experiments[level].compute_flops
    hours = table.column("cost_device_hours", study.question.levels[level])
    known = hours[np.isfinite(hours)]
    if flops is None or not len(known):
        return {"flops": flops, "device_hours": None}
    return {
        "flops": flops,
        "device_hours": float(np.median(known)) * flops / here,
    }


def shown_cost(
    study: Study, cost: dict[str, float | None]
) -> dict[str, float | None]:
    """A cost without the FLOPs that the logs do not say."""
    if study.evidence.has_flops:
        return cost
    return cost | {"flops": None}
