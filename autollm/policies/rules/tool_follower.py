"""The analysis tools' suggestions, taken in their order, without a model: what an agent
that reads the shortlist has to beat.

The tools: the joint moving bowl, the pooled centre (mean of the cheap experiments'
fitted optima, scale ignored), the power law through them, the Gaussian process. The
shortlist holds each tool's first suggestion, then each one's second, and so on; it is
made before the first trial and not changed by trials. Source: pilots of this project
(docs/protocol.md).
"""

from __future__ import annotations

import numpy as np

from autollm.gym.environments.summary import summarize
from autollm.policies.base import RankingPolicy, describe
from autollm.policies.rules.power_law import PowerLaw
from autollm.policies.surrogates.gaussian_process import GaussianProcessPolicy
from autollm.policies.surrogates.moving_bowl import MovingBowl


class MeanOptimum(RankingPolicy):
    """Distance to the mean of the cheap experiments' fitted optima
    (summary.fit_optimum). A tool, not registered as a policy.
    """

    def prepare(self) -> None:
        optima = [b.optimum for b in summarize(self.view).fits]
        self.centre = (
            np.mean(optima, axis=0)
            if optima
            else self.view.space.window.mean(axis=0)
        )

    def scores(self) -> np.ndarray:
        return np.sum((self.candidates - self.centre) ** 2, axis=1)


class ToolFollower(RankingPolicy):
    """Attribute after reset: `firsts`, tool -> its first suggestion as an index of the
    candidates.
    """

    policy_id = "tool-follower"

    def prepare(self) -> None:
        tools = {
            "bowl": MovingBowl(),
            "pooled centre": MeanOptimum(),
            "power law": PowerLaw(),
            "GP": GaussianProcessPolicy(),
        }
        places = np.empty((len(tools), len(self.candidates)))
        for i, tool in enumerate(tools.values()):
            tool.reset(
                self.view, np.random.default_rng(self.rng.integers(2**63))
            )
            places[i, np.argsort(tool.scores(), kind="stable")] = np.arange(
                len(self.candidates)
            )
        self.firsts = {
            name: int(np.argmin(place))
            for name, place in zip(tools, places, strict=True)
        }
        self._scores = np.min(
            places * len(tools) + np.arange(len(tools))[:, None], axis=0
        )

    def scores(self) -> np.ndarray:
        return self._scores

    def explain(self) -> str:
        names = "; ".join(
            f"{name}: {describe(self.view.space.decode(self.candidates[i]))}"
            for name, i in self.firsts.items()
        )
        return f"first suggestions of the tools, taken in this order: {names}"
