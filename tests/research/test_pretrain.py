import csv

import pytest
import torch

from autollm.agent.checkpoint_files import read_metadata
from autollm.agent.checkpoints import load_checkpoint
from research import long_run, pretrain
from research.pretrain import PretrainConfig, schedule


@pytest.fixture()
def quick(monkeypatch, tokenizer):
    """Chunks of 8 examples, the tokenizer of the session."""
    for module in ("batches", "pretrain"):
        monkeypatch.setattr(f"research.{module}.CHUNK", 8)
    monkeypatch.setattr(pretrain, "make_tokenizer", lambda: tokenizer)
    return PretrainConfig(
        chunks=4,
        batch_size=8,
        checkpoint_every=2,
        workers=0,
        warmup_chunks=1,
        bf16=False,
    )


def test_pretrain__few_chunks__loss_falls_and_metadata_says_generated(
    quick, tmp_path
):
    final = pretrain.pretrain(quick.model_copy(update={"chunks": 12}), tmp_path)
    lines = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert (
        float(lines[-1]["text_loss"]) < float(lines[0]["text_loss"])
        and len(lines) == 12
    )
    metadata = read_metadata(final)
    assert (
        metadata["stage"] == "base"
        and metadata["experiments"] == []
        and "generated" in metadata["trained_on"]
    )
    assert metadata["lessons"][-1]["episodes"] == 96


def test_pretrain__killed_after_a_checkpoint__ends_with_the_same_weights(
    quick, tmp_path, monkeypatch
):
    whole = pretrain.pretrain(quick, tmp_path / "whole")

    class Killed(BaseException):
        pass

    learn = pretrain.Pretraining.learn

    def dying(run, batches):
        if run.chunk == 3:
            raise Killed
        return learn(run, batches)

    monkeypatch.setattr(pretrain.Pretraining, "learn", dying)
    with pytest.raises(Killed):
        pretrain.pretrain(quick, tmp_path / "cut")
    monkeypatch.setattr(pretrain.Pretraining, "learn", learn)
    resumed = pretrain.pretrain(quick, tmp_path / "cut")
    a, b = (load_checkpoint(f).model.state_dict() for f in (whole, resumed))
    assert all(torch.allclose(a[k], b[k], atol=1e-6) for k in a)


def test_schedule__over_a_run__rises_then_falls_to_a_hundredth():
    config = PretrainConfig(chunks=100, warmup_chunks=10)
    factors = [schedule(config, c) for c in range(101)]
    assert (
        max(factors) == factors[9] == 1
        and factors[100] == pytest.approx(0.01)
        and type(factors[50]) is float
    )


def test_summarize__better_arm__has_an_interval_below_zero():
    def lines(shift):
        return [
            {
                "tasks": t,
                "regret": [0.5 + shift + 0.01 * i, 0.4 + shift, 0.3 + shift],
                "calls": 4,
                "malformed": 0,
                "repeated": 1,
            }
            for t in ("generated", "recorded")
            for i in range(10)
        ]

    scored = {
        (seed, arm): lines(-0.1 if arm == "sft-rl" else 0.0)
        for seed in (0, 1, 2)
        for arm in long_run.ARMS
    }
    rows = {(r["arm"], r["tasks"]): r for r in long_run.summarize(scored)}
    better = rows["sft-rl", "generated"]
    assert (
        better["minus_sft"] == pytest.approx(-0.1)
        and better["high"] < 0
        and better["n_training_seeds"] == 3
    )
    assert (
        better["later_minus_sft"] == pytest.approx(-0.1)
        and better["later_high"] < 0
    )
    assert rows["sft", "generated"]["minus_sft"] == 0 and better[
        "repeated"
    ] == pytest.approx(1 / 3, abs=1e-3)


def test_long_run__tiny__writes_results_and_goes_on_where_it_stopped(
    random_base, generated_table, tmp_path
):
    changes = {
        "base": str(random_base),
        "device": "cpu",
        "sft": {"steps": 1, "batch_size": 2},
        "grpo": {"steps": 1, "groups": 1, "group_size": 2, "trials": 1},
    }
    rows = long_run.run(
        generated_table, tmp_path, [0], n_tasks=2, n_seeds=1, **changes
    )
    assert {r["arm"] for r in rows} == set(long_run.ARMS)
    assert (tmp_path / "results.csv").exists() and (
        tmp_path / "curves.csv"
    ).read_text().count("\n") == 3
    assert "sft-random" in (tmp_path / "curves.svg").read_text()
    before = (tmp_path / "seed-0" / "scores-sft-rl.json").stat().st_mtime_ns
    assert (
        long_run.run(
            generated_table, tmp_path, [0], n_tasks=2, n_seeds=1, **changes
        )
        == rows
    )
    assert (
        tmp_path / "seed-0" / "scores-sft-rl.json"
    ).stat().st_mtime_ns == before
