"""Trajectories to distil: a teacher plays train-split targets and generated landscapes.

Three kinds. `teacher`: the moving bowl plays a recorded training task to its end, where
configurations are written out (it knows no numbers of candidates); plays of high latent
regret are left out. `guided`: after a random number of given exploratory trials, the
all-knowing teacher (labels.py) makes one, on recorded training targets. `practice`: the
same on generated landscapes. In both only that turn, or the submission after a full
prefix, has loss. Invariant: no target is held out, and the metadata names every
recorded one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autollm.agent.curriculum import (
    episode_opener,
    generated_row,
    recorded_row,
    train_tasks,
)
from autollm.agent.labels import Grid
from autollm.agent.practice import explore, exploring_width, offered
from autollm.agent.profiles import TRAIN_SUITES, TrainConfig
from autollm.agent.provenance import assert_no_held_out
from autollm.agent.transcript import (
    Message,
    play_turn,
    run_call,
    submit_call,
    user_message,
)
from autollm.core.errors import CheckpointError
from autollm.core.files import write_atomic
from autollm.core.records import content_hash
from autollm.gym.environments.shortlist import has_numbers
from autollm.gym.environments.text import TextEnv
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.policies.registry import make_policy

KEEP = 0.7
"""Share of the teacher's plays that are kept, those of lowest latent regret."""
TRIALS = 5
FILE = "trajectories.jsonl"


@dataclass(frozen=True)
class TrajectorySet:
    """`rows`: {"messages", "kind", "target", "seed", "latent_regret"}.

    `metadata`: trained_on, experiments, table_id, suites, counts, digest.
    """

    rows: list[dict[str, Any]]
    metadata: dict[str, Any]

    def save(self, folder: str | Path) -> Path:
        """Write the set as one file, all or nothing."""
        path = Path(folder) / FILE
        lines = [
            json.dumps({"metadata": self.metadata}),
            *(json.dumps(r) for r in self.rows),
        ]
        write_atomic(str(path), ("\n".join(lines) + "\n").encode())
        return path


def load_trajectories(folder: str | Path) -> TrajectorySet:
    """A saved set.

    Raises:
        CheckpointError: nothing there, an altered file, or a held-out target in it.
    """
    path = Path(folder) / FILE
    if not path.exists():
        raise CheckpointError(
            f"{path} is missing. Fix: simulate the trajectories first."
        )
    try:
        head, *lines = path.read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        trajectories = TrajectorySet(rows, json.loads(head)["metadata"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is damaged: {error}. Fix: autollm run, which simulates the "
            "trajectories again."
        ) from error
    check_trajectories(trajectories)
    return trajectories


def check_trajectories(trajectories: TrajectorySet) -> None:
    """Check that no target is held out and that the rows are those that the metadata
    names.

    Raises:
        CheckpointError: otherwise.
    """
    assert_no_held_out(
        (r["target"] for r in trajectories.rows), "the set of trajectories"
    )
    actual = _digest(trajectories.rows)
    if actual != trajectories.metadata["digest"]:
        raise CheckpointError(
            f"trajectories have digest {actual}, expected "
            f"{trajectories.metadata['digest']}: they were altered. "
            "Fix: simulate them again."
        )


def simulate_trajectories(
    config: TrainConfig,
    table: OutcomeTable,
    suites: Sequence[str] = TRAIN_SUITES,
    n_conversations: int | None = None,
) -> TrajectorySet:
    """As many conversations as the SFT stage of `config` will see (or
    `n_conversations`), in a fixed random order.
    """
    total = n_conversations or config.sft.n_conversations
    rng = np.random.default_rng([31, config.seed])
    tasks = train_tasks(suites, table)
    n_practice = (
        total if not tasks else round(total * config.sft.practice_share)
    )
    n_teacher = (total - n_practice) // 3
    opener = episode_opener(tasks, table)
    written = [
        t
        for t in tasks
        if not has_numbers(table.experiments[table.index(t.target)].space)
    ]
    rows = _teacher_rows(opener, written, rng, n_teacher if written else 0)
    rows += [
        _guided(opener, recorded_row(tasks, rng, TRIALS), rng, "guided")
        for _ in range(total - n_practice - len(rows))
    ]
    rows += [
        _guided(
            opener,
            generated_row(rng, int(rng.integers(1, TRIALS + 1))),
            rng,
            "practice",
        )
        for _ in range(n_practice)
    ]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    recorded = sorted({r["target"] for r in rows if r["kind"] != "practice"})
    kinds = [r["kind"] for r in rows]
    words = "generated landscapes" + (
        f" and the train split of {', '.join(suites)}" if recorded else ""
    )
    out = TrajectorySet(
        rows,
        {
            "trained_on": words,
            "experiments": recorded,
            "table_id": table.table_id,
            "suites": list(suites),
            "counts": {
                k: kinds.count(k) for k in ("teacher", "guided", "practice")
            },
            "digest": _digest(rows),
        },
    )
    check_trajectories(out)
    return out


def _teacher_rows(
    opener: Any, tasks: Sequence[Any], rng: np.random.Generator, n: int
) -> list[dict[str, Any]]:
    plays = [
        _teacher(opener, recorded_row(tasks, rng, TRIALS))
        for _ in range(round(n / KEEP))
    ]
    return sorted(plays, key=lambda r: r["latent_regret"])[:n]


def _teacher(opener: Any, row: dict[str, Any]) -> dict[str, Any]:
    """The moving bowl plays to the end; every turn carries loss."""
    env = TextEnv(opener)
    messages = [user_message(env.reset(**row))]
    policy = make_policy("moving-bowl")
    policy.reset(
        env.episode.drawn.view,
        np.random.default_rng(env.episode.drawn.policy_seed),
    )
    while not env.episode.done:
        proposal = policy.ask()[0]
        play_turn(
            env,
            messages,
            run_call(env, env.episode.drawn.view.space.encode(proposal)),
        )
        policy.tell(env.episode.trials[-1])
    play_turn(env, messages, submit_call(env))
    return _row(env, messages, "teacher", row)


def _guided(
    opener: Any, row: dict[str, Any], rng: np.random.Generator, kind: str
) -> dict[str, Any]:
    """A given prefix of exploratory trials, then the label's trial; or, after a full
    prefix, the submission.
    """
    env = TextEnv(opener)
    messages = [user_message(env.reset(**row))]
    grid, width = Grid(env.episode), exploring_width(rng)
    for _ in range(int(rng.integers(0, row["trials"] + 1))):
        play_turn(
            env,
            messages,
            run_call(env, grid.cells[explore(env, grid, rng, width)]),
            given=True,
        )
    if env.episode.done:
        play_turn(env, messages, submit_call(env))
    else:
        cells, share = offered(env, grid, grid.weights())
        play_turn(
            env, messages, run_call(env, grid.cells[rng.choice(cells, p=share)])
        )
    return _row(env, messages, kind, row)


def _row(
    env: TextEnv, messages: list[Message], kind: str, row: dict[str, Any]
) -> dict[str, Any]:
    curve = env.episode.regret_curve(latent=True)
    return {
        "messages": messages,
        "kind": kind,
        "target": env.episode.drawn.task.target,
        "seed": row["seed"],
        "latent_regret": float(curve.mean()),
    }


def _digest(rows: list[dict[str, Any]]) -> str:
    return content_hash(json.dumps(rows, sort_keys=True))
