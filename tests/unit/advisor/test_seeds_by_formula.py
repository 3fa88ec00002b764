"""Seeds' common shifts against the two-way model that they are fitted by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.advisor.evidence.seeds import without_seed_shifts


def runs_of(losses, status="finished", experiment="e"):
    """Runs of losses [cells, seeds]; NaN: not run."""
    runs = []
    for cell, row in enumerate(losses):
        for seed, loss in enumerate(row):
            if not np.isnan(loss):
                runs.append(
                    {
                        "run_id": f"{experiment}-{cell}-{seed}",
                        "experiment_id": experiment,
                        "config_id": f"c{cell}",
                        "seed": seed,
                        "status": status,
                        "objective_value": float(loss),
                    }
                )
    return runs


def table(seed=0, shift=0.5, noise=0.01, n_cells=8, n_seeds=3):
    """Cells plus shifts plus noise, with a fifth of the runs left out."""
    rng = np.random.default_rng(seed)
    cells = 2 + rng.random(n_cells)
    shifts = shift * rng.normal(size=n_seeds)
    losses = (
        cells[:, None] + shifts + noise * rng.normal(size=(n_cells, n_seeds))
    )
    losses[rng.integers(n_cells), 0] = np.nan
    losses[rng.integers(n_cells), 1] = np.nan
    return losses, cells, shifts


def values(runs):
    return {run["run_id"]: run["objective_value"] for run in runs}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_without_seed_shifts__large_shifts__are_taken_out_of_cells_means(seed):
    losses, cells, _ = table(seed)
    runs = runs_of(losses)
    found = values(without_seed_shifts(runs))

    def worst(by_run):
        """How far differences of cells' means are off."""
        means = []
        for cell in range(len(cells)):
            mine = [
                v for k, v in by_run.items() if k.split("-")[1] == str(cell)
            ]
            means.append(np.mean(mine))
        off = np.array(means) - cells
        return np.ptp(off)

    assert worst(found) < 0.1
    assert worst(found) <= worst(values(runs)) + 0.02


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 2))
def test_without_seed_shifts__mean_of_an_experiment__stays(seed, shift):
    losses, _, _ = table(seed, shift)
    runs = runs_of(losses)
    before, after = values(runs), values(without_seed_shifts(runs))
    assert np.mean(list(after.values())) == pytest.approx(
        np.mean(list(before.values()))
    )


def test_without_seed_shifts__every_cell_has_every_seed__is_the_same_list():
    """There shifts change no comparison."""
    rng = np.random.default_rng(0)
    losses = rng.random((6, 1)) + rng.random((1, 3))
    runs = runs_of(losses)
    assert without_seed_shifts(runs) is runs


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_without_seed_shifts__noise_alone__moves_little(seed):
    losses, _, _ = table(seed, shift=0.0, noise=0.1)
    runs = runs_of(losses)
    before, after = values(runs), values(without_seed_shifts(runs))
    moved = [abs(after[k] - before[k]) for k in before]
    assert max(moved) < 0.2


@pytest.mark.parametrize("status", ["diverged", "failed", "killed", "running"])
def test_without_seed_shifts__runs_that_did_not_finish__are_as_they_were(
    status,
):
    losses, _, _ = table()
    stopped = runs_of(losses + 5, status, "e2")
    found = without_seed_shifts([*runs_of(losses), *stopped])
    assert [r for r in found if r["experiment_id"] == "e2"] == stopped


@pytest.mark.parametrize("odd", [None, float("nan"), float("inf")])
def test_without_seed_shifts__outcome_that_is_none__is_as_it_was(odd):
    losses, _, _ = table()
    runs = runs_of(losses)
    runs.append({**runs[0], "run_id": "odd", "objective_value": odd})
    found = values(without_seed_shifts(runs))
    assert repr(found["odd"]) == repr(odd)
    assert found["e-1-1"] != values(runs)["e-1-1"]


def test_without_seed_shifts__run_without_a_seed__is_as_it_was():
    losses, _, _ = table()
    runs = runs_of(losses)
    runs.append({**runs[0], "run_id": "odd", "seed": None})
    found = values(without_seed_shifts(runs))
    assert found["odd"] == runs[0]["objective_value"]


def test_without_seed_shifts__experiments__are_taken_apart():
    losses, _, _ = table(1)
    other, _, _ = table(2)
    together = without_seed_shifts(
        [*runs_of(losses), *runs_of(other, experiment="e2")]
    )
    apart = [
        *without_seed_shifts(runs_of(losses)),
        *without_seed_shifts(runs_of(other, experiment="e2")),
    ]
    assert values(together) == pytest.approx(values(apart))


def test_without_seed_shifts__nothing_given__is_nothing():
    assert without_seed_shifts([]) == []


def test_without_seed_shifts__runs_given__are_not_changed():
    losses, _, _ = table()
    runs = runs_of(losses)
    before = [dict(run) for run in runs]
    without_seed_shifts(runs)
    assert runs == before
