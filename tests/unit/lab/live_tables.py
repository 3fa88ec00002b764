"""Tiny levels of every family, with a table of recorded rows each, for tests of live
plays; and a live evaluation in a process of its own.

    python -m tests.unit.lab.live_tables FOLDER OUT_DIR    evaluates two policies on the tiny pretraining task, prints every regret
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

from autollm.core.ids import Origin, experiment_id
from autollm.core.metrics import Metric
from autollm.gym.tables.outcome_table import COLUMNS, Experiment, OutcomeTable
from autollm.gym.tasks.suites import Suite
from autollm.gym.tasks.task import Task
from autollm.lab import families
from autollm.lab.corpus import Corpus
from autollm.lab.domains import Domains
from autollm.lab.families import data_mixture
from autollm.lab.families.architecture import ARCHITECTURE
from autollm.lab.families.data_mixture import DATA_MIXTURE
from autollm.lab.families.optimizer import OPTIMIZER
from autollm.lab.families.pretraining import PRETRAINING
from autollm.lab.families.rl_tuning import COMPLETIONS_A_STEP, RL_TUNING
from autollm.lab.launchers import LocalLauncher
from autollm.lab.live import LiveLab
from autollm.lab.spec import Level
from autollm.lab.trainers import pretraining

LEVELS = {
    "pretraining": Level(
        "t1", "test", {"width": 16, "layers": 1, "tokens": 2**11}
    ),
    "optimizer": Level(
        "t1", "test", {"width": 16, "layers": 1, "tokens": 2**11}
    ),
    "architecture": Level(
        "t1",
        "test",
        {"param_budget": 20_000, "flop_budget": 2e8, "batch_tokens": 256},
    ),
    "data_mixture": Level(
        "t1",
        "test",
        {"width": 16, "layers": 1, "tokens": 2**11, "rate_log2": -6.0},
    ),
    "rl_tuning": Level(
        "s1",
        "test",
        {
            "task": "sorting",
            "width": 16,
            "layers": 1,
            "completions": COMPLETIONS_A_STEP,
        },
    ),
}
TINY = {
    f.name: dataclasses.replace(f, levels=(LEVELS[f.name],))
    for f in (PRETRAINING, OPTIMIZER, ARCHITECTURE, DATA_MIXTURE, RL_TUNING)
}
GROUPS = {"rl_tuning": "sorting"}
N_CELLS = 8


def text():
    tokens = np.random.default_rng(0).integers(0, 32, 60_000).astype(np.int16)
    return Corpus(tokens[:20_000], tokens[20_000:], "made-up")


def domains():
    rng = np.random.default_rng(0)

    def tokens(n):
        return {
            name: rng.integers(20 * i, 20 * (i + 1), n).astype(np.int16)
            for i, name in enumerate(data_mixture.DOMAINS)
        }

    return Domains(tokens(700), tokens(16_500))


def table_of(name):
    """The tiny level of a family as a table: N_CELLS cells with made-up losses, 3.0 for
    the first, then 3.1, 3.2 ...
    """
    family, level = TINY[name], LEVELS[name]
    cells = [
        c for c in family.design(level) if c.get("batch_tokens", 64) <= 256
    ][:: 3 if name == "pretraining" else 1][:N_CELLS]
    points = np.array([family.space.encode(c) for c in cells])
    losses = 3.0 + 0.1 * np.arange(len(cells))
    origin = Origin(f"lab-{name}", GROUPS.get(name, ""))
    fidelity = family.fidelity(level)
    experiment = Experiment(
        experiment_id(origin, fidelity),
        f"{name} t1",
        origin.source,
        name,
        fidelity,
        family.flops(level),
        family.objective.name,
        family.objective.direction,
        family.space,
        tuple(Metric(m.name, direction=m.direction) for m in family.secondary),
        group=origin.group,
    )
    columns = {c: np.ones(len(cells), dtype) for c, dtype in COLUMNS.items()}
    columns |= {
        "objective": losses if family.objective.direction == "min" else -losses,
        "latent": losses,
        "diverged": np.zeros(len(cells), bool),
    }
    metrics = np.tile(losses, len(family.secondary))
    return OutcomeTable(
        "tiny",
        (experiment,),
        np.array([0, len(cells)]),
        columns,
        (points,),
        metrics,
        metrics.copy(),
    )


def task_of(table, **changes):
    return Task(
        "tiny/t1",
        "tiny-v1",
        1,
        "test",
        table.experiments[0].experiment_id,
        (),
        trials=3,
        target_rows="all",
    ).with_(**changes)


class Inline:
    """Trains in this process; `asked` are the runs, in order."""

    def __init__(self):
        self.slots, self.asked = 1, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def submit(self, work, run, *rest):
        self.asked.append(run)
        return lambda: work(run, *rest)

    def wait(self, tickets):
        return tickets

    def result(self, ticket):
        ticket()


def lab_in(folder, launcher, **changes):
    return LiveLab(
        folder / "inbox",
        folder / "cache",
        folder / "locks",
        make_launcher=lambda: launcher,
        **changes,
    )


def evaluate_live(folder, out, launcher):
    from autollm.evaluation.runner import evaluate

    table = table_of("pretraining").with_outcomes_from(lab_in(folder, launcher))
    suite = Suite(
        "tiny-v1", 1, "pretraining", "lab-pretraining", "", (task_of(table),)
    )
    return evaluate(
        [suite],
        ["random", "pool-centre"],
        2,
        table,
        out_url=str(out),
        target_rows="all",
    )


if __name__ in (
    "__main__",
    "__mp_main__",
):  # here and in the process that trains
    families.FAMILIES["pretraining"] = TINY["pretraining"]
    pretraining.load = lambda *_: text()
if __name__ == "__main__":
    results = evaluate_live(
        Path(sys.argv[1]), Path(sys.argv[2]), LocalLauncher()
    )
    print(
        json.dumps(
            {
                "regret": [r.regret for r in results],
                "trials": [r.trials_json for r in results],
            }
        )
    )
