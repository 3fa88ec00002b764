"""What the assets ask to be judged, from the job's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autollm.core.places import Places
from autollm.stages.settings import Settings

if TYPE_CHECKING:
    from autollm.stages.evaluation_request import EvaluationRequest

VALIDATION_POLICIES = ("copy-nearest", "pool-centre", "moving-bowl")


def request_of(
    places: Places, settings: Settings, split: str
) -> EvaluationRequest:
    """The evaluation of a split. On validation the agents and the gate's baselines
    play, on test the agents and all policies of the settings.
    """
    from autollm.stages.agents import config_of, current_agents
    from autollm.stages.evaluation_request import EvaluationRequest

    test = split == "test"
    return EvaluationRequest(
        suites=tuple(settings.test_suites if test else settings.train_suites),
        policies=tuple(settings.policies if test else VALIDATION_POLICIES),
        agents=tuple(current_agents(places, settings)),
        n_seeds=settings.n_seeds if test else settings.n_validation_seeds,
        config=config_of(settings),
        split="test" if test else "validation",
        setting=settings.setting,
        target_rows=settings.target_rows,
        jobs=settings.jobs,
        skip_missing=True,
    )
