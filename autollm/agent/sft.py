"""Policy distillation: TRL's SFTTrainer on trajectories, loss on the assistant's turns
that were not given.

Kept behind one function; resumed from `out_dir`/trainer after a kill, returned at once
when `out_dir`/final exists.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import SFTConfig as TrlSftConfig
from trl import SFTTrainer
from trl.chat_template_utils import (
    get_training_chat_template,
    has_generation_markers,
)

from autollm.agent.checkpoints import load_checkpoint
from autollm.agent.devices import device_of, dtype_of
from autollm.agent.profiles import TrainConfig
from autollm.agent.tools import tool_schemas
from autollm.agent.trainer_state import (
    Forward,
    MetricLog,
    common_arguments,
    finish,
    last_complete,
    lora_config,
)
from autollm.agent.trajectories import TrajectorySet, check_trajectories


def train_sft(
    config: TrainConfig,
    trajectories: TrajectorySet,
    base_checkpoint: str | Path,
    out_dir: str | Path,
    callbacks: Sequence[MetricLog] = (),
) -> Path:
    """Distil `trajectories` into `base_checkpoint`; returns the checkpoint's folder,
    `out_dir`/final.

    Raises:
        CheckpointError: the base cannot be loaded, or a trajectory's target is held
            out.
    """
    out = Path(out_dir)
    if (out / "final").exists():
        return out / "final"
    check_trajectories(trajectories)
    (out / "trainer").mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(config.model_dump_json(indent=1))
    base = load_checkpoint(base_checkpoint, dtype_of(config), device_of(config))
    template = base.tokenizer.chat_template
    if not has_generation_markers(template):
        base.tokenizer.chat_template = get_training_chat_template(
            base.tokenizer
        )
    trainer = SFTTrainer(
        model=base.model,
        args=_arguments(config, out / "trainer"),
        processing_class=base.tokenizer,
        train_dataset=build_dataset(trajectories, base.tokenizer),
        peft_config=lora_config(config),
        callbacks=[Forward(callbacks, out)],
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*pin_memory.*")
        trainer.train(resume_from_checkpoint=last_complete(out / "trainer"))
    return finish(
        trainer.model,
        base.tokenizer,
        template,
        str(base_checkpoint),
        out,
        _metadata(config, trajectories),
    )


def _metadata(
    config: TrainConfig, trajectories: TrajectorySet
) -> dict[str, Any]:
    """What the checkpoint says of its own training."""
    read = trajectories.metadata
    return {
        "trained_on": read["trained_on"],
        "experiments": read["experiments"],
        "table_id": read["table_id"],
        "trajectories": read["digest"],
        "conversations": len(trajectories.rows),
        "profile": config.profile,
        "stage": "sft",
        "config": config.model_dump(mode="json"),
    }


def build_dataset(
    trajectories: TrajectorySet, tokenizer: PreTrainedTokenizerBase
) -> Dataset:
    """Conversations with the tools' schema, as TRL renders it. Templates that know no
    `given` turns get full plays only.
    """
    knows_given = "message.given" in (tokenizer.chat_template or "")
    tools = json.dumps(list(tool_schemas()))
    rows = []
    for row in trajectories.rows:
        is_partial = any(m.get("given") for m in row["messages"])
        if knows_given or not is_partial:
            messages = [_uniform(m) for m in row["messages"]]
            rows.append({"messages": messages, "tools": tools})
    return Dataset.from_list(rows)


def _uniform(message: dict) -> dict:
    """A message with the columns that all have: Arrow wants one schema."""
    return {
        "role": message["role"],
        "content": message["content"],
        "tool_calls": message.get("tool_calls") or None,
        "name": message.get("name"),
        "given": bool(message.get("given")),
    }


def _arguments(config: TrainConfig, folder: Path) -> TrlSftConfig:
    sft = config.sft
    return TrlSftConfig(
        **common_arguments(config, folder, sft.gradient_checkpointing),
        max_steps=sft.steps,
        per_device_train_batch_size=sft.batch_size,
        learning_rate=sft.learning_rate,
        warmup_steps=sft.warmup_steps,
        max_length=sft.max_tokens,
        save_steps=sft.checkpoint_every,
        logging_steps=sft.log_every,
        gradient_accumulation_steps=sft.gradient_accumulation,
        assistant_only_loss=True,
    )
