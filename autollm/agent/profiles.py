"""The one typed configuration of training an agent: the same for the command line,
Dagster and tests; profiles are TOML files.

`tiny` is built from scratch here; `qwen3-1.7b` and `qwen3-4b` start from hub weights.
All go through the same code. Invariant: a configuration's JSON names everything that
training depends on but the data.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from autollm.core.errors import UnknownNameError
from autollm.core.places import PROJECT

TRAIN_SUITES = (
    "lab-pretraining-v3",
    "lab-optimizer-v1",
    "lab-architecture-v1",
    "lab-data_mixture-v1",
    "lab-rl_tuning-v1",
)
"""Where training and validation tasks come from unless somebody names others."""
FOLDER = Path(__file__).parent / "profiles"


class Strict(BaseModel):
    """Unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(Strict):
    """A small decoder that is built from scratch."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    mlp_width: int = 320
    max_tokens: int = 1024


class LoraSettings(Strict):
    """Low-rank adapters instead of full weights."""

    rank: int = 32
    alpha: int = 64
    targets: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )


class SftConfig(Strict):
    """Distillation. `practice_share` of the conversations come from generated
    landscapes, the others from training tasks.
    """

    steps: int = 60
    batch_size: int = 16
    learning_rate: float = 5e-6
    warmup_steps: int = 10
    max_tokens: int = 512
    practice_share: float = Field(0.8, ge=0, le=1)
    checkpoint_every: int = 100
    log_every: int = 10
    gradient_accumulation: int = 1
    gradient_checkpointing: bool = False

    @property
    def n_conversations(self) -> int:
        """Number of conversations that the stage trains on."""
        return self.steps * self.batch_size * self.gradient_accumulation


class GrpoConfig(Strict):
    """Multi-turn GRPO: `groups` tasks a step, `group_size` plays of each. `reward`
    random is the control that must gain nothing.

    `penalty` is taken off the reward for each bad call: imitation repeats itself, and a
    repeat must cost more than a poor trial. `temperature` is low, since greedy play is
    what counts later: a hotter player learns a caution that greedy play does not need.
    `credit` by turn gives a decision what it gained itself and, times `discount`, what
    later ones did, from `first_trial` on; trials before it only feel the KL term, whose
    weight is `kl_weight` + `hold` there. By play, every token has the reward of the
    whole play. `turn_tokens` is the longest turn while training: a sample that does not
    stop would hold up its whole batch.
    """

    steps: int = 20
    groups: int = 4
    group_size: int = 8
    trials: int = 3
    learning_rate: float = 5e-5
    warmup_steps: int = 2
    temperature: float = 0.2
    penalty: float = Field(0.4, ge=0)
    kl_weight: float = 0.02
    clip_range: float = 0.2
    iterations: int = 1
    max_tokens: int = 256
    turn_tokens: int = 64
    practice_share: float = Field(1.0, ge=0, le=1)
    credit: Literal["play", "turn"] = "play"
    discount: float = Field(0.5, ge=0, le=1)
    first_trial: int = Field(1, ge=1)
    hold: float = Field(0.0, ge=0)
    reward: Literal["regret", "random"] = "regret"
    checkpoint_every: int = 20
    gradient_accumulation: int = 1
    gradient_checkpointing: bool = False
    use_vllm: bool = False
    vllm_mode: Literal["colocate", "server"] = "colocate"
    vllm_gpu_memory: float = 0.3
    vllm_server_url: str | None = None

    @model_validator(mode="after")
    def _hold_has_a_reference(self) -> GrpoConfig:
        if self.hold and not (self.kl_weight and self.credit == "turn"):
            raise ValueError(
                "hold needs credit by turn and a kl_weight above 0, without which no "
                "reference model is kept"
            )
        return self


class GenerationConfig(Strict):
    """How the trained agent writes. `backend` openai talks to a vLLM server at
    `server_url`.
    """

    backend: Literal["transformers", "openai"] = "transformers"
    server_url: str | None = None
    server_model: str = "agent"
    max_new_tokens: int = 96
    temperature: float = 0.0
    batch_size: int = 64
    timeout_s: float = 60.0


class TrainConfig(Strict):
    """Everything of a training but its data."""

    profile: str = "tiny"
    base: str = "models/agent-tiny-base"
    architecture: Architecture | None = None
    lora: LoraSettings | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    bf16: bool = False
    seed: int = 0
    sft: SftConfig = SftConfig()
    grpo: GrpoConfig = GrpoConfig()
    generation: GenerationConfig = GenerationConfig()

    @property
    def base_path(self) -> str:
        """A folder that ships with the project when there is one of that name, else the
        name as given (a folder or a hub id).
        """
        shipped = PROJECT / self.base
        return str(shipped) if shipped.exists() else self.base


def profile_names() -> list[str]:
    return sorted(p.stem for p in FOLDER.glob("*.toml"))


def load_profile(name: str, **changes: Any) -> TrainConfig:
    """A profile by name; `changes` replace fields, nested ones by a dict of their own.

    Raises:
        UnknownNameError: no such profile.
        pydantic.ValidationError: an unknown field or a wrong value.
    """
    if name not in profile_names():
        raise UnknownNameError("profile", name, profile_names())
    raw = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    return TrainConfig.model_validate(
        _merged({"profile": name, **raw}, changes)
    )


def _merged(raw: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    out = dict(raw)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merged(out[key], value) if nested else value
    return out
