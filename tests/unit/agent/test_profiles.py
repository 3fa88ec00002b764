"""Training profiles: typed, closed, and what may be changed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from autollm.agent.profiles import (
    GrpoConfig,
    SftConfig,
    TrainConfig,
    load_profile,
    profile_names,
)
from autollm.core.errors import UnknownNameError


@pytest.mark.parametrize("name", profile_names())
def test_load_profile__every_shipped_one__is_valid_and_names_itself(name):
    found = load_profile(name)
    assert found.profile == name
    assert TrainConfig.model_validate_json(found.model_dump_json()) == found


def test_load_profile__nested_change__keeps_what_it_does_not_name():
    plain = load_profile("tiny")
    found = load_profile("tiny", sft={"steps": 3}, seed=7)
    assert (found.sft.steps, found.seed) == (3, 7)
    assert found.sft.model_copy(update={"steps": plain.sft.steps}) == plain.sft
    assert found.grpo == plain.grpo


@pytest.mark.parametrize(
    "changes",
    [
        {"sft": {"step": 3}},
        {"speed": 3},
        {"sft": {"practice_share": 1.5}},
        {"sft": {"practice_share": -0.1}},
        {"grpo": {"penalty": -1}},
        {"grpo": {"discount": 2}},
        {"grpo": {"first_trial": 0}},
        {"grpo": {"credit": "token"}},
        {"grpo": {"reward": "luck"}},
        {"generation": {"backend": "vllm"}},
        {"device": "tpu"},
        {"sft": 3},
    ],
)
def test_load_profile__unknown_field_or_wrong_value__is_refused(changes):
    with pytest.raises(ValidationError):
        load_profile("tiny", **changes)


@pytest.mark.parametrize("name", ["tinny", "", "TINY", "../tiny"])
def test_load_profile__unknown_name__names_the_known(name):
    with pytest.raises(UnknownNameError, match="tiny"):
        load_profile(name)


@pytest.mark.parametrize(
    "fields",
    [
        {"hold": 0.1, "credit": "play", "kl_weight": 0.1},
        {"hold": 0.1, "credit": "turn", "kl_weight": 0.0},
    ],
)
def test_grpo__hold_without_what_it_holds_to__says_what_it_needs(fields):
    with pytest.raises(ValidationError, match="hold needs credit by turn"):
        GrpoConfig(**fields)
    assert GrpoConfig(hold=0.1, credit="turn", kl_weight=0.1).hold == 0.1


def test_sft__conversations__are_steps_times_what_a_step_sees():
    config = SftConfig(steps=7, batch_size=4, gradient_accumulation=3)
    assert config.n_conversations == 7 * 4 * 3


def test_config__made__cannot_be_changed():
    config = load_profile("tiny")
    with pytest.raises(ValidationError):
        config.seed = 3


def test_base_path__folder_that_ships__is_found_and_a_hub_id_stays(tmp_path):
    assert load_profile("tiny").base_path.endswith("models/agent-tiny-base")
    other = TrainConfig(base="someone/some-model")
    assert other.base_path == "someone/some-model"
