"""What an interrupted training left, and which settings both trainers share."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("trl", reason="the extra `train` is not installed")

from autollm.agent.credit import turn_advantages
from autollm.agent.profiles import LoraSettings, load_profile
from autollm.agent.trainer_state import (
    Forward,
    common_arguments,
    last_complete,
    lora_config,
)
from autollm.stages.training import numbers_before

FEW = settings(max_examples=40)


def checkpoint(folder, step, state='{"step": 1}'):
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    if state is not None:
        (path / "trainer_state.json").write_text(state)
    (path / "weights").write_text("x")
    return path


def test_last_complete__several__is_the_one_of_most_steps(tmp_path):
    checkpoint(tmp_path, 9)
    newest = checkpoint(tmp_path, 100)
    checkpoint(tmp_path, 20)
    assert last_complete(tmp_path) == str(newest)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("state", [None, "", '{"step": 1', "{"])
def test_last_complete__newest_was_cut_off__is_removed_and_the_older_counts(
    tmp_path, state
):
    older = checkpoint(tmp_path, 20)
    cut = checkpoint(tmp_path, 40, state)
    assert last_complete(tmp_path) == str(older)
    assert not cut.exists() and older.exists()


def test_last_complete__none_is_whole__is_nothing(tmp_path):
    assert last_complete(tmp_path) is None
    checkpoint(tmp_path, 20, None)
    assert last_complete(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


class Log:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def log(self, metrics, step):
        self.told.append((step, metrics))


def test_forward__numbers_of_a_trainer__reach_logs_and_the_file(tmp_path):
    log = Log()
    forward = Forward([log], tmp_path)
    for step, logs in ((1, {"loss": 2, "note": "x"}), (2, {"loss": 1.5})):
        forward.on_log(None, SimpleNamespace(global_step=step), None, logs)
    forward.on_log(None, SimpleNamespace(global_step=3), None, None)
    assert log.told == [(1, {"loss": 2.0}), (2, {"loss": 1.5}), (3, {})]
    found = list(numbers_before(tmp_path / "metrics.jsonl"))
    assert found == log.told


def test_forward__after_a_kill__goes_on_in_the_same_file(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    forward = Forward([], tmp_path)
    forward.on_log(None, SimpleNamespace(global_step=2), None, {"loss": 1.0})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_common_arguments__profile__decides_seed_device_and_precision(tmp_path):
    config = load_profile("tiny", seed=7, device="cpu")
    found = common_arguments(config, tmp_path, checkpoint_activations=True)
    assert found["seed"] == found["data_seed"] == 7
    assert found["use_cpu"] and found["activation_checkpointing"]
    assert found["report_to"] == "none" and found["output_dir"] == str(tmp_path)


def test_lora_config__adapters__are_those_of_the_profile():
    assert lora_config(load_profile("tiny")) is None
    lora = LoraSettings(rank=8, alpha=16, targets=("q_proj",))
    found = lora_config(load_profile("tiny").model_copy(update={"lora": lora}))
    assert (found.r, found.lora_alpha) == (8, 16)
    assert set(found.target_modules) == {"q_proj"}


@FEW
@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 5),
    st.floats(0, 1),
    st.integers(0, 999),
)
def test_turn_advantages__any_gains__are_discounted_sums_less_their_groups_mean(
    n_groups, size, trials, discount, seed
):
    rng = np.random.default_rng(seed)
    gains = rng.normal(size=(n_groups * size, trials))
    returns = np.zeros_like(gains)
    for play in range(len(gains)):
        for at in range(trials):
            for later in range(at, trials):
                share = discount ** (later - at)
                returns[play, at] += share * gains[play, later]
    found = turn_advantages(gains, size, discount)
    for group in range(n_groups):
        rows = slice(group * size, (group + 1) * size)
        wanted = returns[rows] - returns[rows].mean(axis=0)
        assert found[rows] == pytest.approx(wanted, abs=1e-9)
        assert found[rows].sum(axis=0) == pytest.approx(0.0, abs=1e-9)


@FEW
@given(st.integers(1, 4), st.integers(0, 999))
def test_turn_advantages__from_a_later_trial__leaves_the_first_ones_alone(
    first, seed
):
    gains = np.random.default_rng(seed).normal(size=(4, 4))
    before = gains.copy()
    whole = turn_advantages(gains, 2, 0.5)
    found = turn_advantages(gains, 2, 0.5, first)
    assert (found[:, : first - 1] == 0).all()
    assert found[:, first - 1 :] == pytest.approx(whole[:, first - 1 :])
    assert np.array_equal(gains, before)
