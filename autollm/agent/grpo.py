"""Multi-turn reinforcement learning: TRL's GRPOTrainer plays the gym's text view
through `environment_factory`.

Members of a group share task, evidence and noise (one row of the data set: one seed).
Rewards are latent, not divided by the group's deviation, so a group without spread
teaches nothing. Invariant: no target is held out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from trl import GRPOConfig as TrlGrpoConfig
from trl import GRPOTrainer

from autollm.agent.checkpoint_files import read_metadata
from autollm.agent.checkpoints import load_checkpoint
from autollm.agent.credit import RandomRewardEnv, TrainingEnv, TurnCreditTrainer
from autollm.agent.curriculum import (
    episode_opener,
    generated_row,
    recorded_row,
    train_tasks,
)
from autollm.agent.devices import device_of, dtype_of
from autollm.agent.profiles import TRAIN_SUITES, TrainConfig
from autollm.agent.trainer_state import (
    Forward,
    MetricLog,
    common_arguments,
    finish,
    last_complete,
    lora_config,
)
from autollm.gym.tables.outcome_table import OutcomeTable


def train_grpo(
    config: TrainConfig,
    table: OutcomeTable,
    base_checkpoint: str | Path,
    out_dir: str | Path,
    callbacks: Sequence[MetricLog] = (),
    suites: Sequence[str] = TRAIN_SUITES,
) -> Path:
    """Train `base_checkpoint` by play; returns the checkpoint's folder,
    `out_dir`/final. Resumable like train_sft.

    Raises:
        CheckpointError: the base cannot be loaded, or a target of the suites' train
            splits is held out.
    """
    out = Path(out_dir)
    if (out / "final").exists():
        return out / "final"
    tasks = train_tasks(suites, table)
    (out / "trainer").mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(config.model_dump_json(indent=1))
    base = load_checkpoint(base_checkpoint, dtype_of(config), device_of(config))
    template = base.tokenizer.chat_template
    dataset = build_rows(config, tasks)
    trainer = _trainer(config)(
        model=base.model,
        args=_arguments(config, out / "trainer"),
        processing_class=base.tokenizer,
        train_dataset=dataset,
        environment_factory=_factory(config, tasks, table),
        peft_config=lora_config(config),
        callbacks=[Forward(callbacks, out)],
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*pin_memory.*")
        trainer.train(resume_from_checkpoint=last_complete(out / "trainer"))
    played = set(dataset["task_id"])
    targets = {task.target for task in tasks if task.task_id in played}
    start_stage = read_metadata(base_checkpoint).get("stage")
    return finish(
        trainer.model,
        base.tokenizer,
        template,
        str(base_checkpoint),
        out,
        {
            **_metadata(config, sorted(targets), suites),
            "table_id": table.table_id,
            "stage": "sft-rl" if start_stage == "sft" else "rl",
        },
    )


def _metadata(
    config: TrainConfig, targets: Sequence[str], suites: Sequence[str]
) -> dict[str, Any]:
    """What the checkpoint says of its own training; `targets`: the recorded
    experiments that were played.
    """
    trained_on = "play of generated landscapes"
    if targets:
        trained_on += f" and the train split of {', '.join(suites)}"
    grpo = config.grpo
    return {
        "trained_on": trained_on,
        "experiments": list(targets),
        "profile": config.profile,
        "config": config.model_dump(mode="json"),
        "episodes": grpo.steps * grpo.groups * grpo.group_size,
    }


def build_rows(config: TrainConfig, tasks: Sequence[Any]) -> Dataset:
    """One row a group: plain data that names the episode. The prompt's text comes from
    the environment.
    """
    grpo, rng = config.grpo, np.random.default_rng([37, config.seed])
    rows = []
    for _ in range(grpo.steps * grpo.groups * grpo.gradient_accumulation):
        generated = not tasks or rng.random() < grpo.practice_share
        row = (
            generated_row(rng, grpo.trials)
            if generated
            else recorded_row(tasks, rng, grpo.trials)
        )
        rows.append({"prompt": [{"role": "user", "content": ""}], **row})
    return Dataset.from_list(rows)


def _trainer(config: TrainConfig) -> Callable[..., GRPOTrainer]:
    if config.grpo.credit == "play":
        return GRPOTrainer
    return partial(
        TurnCreditTrainer,
        discount=config.grpo.discount,
        first_trial=config.grpo.first_trial,
        hold=config.grpo.hold,
    )


def _factory(
    config: TrainConfig, tasks: Sequence[Any], table: OutcomeTable
) -> Any:
    opener = episode_opener(tasks, table)
    if config.grpo.reward == "random":
        rng = np.random.default_rng([41, config.seed])
        return lambda: RandomRewardEnv(opener, rng)
    return lambda: TrainingEnv(opener, config.grpo.penalty)


def _arguments(config: TrainConfig, folder: Path) -> TrlGrpoConfig:
    grpo = config.grpo
    vllm = (
        {
            "use_vllm": True,
            "vllm_mode": grpo.vllm_mode,
            "vllm_gpu_memory_utilization": grpo.vllm_gpu_memory,
            "vllm_server_base_url": grpo.vllm_server_url,
        }
        if grpo.use_vllm
        else {}
    )
    return TrlGrpoConfig(
        **common_arguments(config, folder, grpo.gradient_checkpointing),
        **vllm,
        max_steps=grpo.steps * grpo.iterations,
        num_generations=grpo.group_size,
        per_device_train_batch_size=grpo.groups * grpo.group_size,
        gradient_accumulation_steps=grpo.gradient_accumulation,
        num_iterations=grpo.iterations,
        learning_rate=grpo.learning_rate,
        warmup_steps=grpo.warmup_steps,
        temperature=grpo.temperature,
        top_k=0,
        beta=grpo.kl_weight,
        epsilon=grpo.clip_range,
        scale_rewards="none",
        max_completion_length=grpo.max_tokens,
        max_tool_calling_iterations=grpo.trials,
        generation_kwargs={"max_new_tokens": grpo.turn_tokens},
        save_steps=grpo.checkpoint_every,
        logging_steps=1,
        shuffle_dataset=False,
    )
