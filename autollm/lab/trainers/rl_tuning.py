"""Train runs of `rl_tuning` with TRL's GRPOTrainer, from the start model of their task
and size, and score what became of it.

Reward: 1 for a right answer and FORMAT_REWARD for a well-formed one, right or not: a
format that can be had for nothing. The only module of the lab that touches TRL.
Invariant: scoring prompts are the same for every run, and none of them is trained on by
design.
"""

from __future__ import annotations

import math
import os
import random
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from datasets import Dataset
from transformers import AutoModelForCausalLM, PrinterCallback, TrainerCallback
from transformers.utils.logging import disable_progress_bar
from trl import GRPOConfig, GRPOTrainer

from autollm.core.files import scratch_folder
from autollm.core.records import Record, RunStep
from autollm.lab.families.rl_tuning import COMPLETIONS_A_STEP, PASSES, RL_TUNING
from autollm.lab.recording import digits, end, header, now, thinned
from autollm.lab.spec import Level, Run
from autollm.lab.start_models import (
    END,
    generate_answers,
    recipe_sha256,
    start_model,
    tokenizer,
)
from autollm.lab.tasks import (
    MAX_ANSWER,
    RETAINED,
    SHIFTED,
    SIZES,
    is_right,
    is_well_formed,
    make,
)

FORMAT_REWARD = 0.2
N_SCORED = {"in_task": 2000, "shifted": 1000, "retained": 1000}
WEIGHTS = {"in_task": 0.5, "shifted": 0.25, "retained": 0.25}
N_SAMPLED = 256
"""Prompts on whose sampled answers entropy and KL are measured."""


@dataclass(frozen=True)
class StartModels:
    """Start models in a folder; made when they are asked for."""

    cache_dir: Path

    @property
    def sha256(self) -> str:
        return recipe_sha256()

    def of(self, level: Level) -> Path:
        return start_model(
            level.settings["task"],
            int(level.settings["width"]),
            int(level.settings["layers"]),
            self.cache_dir,
        )


def load(cache_dir: Path) -> StartModels:
    return StartModels(Path(cache_dir))


def train(
    runs: list[Run], data: StartModels, max_seconds: float = math.inf
) -> dict[str, list[Record]]:
    """Records of every run by run_id. A run that outlives `max_seconds` is recorded as
    failed.
    """
    return {run.run_id: _train(run, data, max_seconds) for run in runs}


def _train(run: Run, data: StartModels, max_seconds: float) -> list[Record]:
    started, folder, task = (
        now(),
        data.of(run.level),
        run.level.settings["task"],
    )
    disable_progress_bar()
    model, reference = (
        AutoModelForCausalLM.from_pretrained(folder) for _ in range(2)
    )
    watch, processor_start = _Watch(max_seconds), time.process_time()
    with scratch_folder("grpo") as scratch, warnings.catch_warnings():
        warnings.filterwarnings("ignore")
        trainer = GRPOTrainer(
            model=model,
            args=_arguments(run, str(scratch)),
            processing_class=tokenizer(),
            train_dataset=_prompts(run),
            reward_funcs=[reward],
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        history = trainer.state.log_history
    wall_s, processor_s = (
        time.perf_counter() - watch.start,
        time.process_time() - processor_start,
    )
    seconds = wall_s if run.level.clock == "wall" else processor_s
    steps = [_step(entry) for entry in history if "reward" in entry]
    finite = all(bool(p.isfinite().all()) for p in model.parameters())
    final = (
        score(model, reference, task) if finite and not watch.timed_out else {}
    )
    shape = {
        "task": task,
        "width": run.level.settings["width"],
        "layers": run.level.settings["layers"],
        "completions_a_step": COMPLETIONS_A_STEP,
        "passes": PASSES,
        "parameters": model.num_parameters(),
    }
    head = header(
        RL_TUNING,
        run,
        model=shape,
        sha256=data.sha256,
        packages=("torch", "trl", "transformers"),
        started=started,
    )
    cost = {"flops": RL_TUNING.flops(run.level), "device_hours": seconds / 3600}
    return [
        head,
        *thinned(run, steps),
        end(
            final,
            cost,
            timed_out=watch.timed_out,
            diverged="" if finite else "weights are not finite",
        ),
    ]


def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """Reward of each completion; text behind the answer's end does not count."""
    texts = [c.split(END)[0] for c in completions]
    return [
        is_right(p, t) + FORMAT_REWARD * is_well_formed(p, t)
        for p, t in zip(prompts, texts, strict=True)
    ]


def _prompts(run: Run) -> Dataset:
    """One prompt a group, in the order of the run's seed."""
    task, rng = run.level.settings["task"], random.Random(f"train {run.seed}")
    n_groups = int(run.level.settings["completions"]) // int(
        run.config["group_size"]
    )
    return Dataset.from_dict(
        {
            "prompt": [
                make(task, rng.choice(SIZES[task]), rng).prompt
                for _ in range(n_groups)
            ]
        }
    )


