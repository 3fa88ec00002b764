"""What needs CUDA: bf16 GRPO on the device, and that vLLM writes what transformers
writes.
"""

import importlib.util

import pytest
import torch

from autollm.agent.checkpoints import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from autollm.agent.generation import TransformersGenerator
from autollm.agent.grpo import train_grpo
from autollm.agent.landscapes import make_landscape
from autollm.agent.profiles import Architecture, load_profile
from autollm.agent.tools import tool_schemas
from research.model import build_model
from research.practice import practice_example
from research.pretrain import make_tokenizer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None,
    reason="vllm is not installed (extra gpu)",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Random weights with a head size that vLLM's kernels take."""
    tokenizer = make_tokenizer()
    model = build_model(
        Architecture(width=128, layers=2, heads=2, kv_heads=2, mlp_width=256),
        tokenizer,
        seed=1,
    )
    return save_checkpoint(
        Checkpoint(model, tokenizer, {"stage": "base", "experiments": []}),
        tmp_path_factory.mktemp("gpu") / "base",
    )


def config(**grpo):
    return load_profile(
        "tiny",
        device="cuda",
        bf16=True,
        grpo={"steps": 2, "groups": 2, "group_size": 4, "trials": 2, **grpo},
    )


def test_train_grpo__bf16_on_cuda__runs_and_saves(base, tmp_path):
    final = train_grpo(config(), make_landscape(1).table, base, tmp_path)
    assert load_checkpoint(final).metadata["stage"] == "rl"


@needs_vllm
def test_train_grpo__vllm_in_the_process__runs_and_saves(base, tmp_path):
    final = train_grpo(
        config(use_vllm=True, vllm_mode="colocate"),
        make_landscape(1).table,
        base,
        tmp_path,
    )
    assert load_checkpoint(final).metadata["stage"] == "rl"


@needs_vllm
def test_vllm__greedy__writes_what_transformers_writes(base):
    from vllm import LLM, SamplingParams

    conversations = [practice_example(s).messages[:1] for s in range(8)]
    loaded = load_checkpoint(base, torch.float32, "cuda")
    ours = TransformersGenerator(
        loaded.model, loaded.tokenizer, max_new_tokens=24
    ).generate(conversations)
    server = LLM(
        str(base),
        dtype="float32",
        enforce_eager=True,
        gpu_memory_utilization=0.3,
        max_model_len=1024,
    )
    prompts = [
        loaded.tokenizer.apply_chat_template(
            c,
            tools=list(tool_schemas()),
            add_generation_prompt=True,
            tokenize=False,
        )
        for c in conversations
    ]
    said = server.generate(
        prompts,
        SamplingParams(temperature=0, max_tokens=24, skip_special_tokens=False),
    )
    assert [o.outputs[0].text.split("<|im_end|>")[0] for o in said] == ours
