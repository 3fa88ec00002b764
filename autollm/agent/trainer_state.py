"""What the two TRL stages share: resuming after a kill, metrics for callers, LoRA, the
finished checkpoint.

Invariant: `final` exists only when a stage is complete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from peft import LoraConfig
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
)

from autollm.agent.checkpoint_files import read_metadata
from autollm.agent.checkpoints import Checkpoint, save_checkpoint
from autollm.agent.devices import device_of
from autollm.agent.profiles import TrainConfig
from autollm.agent.provenance import assert_no_held_out, training_targets
from autollm.core.identity import checkpoint_digest


class MetricLog(Protocol):
    """Receives the progress of a training (MLflow, a file, a progress bar)."""

    def log(self, metrics: dict[str, float], step: int) -> None: ...


class Forward(TrainerCallback):
    """Passes a trainer's numbers on to metric logs, and to `metrics.jsonl` beside the
    checkpoints.
    """

    def __init__(self, logs: Sequence[MetricLog], folder: Path):
        self.logs, self.path = logs, folder / "metrics.jsonl"

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        metrics = {
            k: float(v)
            for k, v in (logs or {}).items()
            if isinstance(v, (int, float))
        }
        with self.path.open("a") as file:
            file.write(
                json.dumps({"step": state.global_step, **metrics}) + "\n"
            )
        for log in self.logs:
            log.log(metrics, state.global_step)


def common_arguments(
    config: TrainConfig, folder: Path, checkpoint_activations: bool
) -> dict[str, Any]:
    """Arguments that both trainers take."""
    return {
        "output_dir": str(folder),
        "seed": config.seed,
        "data_seed": config.seed,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": device_of(config) == "cpu",
        "bf16": config.bf16,
        "save_strategy": "steps",
        "save_total_limit": 2,
        "logging_strategy": "steps",
        "logging_first_step": True,
        "dataloader_pin_memory": False,
        "optim": "adamw_torch",
        "adam_beta2": 0.95,
        "activation_checkpointing": checkpoint_activations,
        "max_grad_norm": 1.0,
        "lr_scheduler_type": "cosine",
        "pad_to_multiple_of": 64,
    }


def last_complete(folder: Path) -> str | None:
    """The newest checkpoint of an interrupted trainer; halves that a kill left are
    removed.
    """
    checkpoints = sorted(
        folder.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1])
    )
    for path in reversed(checkpoints):
        state = path / "trainer_state.json"  # written last
        if state.exists() and state.read_bytes().rstrip().endswith(b"}"):
            return str(path)
        shutil.rmtree(path)
    return None


def lora_config(config: TrainConfig) -> LoraConfig | None:
    """The adapters of a configuration, None for full weights."""
    if config.lora is None:
        return None
    lora = config.lora
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=list(lora.targets),
        task_type="CAUSAL_LM",
    )


def finish(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    template: str,
    base: str,
    out: Path,
    metadata: dict[str, Any],
) -> Path:
    """Save `out`/final: adapters merged, the plain chat template put back, provenance
    joined with the base's.
    """
    merged = (
        model.merge_and_unload()
        if hasattr(model, "merge_and_unload")
        else model
    )
    tokenizer.chat_template = template
    before = read_metadata(base)
    experiments = sorted(
        {*training_targets(before), *metadata.get("experiments", [])}
    )
    assert_no_held_out(experiments, f"the {metadata['stage']} stage")
    parents = [*before.get("parents", []), checkpoint_digest(base)]
    words = "; ".join(
        dict.fromkeys(
            [str(before.get("trained_on")), str(metadata.get("trained_on"))]
        )
    )
    joined = {
        **metadata,
        "experiments": experiments,
        "parents": parents,
        "trained_on": words,
    }
    final = save_checkpoint(
        Checkpoint(merged, tokenizer, joined), out / "final"
    )
    shutil.rmtree(out / "trainer", ignore_errors=True)
    return final
