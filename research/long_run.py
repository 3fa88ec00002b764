"""The long comparison: does play add to distillation? `python -m research.long_run
--out var/long_run`.

For each training seed: `sft`, `sft-double` (twice the steps: the plateau, and SFT's
answer to RL's extra time), `sft-rl`, and `sft-random` (the same RL rewarded by chance).
All are scored on frozen generated tasks and on recorded validation tasks, in greedy
plays of five trials like those of the leaderboard; nothing here reads a test task. Each
finished part is kept, so that a killed run goes on; seeds may be run by processes of
their own (`--seeds 0`), and a last call without `--seeds` puts their results together.
Invariant: arms of a seed are scored on the same episodes.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from autollm.agent.checkpoints import load_checkpoint
from autollm.agent.curriculum import train_tasks
from autollm.agent.generation import TransformersGenerator
from autollm.agent.grpo import train_grpo
from autollm.agent.policy import AgentPolicy, Play, play
from autollm.agent.profiles import TRAIN_SUITES, TrainConfig, load_profile
from autollm.agent.sft import train_sft
from autollm.agent.trajectories import simulate_trajectories
from autollm.core.files import write_atomic
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tables.snapshot import open_snapshot
from research.validation import FIRST_SEED, validation_envs

ARMS = ("base", "sft", "sft-double", "sft-rl", "sft-random")
RL_ARMS = ("sft-rl", "sft-random")
TRIALS = 5
FIRST_TASK = FIRST_SEED + 10_000
"""Its frozen generated tasks are its own: those of validation.py have chosen how RL
plays.
"""
RESAMPLES = 2000
Line = dict[str, Any]
Scores = dict[tuple[int, str], list[Line]]


def long_config(seed: int, **changes: Any) -> TrainConfig:
    """The configuration of one training seed."""
    long = {
        "sft": {"steps": 80, "learning_rate": 1e-5, "checkpoint_every": 40},
        "grpo": {
            "steps": 24,
            "groups": 12,
            "group_size": 8,
            "trials": TRIALS,
            "max_tokens": 400,
            "learning_rate": 6e-4,
            "kl_weight": 0.1,
            "temperature": 0.5,
            "credit": "turn",
            "first_trial": 2,
            "hold": 8.0,
            "checkpoint_every": 12,
        },
    }
    return load_profile("tiny", seed=seed, **{**long, **changes})


def train_arms(
    config: TrainConfig, table: OutcomeTable, out: Path
) -> dict[str, str]:
    """Checkpoint of each arm."""
    double = config.model_copy(
        update={
            "sft": config.sft.model_copy(update={"steps": 2 * config.sft.steps})
        }
    )
    chance = config.model_copy(
        update={"grpo": config.grpo.model_copy(update={"reward": "random"})}
    )
    paths = {"base": config.base_path}
    for arm, stage in (("sft", config), ("sft-double", double)):
        paths[arm] = str(out / arm / "final")
        if not Path(paths[arm]).exists():
            train_sft(
                stage,
                simulate_trajectories(stage, table, TRAIN_SUITES),
                config.base_path,
                out / arm,
            )
    for arm, stage in (("sft-rl", config), ("sft-random", chance)):
        paths[arm] = str(
            train_grpo(
                stage, table, paths["sft"], out / arm, suites=TRAIN_SUITES
            )
        )
    return paths


def score_arm(
    checkpoint: str, table: OutcomeTable, n_tasks: int, n_seeds: int
) -> list[Line]:
    """One line an episode: tasks, latent regret after each trial, counts of calls."""
    loaded = load_checkpoint(checkpoint)
    generator = TransformersGenerator(loaded.model, loaded.tokenizer)
    recorded = [
        t.with_(trials=TRIALS)
        for t in train_tasks(TRAIN_SUITES, table, split="validation")
    ]
    return [
        *_lines(
            "generated",
            play(validation_envs(n_tasks, TRIALS, FIRST_TASK), generator),
        ),
        *_lines(
            "recorded",
            AgentPolicy("agent", generator).play_many(
                recorded, table, range(n_seeds)
            ),
        ),
    ]


def _lines(tasks: str, plays: Sequence[Play]) -> list[Line]:
    return [
        {
            "tasks": tasks,
            "regret": p.episode.regret_curve(latent=True).tolist(),
            "calls": p.n_calls,
            "malformed": p.n_malformed,
            "repeated": sum(t.status == "repeated" for t in p.episode.trials),
        }
        for p in plays
    ]


def summarize(scored: Scores) -> list[Line]:
    """A row per arm and kind of tasks."""
    played = sorted(
        {line["tasks"] for lines in scored.values() for line in lines}
    )
    return [
        {"arm": arm, "tasks": tasks, **_compared(scored, arm, tasks)}
        for arm, tasks in itertools.product(ARMS, played)
    ]


def _compared(scored: Scores, arm: str, tasks: str) -> Line:
    """Mean latent regret over the trials and at each k, and the difference from `sft`
    paired by episode, over all trials and over those after the first, which RL rewards;
    95 % intervals resample training seeds and episodes.
    """
    seeds = sorted({seed for seed, _ in scored})

    def lines(seed: int, name: str) -> list[Line]:
        return [line for line in scored[seed, name] if line["tasks"] == tasks]

    regret, sft = (
        np.array(
            [[line["regret"] for line in lines(seed, name)] for seed in seeds]
        )
        for name in (arm, "sft")
    )
    said = [line for seed in seeds for line in lines(seed, arm)]
    out = {
        "regret": regret.mean(),
        **{
            f"regret_{k + 1}": v for k, v in enumerate(regret.mean(axis=(0, 1)))
        },
        **_gap("", (regret - sft).mean(axis=2)),
        **_gap("later_", (regret - sft)[:, :, 1:].mean(axis=2)),
        "malformed": sum(x["malformed"] for x in said)
        / sum(x["calls"] for x in said),
        "repeated": sum(x["repeated"] for x in said)
        / (regret.shape[2] * len(said)),
    }
    return {
        "n_training_seeds": len(seeds),
        "n_episodes": len(said),
        **{k: round(float(v), 4) for k, v in out.items()},
    }


def _gap(prefix: str, gap: np.ndarray) -> dict[str, float]:
    """Mean of differences [training seeds, episodes] and its interval."""
    rng, (n_seeds, n_episodes) = np.random.default_rng(0), gap.shape
    resampled = (
        (
            rng.integers(n_seeds, size=n_seeds),
            rng.integers(n_episodes, size=n_episodes),
        )
        for _ in range(RESAMPLES)
    )
    low, high = np.quantile(
        [gap[np.ix_(*chosen)].mean() for chosen in resampled], [0.025, 0.975]
    )
    return {
        f"{prefix}minus_sft": gap.mean(),
        f"{prefix}low": low,
        f"{prefix}high": high,
    }


def write_results(out: Path, rows: list[Line], seeds: Sequence[int]) -> None:
    """results.csv, results.json; and reward and KL of every RL arm and step, curves.csv
    and curves.svg.
    """
    write_atomic(
        str(out / "results.json"),
        json.dumps({"rows": rows}, indent=1, default=float).encode(),
    )
    _write_csv(out / "results.csv", rows)
    steps = [
        step
        for arm in RL_ARMS
        for seed in seeds
        for step in _curve(out, arm, seed)
    ]
    _write_csv(out / "curves.csv", steps)
    _draw(out / "curves.svg", steps)


def _write_csv(path: Path, rows: list[Line]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _curve(out: Path, arm: str, seed: int) -> list[Line]:
    lines = (
        json.loads(x)
        for x in (out / f"seed-{seed}" / arm / "metrics.jsonl")
        .read_text()
        .splitlines()
    )
    steps = {
        m["step"]: m for m in lines if "reward" in m
    }  # a resumed run said some steps twice
    return [
        {
            "arm": arm,
            "seed": seed,
            "step": step,
            **{k: round(m[k], 5) for k in ("reward", "kl", "entropy")},
        }
        for step, m in steps.items()
    ]


def _draw(path: Path, steps: list[Line]) -> None:
    """Reward and KL by step: thin lines are training seeds, thick ones their mean."""
    with rc_context(
        {"svg.hashsalt": "autollm", "svg.fonttype": "none", "font.size": 9}
    ):
        figure = Figure(figsize=(8, 3), layout="constrained")
        for axes, name, label in zip(
            figure.subplots(1, 2),
            ("reward", "kl"),
            ("mean reward of a step", "KL from SFT, nats a token"),
            strict=True,
        ):
            for arm, colour in zip(
                RL_ARMS, ("#3f7d20", "#8a8a8a"), strict=True
            ):
                own = [s for s in steps if s["arm"] == arm]
                curves = np.array(
                    [
                        [s[name] for s in own if s["seed"] == seed]
                        for seed in sorted({s["seed"] for s in own})
                    ]
                )
                xs = 1 + np.arange(curves.shape[1])
                axes.plot(xs, curves.T, color=colour, lw=0.7, alpha=0.5)
                axes.plot(
                    xs, curves.mean(axis=0), color=colour, lw=2, label=arm
                )
            axes.set(xlabel="step", ylabel=label)
        axes.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def run(
    table: OutcomeTable,
    out: Path,
    seeds: Sequence[int],
    n_tasks: int = 1024,
    n_seeds: int = 10,
    **changes: Any,
) -> list[Line]:
    """Train and score all arms of all seeds; see the module."""
    scored = {}
    for seed in seeds:
        paths = train_arms(
            long_config(seed, **changes), table, out / f"seed-{seed}"
        )
        for arm in ARMS:
            kept = (
                out if arm == "base" else out / f"seed-{seed}"
            ) / f"scores-{arm}.json"  # all seeds start from the same base
            if not kept.exists():
                write_atomic(
                    str(kept),
                    json.dumps(
                        score_arm(paths[arm], table, n_tasks, n_seeds)
                    ).encode(),
                )
            scored[seed, arm] = json.loads(kept.read_text())
        write_results(
            out, summarize(scored), [s for s in seeds if (s, "base") in scored]
        )
    return summarize(scored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("var/long_run"))
    parser.add_argument("--home", default="var")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    for row in run(
        open_snapshot(arguments.home), arguments.out, arguments.seeds
    ):
        print(json.dumps(row, default=float))


if __name__ == "__main__":
    main()
