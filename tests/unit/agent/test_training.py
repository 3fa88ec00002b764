import json
import shutil

import pytest
import torch

from autollm.agent.checkpoint_files import read_metadata
from autollm.agent.checkpoints import load_checkpoint
from autollm.agent.grpo import RandomRewardEnv, build_rows, train_grpo
from autollm.agent.profiles import LoraSettings, load_profile, profile_names
from autollm.agent.sft import train_sft
from autollm.agent.trainer_state import last_complete
from autollm.agent.trajectories import simulate_trajectories
from autollm.core.errors import CheckpointError, UnknownNameError
from autollm.core.identity import checkpoint_digest
from research.tokenizer import CHAT_TEMPLATE


class Kept:
    def __init__(self):
        self.lines = []

    def log(self, metrics, step):
        self.lines.append((step, metrics))


@pytest.fixture(scope="module")
def trained(random_base, generated_table, tmp_path_factory):
    """SFT of a few steps, and GRPO of two on top of it."""
    config = load_profile(
        "tiny",
        device="cpu",
        sft={
            "steps": 12,
            "batch_size": 4,
            "learning_rate": 1e-2,
            "warmup_steps": 1,
            "log_every": 1,
        },
        grpo={"steps": 2, "groups": 1, "group_size": 4, "trials": 2},
    )
    out, log = tmp_path_factory.mktemp("trained"), Kept()
    trajectories = simulate_trajectories(config, generated_table)
    sft = train_sft(config, trajectories, random_base, out / "sft", [log])
    rl_log = Kept()
    rl = train_grpo(config, generated_table, sft, out / "rl", [rl_log])
    return {
        "config": config,
        "trajectories": trajectories,
        "sft": sft,
        "rl": rl,
        "log": log,
        "rl_log": rl_log,
    }