def _arguments(run: Run, folder: str) -> GRPOConfig:
    n_steps = (
        int(run.level.settings["completions"]) // COMPLETIONS_A_STEP * PASSES
    )
    return GRPOConfig(
        output_dir=folder,
        seed=run.seed,
        data_seed=run.seed,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="steps",
        logging_steps=max(1, n_steps // 40),
        dataloader_pin_memory=False,
        bf16=False,
        gradient_checkpointing=False,
        max_steps=n_steps,
        per_device_train_batch_size=COMPLETIONS_A_STEP,
        num_generations=int(run.config["group_size"]),
        num_iterations=PASSES,
        learning_rate=run.config["learning_rate"],
        lr_scheduler_type="constant",
        beta=run.config["kl_weight"],
        epsilon=run.config["clip_range"],
        temperature=run.config["temperature"],
        top_k=0,
        max_completion_length=MAX_ANSWER,
        max_grad_norm=1.0,
        shuffle_dataset=False,
    )


def _step(entry: dict[str, Any]) -> RunStep:
    names = {
        "reward": "reward",
        "reward_std": "reward_std",
        "kl": "kl",
        "entropy": "entropy",
        "clip_ratio/region_mean": "clip_ratio",
        "completions/mean_length": "mean_length",
        "grad_norm": "grad_norm",
    }
    return RunStep(
        int(entry["step"]),
        {new: digits(entry[old]) for old, new in names.items() if old in entry},
    )


@torch.no_grad()
def score(model: Any, start: Any, task: str) -> dict[str, float]:
    """What a run ends with. `score` weighs the success in the task, on shifted sizes
    and in the second task.

    Answers are sampled at temperature 1, as the start model's band is: greedy ones
    hardly gain from so short a training.
    """
    model.eval(), start.eval()
    found, variance, formed, state = {}, 0.0, 0.0, torch.random.get_rng_state()
    torch.manual_seed(0)
    for part, prompts in scoring_prompts(task).items():
        answers = generate_answers(model, prompts, temperature=1.0)
        found[part] = sum(
            is_right(p, a) for p, a in zip(prompts, answers, strict=True)
        ) / len(prompts)
        variance += (
            WEIGHTS[part] ** 2 * found[part] * (1 - found[part]) / len(prompts)
        )
        if part == "in_task":
            formed = sum(
                is_well_formed(p, a)
                for p, a in zip(prompts, answers, strict=True)
            ) / len(prompts)
    torch.random.set_rng_state(state)
    total = sum(WEIGHTS[part] * share for part, share in found.items())
    return {
        "score": total,
        "score_se": math.sqrt(variance),
        **found,
        "well_formed": formed,
        **_drift(model, start, task),
    }


def scoring_prompts(task: str) -> dict[str, list[str]]:
    """The same for every run of a task."""
    other, rng = RETAINED[task], random.Random(f"score {task}")
    sizes = {
        "in_task": SIZES[task],
        "shifted": SHIFTED[task],
        "retained": SIZES[other],
    }
    prompts: dict[str, list[str]] = {}
    for part, n in N_SCORED.items():
        task_names = other if part == "retained" else task
        made = [
            make(task_names, rng.choice(sizes[part]), rng) for _ in range(n)
        ]
        prompts[part] = [example.prompt for example in made]
    return prompts


def _drift(model: Any, start: Any, task: str) -> dict[str, float]:
    """Entropy of the model, and its KL divergence from the start model, a token of its
    own sampled answers.
    """
    tok, state = tokenizer(), torch.random.get_rng_state()
    torch.manual_seed(0)
    prompts = scoring_prompts(task)["in_task"][:N_SAMPLED]
    batch = tok(
        prompts, return_tensors="pt", padding=True, return_token_type_ids=False
    )
    ids = model.generate(
        **batch,
        max_new_tokens=MAX_ANSWER,
        do_sample=True,
        top_k=0,
        pad_token_id=tok.pad_token_id,
        eos_token_id=tok.eos_token_id,
    )
    torch.random.set_rng_state(state)
    mask, n = (ids != tok.pad_token_id).long(), batch["input_ids"].shape[1]
    ours, theirs = (
        m(input_ids=ids, attention_mask=mask)
        .logits[:, n - 1 : -1]
        .log_softmax(-1)
        for m in (model, start)
    )
    counts = mask[:, n:].bool()
    entropy, kl = (
        -(ours.exp() * ours).sum(-1)[counts],
        (ours.exp() * (ours - theirs)).sum(-1)[counts],
    )
    return {"entropy": float(entropy.mean()), "kl": float(kl.mean())}


class _Watch(TrainerCallback):
    """Stops a training that outlives its time."""

    def __init__(self, max_seconds: float):
        self.max_seconds, self.start, self.timed_out = (
            max_seconds,
            time.perf_counter(),
            False,
        )

    def on_step_end(
        self, args: Any, state: Any, control: Any, **_: Any
    ) -> None:
        if time.perf_counter() - self.start > self.max_seconds:
            self.timed_out = control.should_training_stop = True
