"""A small synthetic table for tests of the gym: a bowl whose optimum moves with scale, on an 7 x 5 grid."""

from __future__ import annotations

import numpy as np

from autollm.gym.smoothing import smooth
from autollm.gym.space import Knob, Space
from autollm.gym.table import COLUMNS, Experiment, OutcomeTable
from autollm.gym.task import Task

SPACE = Space((
    Knob("learning_rate", "log", tuple(2.0 ** np.arange(-10, -6.9, 0.5)), step=0.5, role="rate"),
    Knob("batch_tokens", "log", tuple(2.0 ** np.arange(6, 10.1)), unit="tokens", step=1.0, role="size"),
))


def make_table(n_experiments: int = 4, noise: float = 0.0, seed: int = 0, direction: str = "min") -> OutcomeTable:
    """Experiments e0 ... of growing size; row losses are exact bowls plus noise; one diverged row each (NaN)."""
    rng = np.random.default_rng(seed)
    experiments, points, losses = [], [], []
    for i in range(n_experiments):
        x = SPACE.grid
        optimum = np.array([-7.5 - 0.5 * i, 7.0 + 0.5 * i])
        loss = 3 - 0.2 * i + 0.1 * ((x - optimum) ** 2).sum(axis=1) + noise * rng.normal(size=len(x))
        loss[np.argmax(loss)] = np.nan
        experiments.append(Experiment(f"toy:{i}", f"toy {i}", "toy", "pretraining", {"params": 1e4 * 4**i, "tokens": 1e5 * 4**i},
                                      6e9 * 16.0**i, "val_loss", direction, SPACE))
        points.append(x)
        losses.append(loss if direction == "min" else -loss)
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in points])])
    objective = np.concatenate(losses)
    oriented = np.where(np.isnan(objective), np.nanmax(np.abs(objective)), np.abs(objective))
    columns = {name: np.ones(len(objective), dtype) for name, dtype in COLUMNS.items()}
    columns["objective"], columns["diverged"] = objective, np.isnan(objective)
    columns["latent"] = np.concatenate([
        smooth(p, oriented[offsets[i] : offsets[i + 1]], np.ones(len(p))) for i, p in enumerate(points)])
    return OutcomeTable("toy", tuple(experiments), offsets, columns, tuple(points))


def make_task(table: OutcomeTable, **changes: object) -> Task:
    """The dearest experiment from all others."""
    ids = [e.experiment_id for e in table.experiments]
    task = Task(f"toy/{len(ids)}", "toy-v1", 1, "test", ids[-1], tuple(ids[:-1]), trials=3)
    return task.with_(**changes)