def test_train_sft__few_steps__loss_falls_and_is_reported(trained):
    losses = [m["loss"] for _, m in trained["log"].lines if "loss" in m]
    assert len(losses) == 12 and losses[-1] < 0.8 * losses[0]
    lines = (trained["sft"].parent / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["loss"] == pytest.approx(losses[0])


def test_train_grpo__two_steps__plays_several_turns_and_moves_the_weights(
    trained,
):
    steps = [m for _, m in trained["rl_log"].lines if "reward" in m]
    assert len(steps) == 2 and {
        "kl",
        "reward_std",
        "tools/call_frequency",
    } <= set(steps[0])
    assert checkpoint_digest(trained["rl"]) != checkpoint_digest(trained["sft"])


def test_checkpoints__stages__carry_provenance_and_the_plain_template(
    trained, random_base
):
    sft, rl = read_metadata(trained["sft"]), read_metadata(trained["rl"])
    assert (sft["stage"], rl["stage"]) == ("sft", "sft-rl")
    assert (
        rl["parents"]
        == [checkpoint_digest(random_base), checkpoint_digest(trained["sft"])]
        and rl["table_id"] == "generated-1"
    )
    assert sft["trajectories"] == trained["trajectories"].metadata["digest"]
    assert (
        load_checkpoint(trained["rl"]).tokenizer.chat_template == CHAT_TEMPLATE
    )


def test_checkpoint__reloaded__computes_the_same(trained, tmp_path):
    copy = shutil.copytree(trained["sft"], tmp_path / "copy")
    ids = torch.arange(5, 40)[None]
    with torch.inference_mode():
        first, second = (
            load_checkpoint(f).model(ids).logits for f in (trained["sft"], copy)
        )
    assert torch.equal(first, second)
    assert not list(copy.glob("*.bin")) and not list(copy.glob("*.pt"))


def test_train__finished_stage__is_returned_at_once(trained, generated_table):
    before = (trained["sft"] / "model.safetensors").stat().st_mtime_ns
    assert (
        train_sft(
            trained["config"],
            trained["trajectories"],
            "nowhere",
            trained["sft"].parent,
        )
        == trained["sft"]
    )
    assert (
        train_grpo(
            trained["config"], generated_table, "nowhere", trained["rl"].parent
        )
        == trained["rl"]
    )
    assert (trained["sft"] / "model.safetensors").stat().st_mtime_ns == before


def test_train_sft__interrupted__goes_on_and_ends_like_an_uninterrupted_one(
    small_config, random_base, generated_table, tmp_path
):
    config = small_config.model_copy(
        update={
            "sft": small_config.sft.model_copy(update={"checkpoint_every": 4})
        }
    )
    trajectories = simulate_trajectories(config, generated_table)
    whole = train_sft(config, trajectories, random_base, tmp_path / "whole")

    class Killed(BaseException):
        pass

    class Kill:
        def log(self, metrics, step):
            if step == 6:
                raise Killed

    with pytest.raises(Killed):
        train_sft(config, trajectories, random_base, tmp_path / "cut", [Kill()])
    assert not (tmp_path / "cut" / "final").exists() and last_complete(
        tmp_path / "cut" / "trainer"
    ).endswith("checkpoint-4")
    half = tmp_path / "cut" / "trainer" / "checkpoint-6"
    half.mkdir()  # what a kill in the middle of a save leaves
    log = Kept()
    resumed = train_sft(
        config, trajectories, random_base, tmp_path / "cut", [log]
    )
    assert min(step for step, _ in log.lines) > 4 and not half.exists()
    a, b = (load_checkpoint(f).model.state_dict() for f in (whole, resumed))
    assert all(torch.allclose(a[k], b[k], atol=1e-5) for k in a)


def test_train_sft__lora__is_merged_into_plain_weights(
    small_config, random_base, generated_table, tmp_path
):
    config = small_config.model_copy(
        update={
            "lora": LoraSettings(rank=2, alpha=4),
            "sft": small_config.sft.model_copy(update={"steps": 2}),
        }
    )
    final = train_sft(
        config,
        simulate_trajectories(config, generated_table),
        random_base,
        tmp_path,
    )
    assert (
        load_checkpoint(final).model.num_parameters()
        == load_checkpoint(random_base).model.num_parameters()
    )
    assert not (final / "adapter_config.json").exists()


def test_train_grpo__random_reward__is_another_environment(
    small_config, generated_table
):
    config = small_config.model_copy(
        update={
            "grpo": small_config.grpo.model_copy(update={"reward": "random"})
        }
    )
    from autollm.agent.grpo import _factory

    env = _factory(config, [], generated_table)()
    assert isinstance(env, RandomRewardEnv)
    env.reset(**build_rows(config, [])[0])
    assert len({env.get_reward() for _ in range(5)}) == 5


def test_build_rows__group__shares_task_evidence_and_seed(
    small_config, generated_table
):
    from autollm.agent.grpo import _factory

    factory, row = (
        _factory(small_config, [], generated_table),
        build_rows(small_config, [])[0],
    )
    first, second = factory(), factory()
    assert first.reset(**row) == second.reset(**row)
    assert first.get_reward() == pytest.approx(
        -2 * small_config.grpo.penalty
    )  # two unused trials
    second.run_experiment("target", {})
    assert second.get_reward() == pytest.approx(
        -2 * small_config.grpo.penalty
    )  # one malformed call, one unused trial


def test_profiles__all_shipped__load_and_reject_unknown_fields():
    assert {"tiny", "qwen3-1.7b", "qwen3-4b"} <= set(profile_names())
    assert all(load_profile(n).sft.steps > 0 for n in profile_names())
    assert (
        load_profile("qwen3-4b").grpo.use_vllm
        and load_profile("tiny", sft={"steps": 3}).sft.batch_size
        == load_profile("tiny").sft.batch_size
    )
    with pytest.raises(UnknownNameError, match="tiny"):
        load_profile("tinny")
    with pytest.raises(ValueError, match="stepz"):
        load_profile("tiny", sft={"stepz": 3})
    with pytest.raises(ValueError, match="kl_weight above 0"):
        load_profile(
            "tiny", grpo={"credit": "turn", "kl_weight": 0.0, "hold": 1.0}
        )


def test_load_checkpoint__nothing_there_or_broken__is_a_clear_error(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_checkpoint(tmp_path / "none")
    (tmp_path / "autollm.json").write_text('{"schema": 99}')
    with pytest.raises(CheckpointError, match="schema 99"):
        read_metadata(tmp_path)
    (tmp_path / "autollm.json").write_text("{")
    with pytest.raises(CheckpointError, match="is damaged"):
        read_metadata(tmp_path)
