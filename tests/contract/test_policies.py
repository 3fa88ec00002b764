"""The contract of autollm.testing over every registered policy; and what holds for the
registry.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from autollm.core.errors import SetupError, UnknownNameError
from autollm.gym.tasks.episode import start
from autollm.policies.registry import (
    POLICIES,
    availability,
    make_policy,
    policy_version,
    why_absent,
)
from autollm.testing.policies import (
    TABLE,
    NewPolicy,
    PolicyContract,
    begin,
    play,
)
from autollm.testing.tables import make_task

PRESENT = [p for p in sorted(POLICIES) if not why_absent(p)]
ABSENT = [
    pytest.param(p, marks=pytest.mark.skip(reason=why_absent(p)))
    for p in sorted(POLICIES)
    if why_absent(p)
]
SPARING = {"step-law": frozenset({"one-knob", "two-scales"})}
"""Policies that abstain from some of the contract's spaces."""


def maker(policy_id: str) -> NewPolicy:
    return lambda: make_policy(policy_id)


class TestRegistered(PolicyContract):
    @pytest.fixture(params=[*PRESENT, *ABSENT])
    def policy_id(self, request):
        return request.param

    @pytest.fixture
    def new_policy(self, policy_id):
        return maker(policy_id)

    @pytest.fixture
    def refused(self, policy_id):
        return SPARING.get(policy_id, frozenset())

    def test_policy__registered__has_the_id_and_version_of_the_registry(
        self, policy_id, new_policy
    ):
        policy = new_policy()
        named = (policy_id, policy_version(policy_id))
        assert (policy.policy_id, policy.version) == named


def points_of(policy_id: str) -> list[list[float]]:
    """Where a policy's trials of one play lie."""
    episode = start(make_task(TABLE, trials=4), TABLE, 11)
    return [list(trial.point) for trial in play(maker(policy_id), episode)]


def test_policies__other_process_and_hash_seed__propose_the_same() -> None:
    code = (
        "import json\nfrom tests.contract.test_policies import PRESENT, points_of\n"
        "print(json.dumps({p: points_of(p) for p in PRESENT}))"
    )
    answers = []
    for hash_seed in ("1", "2"):
        changes = {"PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | changes,
            capture_output=True,
            text=True,
            check=True,
        )
        answers.append(json.loads(done.stdout))
    here = {policy_id: points_of(policy_id) for policy_id in PRESENT}
    assert answers[0] == answers[1] == here


@pytest.mark.parametrize("policy_id", ["gp", "moving-bowl"])
def test_policy__predict__is_finite_and_lower_near_its_own_choice(
    policy_id: str,
) -> None:
    episode = start(make_task(TABLE), TABLE, 3)
    policy = begin(maker(policy_id), episode)
    chosen, far = (
        policy.ask()[0],
        episode.drawn.view.space.decode(episode.drawn.view.space.grid[-1]),
    )
    mean, sd = policy.predict([chosen, far])
    assert np.isfinite(mean).all() and (sd >= 0).all() and mean[0] < mean[1]


def test_make_policy__unknown_id__suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="copy-nearest"):
        make_policy("copy-nearst")


def test_make_policy__extra_not_installed__names_the_extra(monkeypatch) -> None:
    monkeypatch.setattr(
        "autollm.core.extras.find_spec",
        lambda module: None if module == "syne_tune" else object(),
    )
    with pytest.raises(
        SetupError,
        match=r"'syne-zeroshot' needs syne_tune, not installed here\. Fix: pip install "
        r"'autollm\[baselines\]'",
    ):
        make_policy("syne-zeroshot")
    with pytest.raises(SetupError, match="baselines"):
        policy_version("syne-quantile")
    absent = {p for p, reason in availability().items() if reason}
    assert absent == {"syne-zeroshot", "syne-quantile"}


def test_import__registry__loads_no_heavy_library() -> None:
    heavy = (
        "sklearn",
        "optuna",
        "torch",
        "scipy",
        "botorch",
        "smac",
        "syne_tune",
        "xgboost",
        "pandas",
    )
    code = f"import sys; from autollm.policies.registry import availability; availability(); print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        == "[]"
    )
