"""How fast the gym is, as ratios to speeds that a reader knows: a Python dict, and Syne
Tune's tabular blackbox.

Everything is measured in one process in alternating rounds, warm, and the quickest
round of each counts, since other processes slow the others. Opening a large snapshot is
measured in a fresh process. Invariant: a play is measured whole, repeats, ledger and
rewards included; only resets stand outside the clock.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from autollm.core.errors import SetupError
from autollm.core.extras import naming_extra
from autollm.core.files import scratch_folder
from autollm.core.progress import say
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.gym.environments.scalar import LLMConfigEnv
from autollm.gym.environments.vector import LLMConfigVectorEnv
from autollm.gym.tables.outcome_table import COLUMNS, Experiment, OutcomeTable
from autollm.gym.tasks.task import Task
from autollm.snapshots import building

BATCH = 4096
N_TASKS, N_SEEDS, TRIALS = 13, 20, 5
"""As one evaluation has them: a batch is 13 tasks of 20 seeds, played by some 16
policies at once.
"""
SCALAR_TRIALS, LOOKUPS = 64, 1000
LARGE = (1000, 1000)
"""Experiments of the large snapshot, and configurations of each."""


def grid_table(
    n_experiments: int,
    n_levels: tuple[int, int],
    share: float = 1.0,
    seed: int = 0,
) -> OutcomeTable:
    """Moving bowls over a grid of learning rates and batch sizes, a `share` of it
    recorded. Only its shape matters here.
    """
    rng = np.random.default_rng(seed)
    knobs = [
        Knob(name, "log", tuple((2.0 ** np.arange(n)).tolist()), step=1.0)
        for name, n in zip(("rate", "batch"), n_levels, strict=True)
    ]
    space = Space(tuple(knobs), "bench")
    kept = [
        np.sort(
            rng.choice(
                len(space.grid), round(share * len(space.grid)), replace=False
            )
        )
        for _ in range(n_experiments)
    ]
    points = [space.grid[k] for k in kept]
    objective = np.concatenate(
        [
            np.square(p - p.mean(axis=0) - 0.01 * i).sum(axis=1)
            for i, p in enumerate(points)
        ]
    )
    columns = {
        name: np.ones(len(objective), dtype) for name, dtype in COLUMNS.items()
    }
    columns |= {
        "objective": objective,
        "latent": objective.copy(),
        "diverged": np.zeros(len(objective), bool),
    }
    experiments = tuple(
        Experiment(
            f"bench:{i}",
            f"bench {i}",
            "bench",
            "pretraining",
            {"params": 2.0**8 + i},
            1e9 * (i + 1),
            "loss",
            "min",
            space,
        )
        for i in range(n_experiments)
    )
    return OutcomeTable(
        "bench",
        experiments,
        np.concatenate([[0], np.cumsum([len(p) for p in points])]),
        columns,
        tuple(points),
    )


def tasks_of(table: OutcomeTable, n_tasks: int, trials: int) -> list[Task]:
    """Tasks on the most expensive experiments, with up to 14 cheaper ones as
    evidence.
    """
    ids = [e.experiment_id for e in table.experiments]
    return [
        Task(
            f"bench/{i}",
            "bench",
            1,
            "test",
            ids[-1 - i],
            tuple(ids[max(0, len(ids) - 15 - i) : len(ids) - 1 - i]),
            trials=trials,
        )
        for i in range(n_tasks)
    ]


def measure_ratios(n_rounds: int = 200) -> dict[str, float | None]:
    """Speeds relative to a dict that is keyed by experiment and configuration, and to
    Syne Tune (None where it is not installed).
    """
    table = grid_table(
        17, (14, 13), share=0.64
    )  # the shape of Step Law's dense table
    clocks = {
        "dict": dict_clock(table),
        "scalar": scalar_clock(table),
        "lookup": lookup_clock(table),
        "step": vector_clock(table),
    }
    try:
        clocks["syne_tune"] = syne_tune_clock(table)
    except SetupError as error:
        say(f"scalar_vs_syne_tune is null: {error}")
    seconds = dict.fromkeys(clocks, float("inf"))
    for _ in range(n_rounds):
        for name, clock in clocks.items():
            seconds[name] = min(seconds[name], next(clock))
    return {
        "scalar_vs_dict": seconds["dict"] / seconds["scalar"],
        "lookup_vector_vs_dict": seconds["dict"] / seconds["lookup"],
        "step_vector_vs_dict": seconds["dict"] / seconds["step"],
        "scalar_vs_syne_tune": seconds["syne_tune"] / seconds["scalar"]
        if "syne_tune" in seconds
        else None,
    }


def dict_clock(table: OutcomeTable) -> Iterator[float]:
    """Seconds of one look-up of a configuration's loss in a Python dict, again and
    again.
    """
    losses: dict[tuple[Any, ...], float] = {}
    for e, experiment in enumerate(table.experiments):
        keys = [
            (experiment.experiment_id, *experiment.space.decode(p).values())
            for p in table.points[e]
        ]
        losses |= dict(zip(keys, table.losses(e).tolist(), strict=True))
    every = list(losses)
    keys = [
        every[i]
        for i in np.random.default_rng(0).integers(len(every), size=LOOKUPS)
    ]
    return _clock(lambda: _look_up(losses, keys), LOOKUPS)


def _look_up(losses: Mapping[Any, float], keys: list[Any]) -> None:
    for key in keys:
        losses[key]


def scalar_clock(table: OutcomeTable) -> Iterator[float]:
    """Seconds of an unwrapped step with an integer action: plays of SCALAR_TRIALS
    different rows.
    """
    env = LLMConfigEnv(
        tasks_of(table, 1, SCALAR_TRIALS)[0].with_(setting="pool-visible"),
        table,
    ).unwrapped
    actions = (
        np.random.default_rng(0)
        .choice(env.action_space.n, SCALAR_TRIALS, replace=False)
        .tolist()
    )

    def play() -> float:
        env.reset(seed=0)
        step = env.step
        begin = time.perf_counter()
        for action in actions:
            step(action)
        return (time.perf_counter() - begin) / SCALAR_TRIALS

    return _second(play)


def lookup_clock(table: OutcomeTable) -> Iterator[float]:
    """Seconds of a bare look-up in a batch of BATCH rows of all experiments."""
    rng = np.random.default_rng(0)
    experiments = rng.integers(len(table.experiments), size=BATCH)
    rows = rng.integers(np.diff(table.offsets)[experiments])
    return _clock(lambda: table.lookup(experiments, rows), BATCH)


def vector_clock(table: OutcomeTable) -> Iterator[float]:
    """Seconds of one environment's step in a batch of BATCH, plays of TRIALS random
    candidates.
    """
    env = LLMConfigVectorEnv(
        [tasks_of(table, N_TASKS, TRIALS)[i % N_TASKS] for i in range(BATCH)],
        table,
    )
    seeds, rng = np.arange(BATCH) // N_TASKS % N_SEEDS, np.random.default_rng(0)
    actions = [rng.integers(env.action_space.nvec) for _ in range(TRIALS)]

    def play() -> float:
        env.reset(seed=seeds)
        begin = time.perf_counter()
        for action in actions:
            env.step(action)
        return (time.perf_counter() - begin) / TRIALS / BATCH

    return _second(play)


def syne_tune_clock(table: OutcomeTable) -> Iterator[float]:
    """Seconds of one look-up in Syne Tune's tabular blackbox, which holds one
    experiment.

    Raises:
        SetupError: syne-tune is not installed.
    """
    with naming_extra("the comparison with Syne Tune"):
        import pandas as pd
        from syne_tune.blackbox_repository.blackbox_tabular import (
            BlackboxTabular,
        )
        from syne_tune.config_space import randint, uniform

    space, losses = (
        table.experiments[-1].space,
        table.losses(len(table.experiments) - 1),
    )
    configurations = [space.decode(p) for p in table.points[-1]]
    blackbox = BlackboxTabular(
        pd.DataFrame(configurations),
        {name: uniform(0.0, 1e9) for name in space.names},
        {"epochs": randint(1, 1)},
        losses.reshape(-1, 1, 1, 1),
        objectives_names=["loss"],
    )
    chosen = [
        configurations[i]
        for i in np.random.default_rng(0).integers(len(configurations), size=10)
    ]
    return _clock(
        lambda: [
            blackbox(configuration=c, fidelity={"epochs": 1}) for c in chosen
        ],
        len(chosen),
    )


def measure_opening() -> dict[str, float]:
    """In a fresh process: seconds and MB beyond the imports to open a suite of a
    snapshot of a million outcomes, and MB that a thousand environments on it add.
    """
    with scratch_folder("bench") as folder:
        home = str(folder)
        n_experiments, n_rows = LARGE
        building.freeze(grid_table(n_experiments, (n_rows // 25, 25)), home)
        done = subprocess.run(
            [sys.executable, "-c", _OPEN, home],
            capture_output=True,
            text=True,
            check=True,
        )
    return json.loads(done.stdout)


_OPEN = """
import json, os, resource, sys, time
from autollm.gym.environments.scalar import LLMConfigEnv
from autollm.gym.tables.snapshot import open_snapshot
from autollm.stages.gym_bench import N_TASKS, TRIALS, tasks_of

