"""What may be said of a sealed level, and what may not."""

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from autollm.cli.main import app
from autollm.core.records import RunEnd, RunHeader, to_line
from autollm.gym.tasks.suites import load_suite
from autollm.lab import archive
from autollm.lab.families import FAMILIES
from autollm.lab.families.data_mixture import DATA_MIXTURE
from autollm.lab.families.pretraining import PRETRAINING
from autollm.lab.quality import Quality, qualities, shown, targets
from autollm.lab.spec import FRESH
from autollm.lab.verify import Comparison

LEVEL = PRETRAINING.level("fresh1")
MIDDLE = {"learning_rate": 2.0**-7, "batch_tokens": 512}


def made_up_runs(best, noise=0.0, diverged=0):
    """Logs of the fresh level: a bowl around a cell, a shift of each seed, noise, some diverged."""
    rng = np.random.default_rng(0)
    middle = np.log2([best["learning_rate"], best["batch_tokens"]])
    out = []
    for i, run in enumerate(PRETRAINING.runs(LEVEL)):
        at = np.log2([run.config["learning_rate"], run.config["batch_tokens"]])
        loss = (
            3.0
            + 0.1 * float(((at - middle) ** 2).sum())
            + run.seed
            + noise * rng.normal()
        )
        cost = {"flops": 1.0, "device_hours": 1.0}
        end = RunEnd("finished", {"val_loss": loss, "train_loss": loss}, cost)
        if i < diverged:
            end = dataclasses.replace(end, status="diverged", final={})
        head = RunHeader(
            run.run_id,
            "lab-pretraining",
            "pretraining",
            run.config,
            {"params": 1.0},
            run.seed,
        )
        out.append([head, end])
    return out


def test_qualities__small_noise_and_a_seed_s_own_shift__fits_and_lies_inside():
    (found,) = qualities(PRETRAINING, FRESH, made_up_runs(MIDDLE, noise=0.01))
    assert (
        found.n_cells,
        found.n_seeds,
        found.n_runs,
        found.diverged_share,
    ) == (
        32,
        len(LEVEL.seeds),
        32 * len(LEVEL.seeds),
        0.0,
    )
    assert found.fits and 0 < found.noise_share < 0.1 and found.edges == ()


def test_qualities__noise_diverged_runs_and_an_optimum_on_the_edge__are_said():
    corner = PRETRAINING.design(LEVEL)[-1]
    (found,) = qualities(
        PRETRAINING, FRESH, made_up_runs(corner, noise=1.5, diverged=3)
    )
    assert not found.fits and found.diverged_share == (
        3 / (32 * len(LEVEL.seeds))
    )
    (still,) = qualities(PRETRAINING, FRESH, made_up_runs(corner))
    assert (
        "learning_rate" in still.edges
        and "on an edge: learning_rate" in shown([still])
    )


def test_qualities__runs_of_other_levels__are_no_part_of_it():
    runs = made_up_runs(MIDDLE)
    ladder = [
        dataclasses.replace(runs[0][0], run_id="pretraining-a1-0"),
        runs[0][1],
    ]
    assert [
        q.level for q in qualities(PRETRAINING, FRESH, [*runs, ladder])
    ] == ["fresh1"]


def test_quality__its_fields__tell_no_outcome_and_no_configuration():
    names = {field.name for field in dataclasses.fields(Quality)}
    assert names == {
        "family",
        "level",
        "split",
        "target",
        "n_cells",
        "n_seeds",
        "n_runs",
        "diverged_share",
        "failed_share",
        "noise_share",
        "edges",
    }


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_targets__fresh_suite__asks_for_those_and_no_others(family):
    suite = load_suite(f"lab-{family.name}-fresh-v1")
    asked = {task.objective or family.objective.name for task in suite.tasks}
    assert asked == set(targets(family))
    assert len(asked) == (5 if family is DATA_MIXTURE else 1)


def test_summary__folder_with_a_sealed_level__leaves_it_out(tmp_path):
    for records in made_up_runs(MIDDLE):
        lines = [to_line(record) + "\n" for record in records]
        (tmp_path / f"{records[0].run_id}.jsonl").write_text("".join(lines))
    here = ["pretraining", "--here", str(tmp_path)]
    assert json.loads(call("summary", *here, "--json")) == []
    said = call("quality", *here, "--sweep", "fresh")
    assert "pretraining fresh1" in said and "inside the window" in said


@pytest.mark.parametrize(("sweep", "tells"), [("far", True), ("fresh", False)])
def test_verify__sealed_runs__their_losses_are_not_told(
    monkeypatch, tmp_path, sweep, tells
):
    compared = [Comparison("pretraining-x-1", 2.5, 2.25, 0.5)]
    monkeypatch.setattr("autollm.lab.verify.verify", lambda *_: compared)
    monkeypatch.setattr(
        "autollm.lab.archive.shipped", lambda *_, **__: tmp_path
    )
    said = call("verify", "--sweep", sweep, "--home", str(tmp_path))
    assert "agrees    pretraining-x-1: " in said
    assert "difference 0.2500, tolerance 0.5000" in said
    assert ("recorded 2.5000, again 2.2500" in said) == tells
    (row,) = json.loads(
        call("verify", "--sweep", sweep, "--home", str(tmp_path), "--json")
    )
    assert ("recorded" in row) == ("again" in row) == tells


def call(*arguments):
    return CliRunner().invoke(app, ["lab", *arguments]).stdout


def test_quality__archives_that_ship__are_what_the_kept_table_says():
    assert call("quality") == (archive.ROOT / "quality.txt").read_text()
    found = json.loads(call("quality", "--json"))
    assert all(row["n_cells"] >= 32 and row["n_seeds"] >= 3 for row in found)
    assert all(row["failed_share"] == 0 for row in found)
