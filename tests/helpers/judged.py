"""Judged episodes with given scores, without playing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from autollm.evaluation.protocol import EpisodeResult, play
from autollm.policies.registry import make_policy
from tests.unit.gym.tables import make_table, make_task


@cache
def played() -> EpisodeResult:
    """A real one, of five trials, whose fields the others take over."""
    table = make_table(noise=0.02)
    return play(make_policy("random"), make_task(table, trials=5), table, 0)


def judged(
    policy: str,
    regret: Sequence[Sequence[float]] | np.ndarray,
    suite: str = "toy-v1",
    **changes: Any,
) -> list[EpisodeResult]:
    """Episodes of a policy with given regrets [tasks, seeds] (NaN: not played) at every
    k; task i has the target `t<i>`.
    """
    out = []
    for i, row in enumerate(regret):
        for seed, value in enumerate(row):
            if np.isnan(value):
                continue
            fields = {
                "policy": policy,
                "suite": suite,
                "task_id": f"{suite}/{i}",
                "task_digest": f"{suite}/{i}",
                "target": f"t{i}",
                "seed": seed,
                "regret": [float(value)] * 5,
                "latent_regret": [float(value) / 2] * 5,
            }
            out.append(replace(played(), **{**fields, **changes}))
    return out
