"""Is a difference real? Against the noise of repeated runs in the same logs.

Two-sided t test of a difference of two means, the variance pooled over all
configurations that were run more than once; runs needed by the usual formula for 5 %
error and 80 % power. Source: W. Cochran, G. Cox, "Experimental designs" (1957), 2.21.
Invariant: without repeats nothing is said but that.
"""

from __future__ import annotations

from math import ceil, inf, sqrt
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from autollm.advisor.evidence.evidence import Evidence

ERROR, POWER = 0.05, 0.8
"""What nearly all of the experimental literature takes."""
MOST_RUNS = 1e9
"""Of more runs than this nobody needs the number: there is none."""


class NoiseTest(NamedTuple):
    """`p_value`: probability of such a difference from noise alone. `runs_needed`: of
    each configuration, to tell it with POWER. None where `because` says why.
    """

    real: bool | None
    p_value: float | None
    noise_sd: float | None
    degrees: int
    runs_needed: int | None
    smallest_seen: float | None
    because: str


def noise_test(
    evidence: Evidence, difference: float, runs_each: int = 1
) -> NoiseTest:
    """Whether a difference of mean outcomes, each over `runs_each` runs, is more than
    noise.
    """
    sd, degrees = pooled_noise(evidence)
    if sd is None or not np.isfinite(difference):
        because = "no configuration was run twice: nothing tells how much runs scatter"
        if sd is not None:
            because = "the difference is no number"
        return NoiseTest(None, None, sd, degrees, None, None, because)
    error = sd * sqrt(2 / runs_each)
    if error == 0:
        p_value = float(difference == 0)
    else:
        p_value = float(2 * t.sf(abs(difference) / error, degrees))
    effort = float(norm.isf(ERROR / 2) + norm.ppf(POWER))
    smallest = float(t.isf(ERROR / 2, degrees)) * error
    needed = None
    times_sd = abs(difference) / (effort * sd) if sd else inf
    if difference and 2 / times_sd < sqrt(MOST_RUNS):
        needed = max(1, ceil(2 / times_sd**2))
    told = "more than" if p_value < ERROR else "not told from"
    because = f"it is {told} the noise of {degrees} repeats, sd {sd:.3g}"
    return NoiseTest(
        p_value < ERROR, p_value, sd, degrees, needed, smallest, because
    )


def pooled_noise(evidence: Evidence) -> tuple[float | None, int]:
    """Standard deviation of one run and its degrees of freedom, over all configurations
    of one experiment with more than one finished run; None and 0 without any. Runs of
    one trunk share what happened before they parted: they count once, by their mean.
    """
    trunks: dict[tuple[str, str, str | int], list[float]] = {}
    for number, run in enumerate(evidence.runs):
        value = run["objective_value"]
        if (
            run["status"] == "finished"
            and value is not None
            and np.isfinite(value)
        ):
            trunk = run.get("trunk_id") or number
            key = run["experiment_id"], run["config_id"], trunk
            trunks.setdefault(key, []).append(value)
    cells: dict[tuple[str, str], list[float]] = {}
    for (experiment, config, _), values in trunks.items():
        cells.setdefault((experiment, config), []).append(np.mean(values))
    squares = 0.0
    degrees = 0
    for values in cells.values():
        squares += float(np.sum((np.array(values) - np.mean(values)) ** 2))
        degrees += len(values) - 1
    return (sqrt(squares / degrees), degrees) if degrees else (None, 0)
