"""Tasks on which checkpoints are compared: `python -m research.validation
FOLDER... [--home HOME]`.

Frozen generated ones, where beside the agent stand two rules that use the same text
(copying the nearest cheap experiment's best rows, and the trend); and with a home, the
recorded validation tasks and those of far_tasks. Invariant: seeds of
generated tasks are never used for training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence

import numpy as np

from autollm.agent.curriculum import train_tasks
from autollm.agent.landscapes import make_landscape
from autollm.agent.policy import AgentPolicy, Play, play
from autollm.agent.profiles import TRAIN_SUITES
from autollm.agent.transcript import Message, traced_numbers
from autollm.gym.environments.text import TextEnv
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tables.snapshot import open_snapshot
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.task import Task

FIRST_SEED = 2_000_000_000
TRIALS = 3


def validation_envs(
    n_tasks: int, trials: int = TRIALS, first_seed: int = FIRST_SEED
) -> list[tuple[TextEnv, str]]:
    """Opened environments of the frozen tasks."""
    out = []
    for seed in range(first_seed, first_seed + n_tasks):
        landscape = make_landscape(seed)
        episode = start(
            landscape.task.with_(trials=trials), landscape.table, seed
        )
        env = TextEnv(lambda episode=episode: episode)
        out.append((env, env.reset()))
    return out


def far_tasks(
    suites: Sequence[str], table: OutcomeTable, ratio: float = 2.5
) -> list[Task]:
    """Train and validation targets with only the evidence that is at least `ratio`
    times cheaper, where that is two experiments or more: how a checkpoint extrapolates,
    seen without a test target.
    """
    tasks = [
        *train_tasks(suites, table),
        *train_tasks(suites, table, "validation"),
    ]

    def cost(experiment_id: str) -> float:
        return table.experiments[table.index(experiment_id)].compute_flops

    seen = sorted({e for t in tasks for e in (t.target, *t.evidence)}, key=cost)
    far = []
    for task in tasks:
        most = cost(task.target) / ratio
        evidence = tuple(e for e in seen if cost(e) <= most)
        if len(evidence) > 1:
            far.append(task.with_(evidence=evidence))
    return far


def traced_share(conversations: Sequence[list[Message]]) -> float:
    """Share of the numbers in thoughts that stand in what the agent had read before; 1
    where there are none.
    """
    counts = [traced_numbers(c) for c in conversations]
    total = sum(n for _, n in counts)
    return sum(t for t, _ in counts) / total if total else 1.0


def scores(plays: list[Play]) -> dict[str, float]:
    """Mean latent regret after each trial, mean realised regret, and shares of bad
    calls.
    """
    curves = np.array([p.episode.regret_curve(latent=True) for p in plays])
    trials = [t for p in plays for t in p.episode.trials]
    out = {
        f"regret_{k + 1}": float(v) for k, v in enumerate(curves.mean(axis=0))
    }
    out["realised"] = float(np.mean([p.episode.regret_curve() for p in plays]))
    out |= {
        status: float(np.mean([t.status == status for t in trials]))
        for status in ("repeated", "off_table")
    }
    calls = sum(p.n_calls for p in plays)
    out["malformed"] = sum(p.n_malformed for p in plays) / max(calls, 1)
    out["traced"] = traced_share([p.conversation for p in plays])
    out["calls"] = calls / len(plays)
    return out


def rule_regret(
    n_tasks: int, propose: Callable[[TextEnv, int], np.ndarray]
) -> list[float]:
    """Mean latent regret [TRIALS] of a rule `propose(env, trial) -> point`."""
    curves = []
    for env, _ in validation_envs(n_tasks):
        for k in range(TRIALS):
            env.episode.run_point(propose(env, k))
        curves.append(env.episode.regret_curve(latent=True))
    return np.mean(curves, axis=0).tolist()


def copy_nearest(env: TextEnv, k: int) -> np.ndarray:
    """The k-th best row of the most expensive cheap experiment."""
    table = env.episode.drawn.view.evidence[-1]
    return table.points[
        np.argsort(table.loss, kind="stable")[min(k, len(table.loss) - 1)]
    ]


def trend(env: TextEnv, k: int) -> np.ndarray:
    """The trend, then untried cells by distance from it."""
    cells = env.episode.drawn.view.candidates
    order = np.argsort(
        ((cells - env.summary.power_law_optimum) ** 2).sum(axis=1),
        kind="stable",
    )
    return cells[order[k]]


def main() -> None:
    from autollm.agent.generation import make_generator
    from autollm.agent.profiles import load_profile

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--tasks", type=int, default=256)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument(
        "--home",
        help="a state folder with a snapshot: score recorded validation tasks too",
    )
    parser.add_argument(
        "--seeds", type=int, default=20, help="of each recorded task"
    )
    arguments = parser.parse_args()
    print(
        json.dumps(
            {
                "copy-nearest": rule_regret(arguments.tasks, copy_nearest),
                "trend": rule_regret(arguments.tasks, trend),
            }
        )
    )
    recorded: dict[str, list[Task]] = {}
    if arguments.home:
        table = open_snapshot(arguments.home)
        for suite in TRAIN_SUITES:
            posed = {
                f"{suite} validation": train_tasks(
                    [suite], table, "validation"
                ),
                f"{suite} far": far_tasks([suite], table),
            }
            recorded |= {name: tasks for name, tasks in posed.items() if tasks}
    for checkpoint in arguments.checkpoints:
        generator = make_generator(
            load_profile(
                "tiny", generation={"temperature": arguments.temperature}
            ),
            checkpoint,
        )
        found = {
            "generated": scores(
                play(validation_envs(arguments.tasks), generator)
            )
        }
        for name, tasks in recorded.items():
            short = [t.with_(trials=TRIALS) for t in tasks]
            found[name] = scores(
                AgentPolicy("agent", generator).play_many(
                    short, table, range(arguments.seeds)
                )
            )
        for name, line in found.items():
            print(
                json.dumps(
                    {
                        "checkpoint": checkpoint,
                        "tasks": name,
                        **{k: round(v, 4) for k, v in line.items()},
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
