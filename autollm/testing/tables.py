"""Small synthetic tables: a bowl whose optimum moves with scale on a grid of 7 x 5, and
one table a family of spaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autollm.core.metrics import Metric
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.gym.tables.outcome_table import (
    COLUMNS,
    Experiment,
    OutcomeTable,
    oriented,
)
from autollm.gym.tasks.task import Task
from autollm.snapshots.smoothing import smooth

SPACE = Space(
    (
        Knob(
            "learning_rate",
            "log",
            tuple(2.0 ** np.arange(-10, -6.9, 0.5)),
            step=0.5,
            role="rate",
        ),
        Knob(
            "batch_tokens",
            "log",
            tuple(2.0 ** np.arange(6, 10.1)),
            unit="tokens",
            step=1.0,
            role="size",
        ),
    )
)


def table_of_rows(
    experiments: Sequence[Experiment],
    points: Sequence[np.ndarray],
    objectives: Sequence[np.ndarray],
) -> OutcomeTable:
    """A table called as its source: rows at points [n, d] with objectives [n], of one
    run each at a cost of one; NaN is diverged.
    """
    columns = {}
    n_rows = sum(map(len, points))
    for name, dtype in COLUMNS.items():
        columns[name] = np.ones(n_rows, dtype)
    columns["objective"] = np.concatenate(objectives)
    columns["diverged"] = np.isnan(columns["objective"])
    latents = []
    for experiment, x, objective in zip(
        experiments, points, objectives, strict=True
    ):
        loss = oriented(objective, experiment.direction)
        gridded = experiment.space.gridded
        latents.append(smooth(x, loss, np.ones(len(x)), gridded))
    columns["latent"] = np.concatenate(latents)
    offsets = np.cumsum([0, *map(len, points)])
    name = experiments[0].source
    return OutcomeTable(
        name, tuple(experiments), offsets, columns, tuple(points)
    )


def make_table(
    n_experiments: int = 4,
    noise: float = 0.0,
    seed: int = 0,
    direction: str = "min",
) -> OutcomeTable:
    """Experiments e0 ... of growing size; row losses are exact bowls plus noise; one
    diverged row each (NaN).
    """
    rng = np.random.default_rng(seed)
    experiments, points, losses = [], [], []
    for i in range(n_experiments):
        x = SPACE.grid
        optimum = np.array([-7.5 - 0.5 * i, 7.0 + 0.5 * i])
        loss = (
            3
            - 0.2 * i
            + 0.1 * ((x - optimum) ** 2).sum(axis=1)
            + noise * rng.normal(size=len(x))
        )
        loss[np.argmax(loss)] = np.nan
        experiments.append(
            Experiment(
                f"toy:{i}",
                f"toy {i}",
                "toy",
                "pretraining",
                {"params": 1e4 * 4**i, "tokens": 1e5 * 4**i},
                6e9 * 16.0**i,
                "val_loss",
                direction,
                SPACE,
            )
        )
        points.append(x)
        losses.append(loss if direction == "min" else -loss)
    return table_of_rows(experiments, points, losses)


def make_task(table: OutcomeTable, **changes: object) -> Task:
    """The most expensive experiment from all others."""
    ids = [e.experiment_id for e in table.experiments]
    task = Task(
        f"toy/{len(ids)}",
        "toy-v1",
        1,
        "test",
        ids[-1],
        tuple(ids[:-1]),
        trials=3,
    )
    return task.with_(**changes)


def make_rich_table(**changes: object) -> OutcomeTable:
    """The toy table with metrics: `accuracy` (max, another optimum, missing in the
    first row) and `params` (no direction, by batch size).
    """
    table = make_table(**changes)
    values, latents = [], []
    for points in table.points:
        accuracy = -((points - [-8.5, 9.0]) ** 2).sum(axis=1)
        accuracy[0] = np.nan
        values += [accuracy, 100.0 * points[:, 1]]
        latents += [
            smooth(points, oriented(accuracy, "max"), np.ones(len(points))),
            np.full(len(points), np.nan),
        ]
    metrics = (Metric("accuracy", direction="max"), Metric("params"))
    experiments = tuple(replace(e, metrics=metrics) for e in table.experiments)
    return replace(
        table,
        experiments=experiments,
        metric_values=np.concatenate(values),
        metric_latents=np.concatenate(latents),
    )


def with_curves(table: OutcomeTable, direction: str = "min") -> OutcomeTable:
    """A table with curves of `train_loss` at twentieths of a run: they fall to the
    row's loss, order rows alike throughout, and are NaN from the middle on where the
    row diverged; the first row of each experiment logged nothing.
    """
    shares, curves = np.arange(1, 21) / 20, []
    for e, points in enumerate(table.points):
        for row in range(len(points)):
            value = 4 * np.exp(-20 * shares) + table.losses(e)[row]
            value[(shares > 0.5) & table.column("diverged", e)[row]] = np.nan
            curves.append(
                np.column_stack(
                    [shares, value if direction == "min" else -value]
                )[: 20 if row else 0]
            )
    experiments = tuple(
        replace(e, signal=Metric("train_loss", direction=direction))
        for e in table.experiments
    )
    offsets = np.cumsum([0, *map(len, curves)])
    return replace(
        table,
        experiments=experiments,
        curve_offsets=offsets,
        curve_points=np.concatenate(curves),
    )


MIXED = Space(
    (
        Knob("optimizer", "categorical", ("adam", "sgd")),
        Knob(
            "momentum",
            "linear",
            (0.0, 0.5, 0.9),
            step=0.1,
            when=("optimizer", ("sgd",)),
        ),
        Knob("heads", "list", (4, 8, 16), positions=(2, 3)),
        Knob("mixture", "simplex", ("code", "text", "web")),
    ),
    "mixed",
)
"""A category, a knob that hangs on it, a list of two or three entries, a mixture."""


def mixed_configuration(rng: np.random.Generator) -> dict:
    """A random configuration of MIXED, with weights of 4 decimals."""
    weights = np.round(rng.dirichlet(np.ones(3)), 4)
    weights[2] = round(1 - weights[0] - weights[1], 4)
    sgd = rng.random() < 0.5
    return {
        "optimizer": "sgd" if sgd else "adam",
        **({"momentum": float(rng.choice([0.0, 0.5, 0.9]))} if sgd else {}),
        "heads": rng.choice([4, 8, 16], int(rng.integers(2, 4))).tolist(),
        "mixture": dict(
            zip(("code", "text", "web"), weights.tolist(), strict=True)
        ),
    }


def make_mixed_table(
    n_experiments: int = 3, n_rows: int = 40, seed: int = 0
) -> OutcomeTable:
    """Random configurations of MIXED, another set at every level; loss is the squared
    distance from one of them.
    """
    rng = np.random.default_rng(seed)
    experiments, points, losses = [], [], []
    for i in range(n_experiments):
        x = np.array(
            [MIXED.encode(mixed_configuration(rng)) for _ in range(n_rows)]
        )
        experiments.append(
            Experiment(
                f"mixed:{i}",
                f"mixed {i}",
                "mixed",
                "data_mixture",
                {"params": 1e4 * 4**i},
                6e9 * 16.0**i,
                "val_loss",
                "min",
                MIXED,
            )
        )
        points.append(x)
        losses.append(3 - 0.2 * i + 0.1 * ((x - x[i]) ** 2).sum(axis=1))
    return table_of_rows(experiments, points, losses)


FAMILIES = {
    "architecture": Space(
        (
            Knob("depth", "integer", (2, 4, 6), step=2.0),
            Knob("heads", "list", (4, 8, 16), positions=(2, 6)),
            Knob("bias", "categorical", (False, True)),
        ),
        "architecture",
    ),
    "pretraining": SPACE,
    "rl_tuning": Space(
        (
            Knob("kl_weight", "log", (0.001, 0.002, 0.004, 0.008), step=1.0),
            Knob("group_size", "ordinal", (4, 8, 16)),
            Knob("loss", "categorical", ("grpo", "dapo")),
            Knob(
                "clip",
                "linear",
                (0.1, 0.2, 0.3),
                step=0.1,
                when=("loss", ("dapo",)),
            ),
        ),
        "rl_tuning",
    ),
    "data_mixture": Space(
        (Knob("mixture", "simplex", ("books", "code", "web", "wiki")),),
        "data_mixture",
    ),
}
"""A space of each family: with and without a finite grid, with every scale."""


def _recorded(space: Space, rng: np.random.Generator) -> np.ndarray:
    """Two thirds of a space's grid, or up to 40 random points."""
    if space.grid is not None:
        n = len(space.grid)
        return space.grid[np.sort(rng.choice(n, 2 * n // 3, replace=False))]
    points = []
    for _ in range(40):
        points.append(space.encode(space.decode(rng.uniform(*space.window))))
    return np.unique(points, axis=0)


def make_family_table(
    family: str, n_experiments: int = 3, seed: int = 0
) -> OutcomeTable:
    """Bowls over recorded rows of a family's space: two thirds of its grid, or up to 40
    random configurations.
    """
    space, rng = FAMILIES[family], np.random.default_rng(seed)
    experiments, points, losses = [], [], []
    for i in range(n_experiments):
        x = _recorded(space, rng)
        experiments.append(
            Experiment(
                f"{family}:{i}",
                f"{family} {i}",
                family,
                family,
                {"params": 1e4 * 4**i},
                6e9 * 16.0**i,
                "loss",
                "min",
                space,
            )
        )
        points.append(x)
        losses.append(
            3 + ((x - x[i]) ** 2).sum(axis=1) + 0.02 * rng.normal(size=len(x))
        )
    return table_of_rows(experiments, points, losses)
