"""Step Law's dense table straight from its CSV, for tests of policies and of the
protocol (needs AUTOLLM_DATA_DIR).
"""

from __future__ import annotations

import csv
import os
from functools import cache
from pathlib import Path

import numpy as np

from autollm.core.ids import Origin, experiment_id
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.gym.tables.outcome_table import COLUMNS, Experiment, OutcomeTable
from autollm.snapshots.smoothing import smooth

SKIP = "the public Step Law table is absent: set AUTOLLM_DATA_DIR"


def csv_path() -> Path | None:
    """The table's path, or None where it is absent."""
    folder = os.environ.get("AUTOLLM_DATA_DIR")
    path = Path(folder or "", "steplaw", "dense_lr_bs_loss.csv")
    return path if folder and path.exists() else None


@cache
def load_table(latent: bool = True) -> OutcomeTable:
    """17 experiments; `latent=False` leaves the smoothed column at the recorded losses
    (faster).
    """
    cells: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    with open(csv_path()) as handle:
        for row in csv.DictReader(handle):
            point = (
                round(2 * np.log2(float(row["lr"]))) / 2,
                np.log2(int(row["bs"]) * 2048),
            )
            cells.setdefault(
                (int(float(row["N"])), int(float(row["D"]))), []
            ).append((*point, float(row["smooth loss"])))
    rows = np.concatenate([np.array(v) for v in cells.values()])
    levels = [
        tuple(float(f"{2.0**p:.9g}") for p in np.unique(rows[:, j]))
        for j in (0, 1)
    ]
    space = Space(
        (
            Knob("learning_rate", "log", levels[0], step=0.5, role="rate"),
            Knob("batch_tokens", "log", levels[1], unit="tokens", role="size"),
        ),
        "steplaw",
    )
    experiments, points, losses = [], [], []
    for params, tokens in sorted(cells, key=lambda key: float(key[0]) * key[1]):
        values = np.array(sorted(cells[params, tokens]))
        fidelity = {"params": float(params), "tokens": float(tokens)}
        experiments.append(
            Experiment(
                experiment_id(
                    Origin("steplaw"), {"params": params, "tokens": tokens}
                ),
                f"{params:.3g}/{tokens:.3g}",
                "steplaw",
                "pretraining",
                fidelity,
                6.0 * params * tokens,
                "smooth_loss",
                "min",
                space,
            )
        )
        points.append(values[:, :2])
        losses.append(values[:, 2])
    objective = np.concatenate(losses)
    columns = {
        name: np.ones(len(objective), dtype) for name, dtype in COLUMNS.items()
    }
    columns["objective"], columns["diverged"] = objective, objective > 3.5
    columns["cost_flops"] = np.concatenate(
        [
            np.full(len(p), e.compute_flops)
            for p, e in zip(points, experiments, strict=True)
        ]
    )
    columns["cost_device_hours"] = np.full(len(objective), np.nan)
    columns["latent"] = (
        np.concatenate(
            [
                smooth(p, v, np.ones(len(v)))
                for p, v in zip(points, losses, strict=True)
            ]
        )
        if latent
        else objective
    )
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in points])])
    return OutcomeTable(
        "steplaw-csv", tuple(experiments), offsets, columns, tuple(points)
    )
