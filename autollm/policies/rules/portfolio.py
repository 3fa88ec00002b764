"""A portfolio: configurations that together were good on all cheap experiments.

Candidates are ranked within every experiment (0 best, 1 worst; `interpolate` where it holds
no such row). The first has the lowest mean rank; each next one lowers the mean over
experiments of the portfolio's best rank most. Scale is ignored: a portfolio transfers
what is good everywhere, not how the optimum moves. Sources: M. Wistuba, N. Schilling,
L. Schmidt-Thieme, "Sequential model-free hyperparameter tuning" (ICDM 2015); greedy
portfolios as in M. Feurer et al., "Auto-sklearn 2.0" (JMLR 2022).
"""

from __future__ import annotations

import numpy as np

from autollm.policies.base import RankingPolicy, describe
from autollm.policies.interpolation import interpolate

SPARE = 3
"""The portfolio has this many times as many members as there are trials, for those that
turn out to be spent.
"""


class Portfolio(RankingPolicy):
    """Attribute after reset: `ranks` float64 [n_experiments, n_candidates]."""

    policy_id = "portfolio"

    def prepare(self) -> None:
        self.ranks = np.array(
            [
                ranks_of(interpolate(self.candidates, e.points, e.loss))
                for e in self.view.evidence
            ]
        )
        if not len(self.ranks):
            self._scores = self.from_centre
            return
        members = self._grown(
            min(SPARE * self.view.trials, len(self.candidates))
        )
        self._scores = len(members) + self.ranks.mean(axis=0)
        self._scores[members] = np.arange(len(members))

    def _grown(self, size: int) -> list[int]:
        """Members in the order in which they join; where nobody improves the portfolio,
        the lowest mean rank joins.
        """
        mean = self.ranks.mean(axis=0)
        best = np.ones(len(self.ranks))
        members = []
        for _ in range(size):
            gain = np.minimum(self.ranks, best[:, None]).mean(axis=0)
            gain[members] = np.inf
            best_gain = np.flatnonzero(gain <= gain.min() + 1e-12)
            members.append(int(best_gain[np.argmin(mean[best_gain])]))
            best = np.minimum(best, self.ranks[:, members[-1]])
        return members

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        if not len(self.ranks):
            return (
                "no cheap experiment to build a portfolio from: the middle of the window "
                "comes first"
            )
        first = int(np.argmin(self._scores))
        return (
            f"{describe(self.view.space.decode(self.candidates[first]))} has the best "
            f"mean rank over {len(self.ranks)} experiments, "
            f"better than {1 - self.ranks[:, first].mean():.0%} of the candidates"
        )


def ranks_of(values: np.ndarray) -> np.ndarray:
    """Ranks [n] from 0 (lowest) to 1 (highest); equal values share their mean rank."""
    _, inverse, count = np.unique(
        values, return_inverse=True, return_counts=True
    )
    last = np.cumsum(count)
    return ((last - count + last - 1) / 2 / max(len(values) - 1, 1))[inverse]
