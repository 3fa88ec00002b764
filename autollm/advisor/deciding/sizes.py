"""Sizes that a person can build: a model of 31.3M parameters need not exist, data of any
amount does.

Invariant: a size is one of the evidence where one lies near, else it is called about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from autollm.advisor.deciding.study import Study
from autollm.advisor.statistics.parametrization import DATA

NEAR = 1.5
"""Factor within which a size of the evidence stands for another: well below the factor
of two between sizes of a common ladder."""


def is_data(coordinate: str) -> bool:
    """Whether a coordinate says how long a run is, which can be any number."""
    return any(word in coordinate.lower() for word in DATA)


def buildable(
    study: Study, fidelity: Mapping[str, float]
) -> tuple[dict[str, float], tuple[str, ...]]:
    """The nearest fidelity that can be run, and the coordinates that are to be met about
    alone, since no run has such a size.
    """
    experiments = study.evidence.table.experiments
    found = {}
    about = []
    for name, value in fidelity.items():
        known = {e.fidelity[name] for e in experiments}
        known.add(study.question.fidelity[name])
        nearest = min(known, key=lambda size: abs(math.log(size / value)))
        away = abs(math.log(nearest / value))
        if away < 1e-6 or (away <= math.log(NEAR) and not is_data(name)):
            found[name] = nearest
        elif is_data(name):
            found[name] = float(f"{value:.3g}")
        else:
            found[name] = float(f"{value:.2g}")
            about.append(name)
    return found, tuple(about)
