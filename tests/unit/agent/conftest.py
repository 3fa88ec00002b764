"""A tokenizer and random tiny weights, built once a session."""

from pathlib import Path

import pytest

from autollm.agent.checkpoints import Checkpoint, save_checkpoint
from autollm.agent.landscapes import make_landscape
from autollm.agent.profiles import Architecture, load_profile
from research.model import build_model
from research.pretrain import make_tokenizer

SMALL = Architecture(width=32, layers=2, heads=2, kv_heads=1, mlp_width=64)


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def random_base(tokenizer, tmp_path_factory) -> Path:
    """A checkpoint with random weights."""
    folder = tmp_path_factory.mktemp("base") / "random"
    return save_checkpoint(
        Checkpoint(
            build_model(SMALL, tokenizer, seed=1),
            tokenizer,
            {"stage": "base", "experiments": []},
        ),
        folder,
    )


@pytest.fixture(scope="session")
def generated_table():
    return make_landscape(1).table


@pytest.fixture()
def small_config():
    return load_profile(
        "tiny",
        device="cpu",
        sft={
            "steps": 8,
            "batch_size": 4,
            "learning_rate": 3e-3,
            "warmup_steps": 1,
            "log_every": 1,
        },
        grpo={"steps": 2, "groups": 1, "group_size": 4, "trials": 2},
    )