def peak_mb():
    # getrusage would count the process that started this one
    if os.path.exists("/proc/self/status"):
        for line in open("/proc/self/status"):
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

at_start, begin = peak_mb(), time.perf_counter()
table = open_snapshot(sys.argv[1], "bench")
tasks = tasks_of(table, N_TASKS, TRIALS)
opened = [LLMConfigEnv(task, table) for task in tasks]
for seed, env in enumerate(opened):
    env.reset(seed=seed)
open_s, open_mb = time.perf_counter() - begin, peak_mb() - at_start
thousand = [LLMConfigEnv(tasks[i % len(tasks)], table) for i in range(1000)]
for seed, env in enumerate(thousand):
    env.reset(seed=seed)
    env.step(0)
more_mb = peak_mb() - at_start - open_mb
found = {"open_s": open_s, "open_mb": open_mb, "thousand_envs_mb": more_mb}
print(json.dumps(found))
"""


def _clock(work: Callable[[], object], n: int) -> Iterator[float]:
    def timed() -> float:
        begin = time.perf_counter()
        work()
        return (time.perf_counter() - begin) / n

    return _second(timed)


def _second(play: Callable[[], float]) -> Iterator[float]:
    """Every second measurement: the one before it brings what is needed into the
    caches, on all sides alike.
    """
    while True:
        play()
        yield play()
