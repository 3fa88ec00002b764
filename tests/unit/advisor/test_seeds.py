from __future__ import annotations

import numpy as np
import pytest

from autollm.advisor.evidence.evidence import LogOptions, read_evidence
from autollm.advisor.evidence.seeds import without_seed_shifts
from tests.unit.advisor.sweeps import write_csv


def runs_of(shifts, noise=0.0, seeds_of=None):
    """Ten cells of values 2.0, 2.1 ...; odd cells have seeds 0 and 1, even ones 1 and
    2, unless said otherwise."""
    rng = np.random.default_rng(0)
    runs = []
    for cell in range(10):
        seeds = (0, 1) if cell % 2 else (1, 2)
        for seed in seeds_of or seeds:
            value = 2 + 0.1 * cell + shifts[seed] + noise * rng.normal()
            runs.append(
                {
                    "run_id": f"r{cell}-{seed}",
                    "experiment_id": "e",
                    "config_id": f"c{cell:02d}",
                    "seed": seed,
                    "status": "finished",
                    "objective_value": value,
                }
            )
    return runs


def means(runs):
    cells = {}
    for run in runs:
        cells.setdefault(run["config_id"], []).append(run["objective_value"])
    return np.array([np.mean(cells[c]) for c in sorted(cells)])


def test_seeds__cells_of_different_seeds__differences_are_those_of_the_cells():
    runs = runs_of((0.5, 0.0, -0.5), noise=0.001)
    before = np.diff(means(runs))
    after = np.diff(means(without_seed_shifts(runs)))
    assert np.abs(before - 0.1).max() > 0.4
    np.testing.assert_allclose(after, 0.1, atol=0.01)


def test_seeds__level__stays():
    runs = runs_of((0.5, 0.0, -0.5), noise=0.001)
    after = without_seed_shifts(runs)
    total = [
        np.mean([r["objective_value"] for r in some]) for some in (runs, after)
    ]
    assert total[0] == pytest.approx(total[1])


def test_seeds__same_in_all_cells__nothing_changes():
    runs = runs_of((0.5, 0.0, -0.5), seeds_of=(0, 1, 2))
    assert without_seed_shifts(runs) is runs


def test_seeds__that_shift_nothing__are_shrunk_away():
    runs = runs_of((0.0, 0.0, 0.0), noise=0.05)
    after = without_seed_shifts(runs)
    moved = [
        a["objective_value"] - b["objective_value"]
        for a, b in zip(after, runs, strict=True)
    ]
    assert np.abs(moved).max() < 0.02


def test_seeds__not_linked_by_any_cell__nothing_is_taken_out():
    runs = [r for r in runs_of((0.5, 0.0, -0.5)) if r["seed"] != 1]
    assert without_seed_shifts(runs) is runs


def test_evidence__seeds_that_differ_by_cell__outcomes_are_compared_without_them(
    tmp_path,
):
    rows = []
    for cell in range(10):
        for seed in (0, 1) if cell % 2 else (1, 2):
            rate = 2.0 ** (-12 + cell / 2)
            rows.append(
                {
                    "lr": f"{rate:.6g}",
                    "params": 1e8,
                    "tokens": 2e9,
                    "seed": seed,
                    "val_loss": 2 + 0.1 * cell + (0.5, 0.0, -0.5)[seed],
                }
            )
    path = write_csv(tmp_path / "runs.csv", rows)
    said = LogOptions(
        "val_loss:min", ("lr",), {"params": "params", "tokens": "tokens"}
    )
    table = read_evidence([path], said).table
    np.testing.assert_allclose(np.diff(table.losses(0)), 0.1, atol=1e-3)
