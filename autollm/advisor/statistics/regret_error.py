"""How far a configuration's regret may lie from what the policy expects of it.

    regret = expected + | e |, at most 1     e ~ sd(gap) * Student t(df)
    sd(gap) = sd * (1 + GROWTH * octaves of compute between evidence and target)

What the policy's draws leave open is the least of it: that its form is wrong, or that
the optimum moves otherwise beyond the evidence, shows only on experiments that it had
not seen. So e is learnt from the picks of backtests, one error an experiment. Histories
differ much in how well they extrapolate and have few backtests: the variance of a
history has an inverse gamma prior from the library's hidden experiments (PRIOR_DF of
PRIOR_SD), which own errors update; its predictive distribution is a Student t. Source:
A. Gelman et al., "Bayesian data analysis" (2013), 3.2.

Invariant: intervals never narrow as the target moves away, and are never narrower than
one run's noise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import t as student

from autollm.advisor.answer import Interval

LEVEL = 0.9
PRIOR_SD, PRIOR_DF, GROWTH = 0.1, 1.9, 0.35
"""u, experiments, and per octave: of highest likelihood on hidden experiments of seven
sources (`python -m research.regret_errors`)."""
CAUTION = 2.0
"""By which the prior's sd is larger in intervals: the smallest factor (of 1, 1.25, 1.5, 2
...) with which 90 % intervals held 90 % on sources that were left out."""
N_QUANTILES = 64
"""Of t, that a mean is taken over: their number moves it by less than .01."""


@dataclass(frozen=True)
class RegretError:
    """At one target. sd: of e, likely; cautious_sd: of its intervals; df: degrees of
    freedom; n_own: errors of own backtests in them.
    """

    sd: float
    cautious_sd: float
    df: float
    n_own: int

    @property
    def half_width(self) -> float:
        """Of the interval around what is expected."""
        return self.cautious_sd * float(student.ppf(0.5 + LEVEL / 2, self.df))

    @cached_property
    def miss(self) -> float:
        """What the best candidate is expected to lose, u: nobody knows on which side of
        it the optimum lies, so that every configuration loses it beside its own.
        """
        shares = (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
        errors = self.sd * np.abs(student.ppf(shares, self.df))
        return float(np.mean(np.minimum(errors, 1.0)))

    def regret(self, expected: float) -> Interval:
        """Of a configuration that is expected to lose `expected` more than the best
        candidate, u.
        """
        mean = min(expected + self.miss, 1.0)
        low = min(max(expected - self.half_width, 0.0), mean)
        high = min(expected + self.half_width, 1.0)
        return Interval(mean, low, max(high, mean), LEVEL)


def regret_error(
    own: Iterable[tuple[float, float]], octaves: float, noise: float = 0.0
) -> RegretError:
    """From own backtests, (regret, octaves of compute to its evidence) of each pick, for
    a target that lies `octaves` beyond its own. `noise`: sd of one run, u.
    """
    squares = []
    for regret, away in own:
        squares.append((regret / growth(away)) ** 2)
    df = PRIOR_DF + len(squares)

    def sd_of(prior_sd: float) -> float:
        variance = (PRIOR_DF * prior_sd**2 + sum(squares)) / df
        return max(float(np.sqrt(variance)) * growth(octaves), noise)

    return RegretError(
        sd_of(PRIOR_SD), sd_of(CAUTION * PRIOR_SD), df, len(squares)
    )


def growth(octaves: float) -> float:
    """Of the error's sd with the distance in compute; nothing is nearer than 0."""
    return 1 + GROWTH * max(octaves, 0.0)
