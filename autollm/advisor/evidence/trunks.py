"""Experiments that are not independent: annealings of one trunk share all that happened
before they parted, so that they are left out, or kept, together.

Invariant: experiments without a trunk stand alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autollm.advisor.evidence.evidence import Evidence


def clusters_of(evidence: Evidence, levels: Sequence[int]) -> np.ndarray:
    """A number an experiment of `levels` (dense ids), equal for those that share a
    trunk, directly or by others, int [n].
    """
    clusters = np.arange(len(levels))
    first: dict[str, int] = {}
    for number, e in enumerate(levels):
        name = evidence.table.experiments[e].experiment_id
        for run in evidence.experiment_runs.get(name, []):
            trunk = run.get("trunk_id")
            if trunk:
                other = clusters[first.setdefault(trunk, number)]
                clusters[clusters == clusters[number]] = other
    return clusters
