"""How far a target lies from the evidence: in octaves of compute, and in standard
deviations of its levels along their main axis and across it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autollm.advisor.asking.question import Question


@dataclass(frozen=True)
class Distance:
    """Of the target from the levels, along their main axis and across it, in standard
    deviations of the levels; None where they do not differ.
    """

    along: float | None
    across: float | None


def octaves_of(question: Question, z: np.ndarray) -> np.ndarray:
    """log2 compute of the levels relative to the target [n]; where compute at the
    target is not known, the sum of log2 coordinates.
    """
    experiments = [question.table.experiments[e] for e in question.levels]
    if question.compute_flops is None:
        return (z - question.target_z).sum(axis=1)
    flops = np.array([e.compute_flops for e in experiments])
    return np.log2(flops / question.compute_flops)


def distance_of(z: np.ndarray, target_z: np.ndarray) -> Distance:
    """Leverage: the target in standard deviations of the levels along their first
    principal axis, and across it (the rest, in the same unit where the levels do not
    spread there, so that leaving a ray counts).
    """
    offset = target_z - z.mean(axis=0)
    if len(z) < 2 or not np.ptp(z, axis=0).any():
        return Distance(None, None)
    _, values, axes = np.linalg.svd(z - z.mean(axis=0), full_matrices=True)
    sd = np.zeros(len(target_z))
    sd[: len(values)] = values / np.sqrt(len(z))
    turned = axes @ offset
    across_sd = np.maximum(sd[1:], 0.25 * sd[0])
    across = (
        float(np.linalg.norm(turned[1:] / across_sd)) if len(sd) > 1 else 0.0
    )
    return Distance(float(abs(turned[0]) / sd[0]), across)
