"""A forecast of a loss and its interval."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import t as student

END_SD = 1.645
"""Standard deviations to an end of a 90 % interval."""


@dataclass(frozen=True)
class Forecast:
    """A loss with its interval's parts: mean, sd, degrees of freedom, and what it is at
    most: more parameters and more data reach no more than cheaper runs did.
    """

    mean: float
    sd: float
    df: float
    most: float = float("inf")

    def interval(
        self,
        level: float = 0.9,
    ) -> tuple[float, float]:
        half = float(student.ppf(0.5 + level / 2, self.df)) * self.sd
        return self.mean - half, min(
            self.mean + half, max(self.most, self.mean)
        )
