"""The dbt project on tiny lakes: what is built, what its tests catch, what an increment
costs.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autollm.core.ids import Origin
from autollm.core.records import RunEnd
from autollm.logs.landing import ingest
from autollm.logs.sources import tables_below
from tests.dbt.projects import PROJECT, Home
from tests.public_tables import public_table
from tests.unit.logs.raw_logs import (
    run_bytes,
    steplaw_bytes,
    steplaw_row,
    write,
)

NO_UNIT_TESTS = ("--exclude-resource-type", "unit_test")
CHEAP, DEAR = (
    {"params": 25_000, "tokens": 500_000},
    {"params": 99_000, "tokens": 1_000_000},
)


def lab_run(
    run_id: str,
    loss: float | None,
    *,
    rate: float = -7,
    fidelity=CHEAP,
    flops=None,
    seed=0,
    **changes,
) -> bytes:
    """One run; without a loss it was killed."""
    cost = {
        "flops": flops or 6.0 * fidelity["params"] * fidelity["tokens"],
        "device_hours": 0.01,
    }
    end = None if loss is None else RunEnd("finished", {"val_loss": loss}, cost)
    config = {"learning_rate": 2.0**rate, "batch_tokens": 512}
    return run_bytes(
        run_id, end=end, config=config, fidelity=fidelity, seed=seed, **changes
    )


def land(home: Home, runs: dict[str, bytes]) -> str:
    folder = home.folder / "raw"
    paths = [write(folder, name, data) for name, data in runs.items()]
    return ingest(paths, home.lake).batch_id


FIRST = {
    "a0.jsonl": lab_run("a0", 3.0, seed=0),
    "a1.jsonl": lab_run("a1", 3.2, seed=1),
    "b0.jsonl": lab_run("b0", math.nan, rate=-5),
    "c0.jsonl": lab_run("c0", None, rate=-6),
    "d0.jsonl": lab_run("d0", 2.5, fidelity=DEAR),
    "dense_lr_bs_loss.csv": steplaw_bytes(
        steplaw_row("s0"), steplaw_row("s1", bs="128", loss="4.0")
    ),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Home:
    """A lake of three experiments, built once; tests that change it take a copy."""
    home = Home(tmp_path_factory.mktemp("built") / "state folder")
    land(home, FIRST)
    home.build()
    return home


@pytest.fixture
def copy(built, tmp_path) -> Home:
    shutil.copytree(built.folder, tmp_path / "state folder")
    return Home(tmp_path / "state folder")


def cells(home: Home) -> dict[tuple[str, str], dict]:
    return {
        (r["experiment_label"], r["config_json"]): r
        for r in home.mart("mart_gym__outcomes")
    }


def test_build__tiny_lake__aggregates_replicas_and_keeps_diverged_cells(built):
    found = cells(built)
    config = '{{"batch_tokens":512,"learning_rate":{}}}'.format
    replicated = found[
        "lab-pretraining/params=2.5e4,tokens=5e5", config(0.0078125)
    ]
    assert replicated["objective_mean"] == 3.1 and replicated["n_replicas"] == 2
    assert (
        replicated["objective_sd"] == pytest.approx(0.141421356)
        and replicated["cost_flops"] == 7.5e10
    )
    diverged = found["lab-pretraining/params=2.5e4,tokens=5e5", config(0.03125)]
    assert (
        diverged["status"],
        diverged["objective_mean"],
        diverged["n_diverged"],
    ) == (
        "diverged",
        None,
        1,
    )
    assert len(found) == 5  # the killed run's cell has no outcome
    assert {r["status"] for r in built.mart("fct_outcomes")} == {
        "finished",
        "diverged",
        "failed",
    }


def test_build__tiny_lake__names_and_orders_experiments(built):
    experiments = {
        e["experiment_label"]: e for e in built.mart("dim_experiments")
    }
    assert set(experiments) == {
        "lab-pretraining/params=2.5e4,tokens=5e5",
        "lab-pretraining/params=9.9e4,tokens=1e6",
        "steplaw/params=2.15e8,tokens=4e9",
    }
    for e in experiments.values():
        assert (
            e["experiment_id"]
            == f"{Origin(e['source'], e['source_group']).name}:{hashlib.sha256(e['fidelity_json'].encode()).hexdigest()[:8]}"
        )
    cheap, expensive = (
        experiments[f"lab-pretraining/{x}"]
        for x in ("params=2.5e4,tokens=5e5", "params=9.9e4,tokens=1e6")
    )
    assert [
        (e["fidelity_index"], e["fidelity_level"]) for e in (cheap, expensive)
    ] == [
        (0, "low"),
        (1, "high"),
    ]
    assert (
        cheap["n_runs"],
        cheap["n_configs"],
        cheap["n_diverged"],
        cheap["n_replicated_configs"],
    ) == (4, 3, 1, 1)


def test_build__tiny_lake__accounts_for_every_run_and_point(built):
    assert sum(r["n_runs"] for r in built.mart("fct_outcomes")) == 7
    curves = built.mart("fct_learning_curves")
    assert len(curves) == 5 * 4 and {c["run_id"] for c in curves} == {
        "a0",
        "a1",
        "b0",
        "c0",
        "d0",
    }


def test_build__marts__are_sorted_and_typed_as_their_contracts_say(built):
    schema = pq.read_schema(
        built.folder / "marts" / "mart_gym__outcomes.parquet"
    )
    assert (
        schema.field("objective_mean").type == pa.float64()
        and schema.field("n_replicas").type == pa.int64()
    )
    keys = [
        (
            r["source"],
            r["source_group"],
            r["fidelity_index"],
            r["experiment_id"],
            r["config_id"],
        )
        for r in built.mart("mart_gym__outcomes")
    ]
    assert keys == sorted(keys)


def test_build__nothing_new__gives_the_same_bytes(copy):
    before = copy.mart_bytes()
    assert len(before) == 7
    copy.build(*NO_UNIT_TESTS)
    assert copy.mart_bytes() == before


def test_build__batch_that_comes_and_goes__costs_its_own_points_and_leaves_nothing(
    copy,
):
    before, curves = copy.mart_bytes(), copy.mart("fct_learning_curves")
    batch_id = land(
        copy, {"e0.jsonl": lab_run("e0", 2.4, rate=-8, fidelity=DEAR)}
    )

    copy.build(*NO_UNIT_TESTS)
    compiled = (
        copy.folder
        / "target"
        / "compiled"
        / "autollm"
        / "models"
        / "marts"
        / "fct_learning_curves.sql"
    )
    assert f"batch_id in ('{batch_id}')" in compiled.read_text()
    grown = copy.mart("fct_learning_curves")
    assert [r for r in grown if r["batch_id"] != batch_id] == curves and len(
        grown
    ) == len(curves) + 4

    incremental = copy.mart_bytes()
    copy.build("--full-refresh", *NO_UNIT_TESTS)
    assert copy.mart_bytes() == incremental

    shutil.rmtree(copy.folder / "bronze" / "batches" / batch_id)
    copy.build(*NO_UNIT_TESTS)
    assert copy.mart_bytes() == before


def plant(home: Home, change) -> None:
    """Another batch in bronze, made of the first one's tables by `change(name, table)`."""
    source = min((home.folder / "bronze" / "batches").iterdir())
    target = source.parent / "feedfeedfeedfeed"
    target.mkdir()
    for path in source.glob("*.parquet"):
        table = change(path.stem, pq.read_table(path))
        ids = pa.array([target.name] * table.num_rows, pa.string())
        pq.write_table(table.set_column(0, "batch_id", ids), target / path.name)


def failed(home: Home) -> set[str]:
    return {name for name, status in home.results().items() if status == "fail"}


def warned(home: Home) -> set[str]:
    return {name for name, status in home.results().items() if status == "warn"}


def test_build__later_reading_of_a_run__counts_and_the_earlier_one_stays_in_its_batch(
    copy,
):
    land(copy, {"a2.jsonl": lab_run("a2", 3.6, seed=2, n_steps=3)})
    land(copy, {"a2.jsonl": lab_run("a2", 2.8, seed=2, n_steps=3)})
    copy.build(*NO_UNIT_TESTS)
    config = '{"batch_tokens":512,"learning_rate":0.0078125}'
    cell = cells(copy)["lab-pretraining/params=2.5e4,tokens=5e5", config]
    assert cell["n_replicas"] == 3
    assert cell["objective_mean"] == pytest.approx(3.0)  # of 3.0, 3.2 and 2.8
    points = [
        r for r in copy.mart("fct_learning_curves") if r["run_id"] == "a2"
    ]
    assert len(points) == 6


def test_build__planted_duplicate_runs__count_once(copy):
    before = copy.mart("mart_gym__outcomes")
    plant(copy, lambda name, table: table)
    copy.build(*NO_UNIT_TESTS)
    assert copy.mart("mart_gym__outcomes") == before


def test_build__source_at_fault__is_set_aside_by_name_and_stops_no_other(copy):
    other_data = {"sha256": "cd" * 32}
    mixed = {"mixed.jsonl": lab_run("mixed", 2.0, rate=-9, data=other_data)}
    land(copy, mixed)
    copy.build(*NO_UNIT_TESTS)
    faults = {r["source"]: r["fault"] for r in copy.mart("dim_sources")}
    assert faults["steplaw"] == ""
    assert (
        "used different data (experiment lab-pretraining:"
        in faults["lab-pretraining"]
    )
    assert {r["source"] for r in copy.mart("mart_gym__outcomes")} == {"steplaw"}
    assert warned(copy) == {"no_text_dim_sources_fault"}


def test_data_tests__one_planted_fault_each__are_caught_by_name(copy):
    large = {"params": 400_000, "tokens": 9_000_000}
    land(
        copy, {"cheap.jsonl": lab_run("cheap", 2.0, fidelity=large, flops=10.0)}
    )

    def lose_runs_and_a_line(name, table):
        if name != "files":
            return table.slice(0, 0)
        n_lines = pa.array([n + 1 for n in table["n_lines"].to_pylist()])
        index = table.schema.get_field_index("n_lines")
        return table.set_column(index, "n_lines", n_lines)

    plant(copy, lose_runs_and_a_line)
    assert copy.dbt("run").returncode == 0
    assert copy.dbt("test", *NO_UNIT_TESTS).returncode == 1
    assert failed(copy) == {"assert_no_run_lost", "assert_lines_accounted"}
    assert warned(copy) == {"assert_cost_never_falls_with_fidelity"}


def test_build__warehouse_held_by_another_process__says_which(copy):
    code = f"import duckdb; c = duckdb.connect({str(copy.warehouse)!r}); print('in', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "in\n"
        done = copy.dbt("build")
        other.communicate("\n")
    assert done.returncode == 2
    assert (
        "Could not set lock on file" in done.stdout
        and f"(PID {other.pid})" in done.stdout
    )


def test_parse__no_environment__makes_the_manifest(tmp_path):
    places = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    env = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("AUTOLLM_", "DBT_"))
    }
    env |= {
        "DBT_TARGET_PATH": str(tmp_path / "target"),
        "DBT_LOG_PATH": str(tmp_path / "logs"),
    }
    command = [sys.executable, "-m", "dbt.cli.main", "parse", *places]
    done = subprocess.run(
        command,
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (
        done.returncode == 0
        and (tmp_path / "target" / "manifest.json").exists()
    ), done.stdout


@pytest.mark.data
def test_build__all_public_tables_together__pass_every_test_and_keep_secondary_metrics(
    tmp_path,
):
    root = public_table("hwgpt").parent
    tables = tables_below(root)
    if len(tables) < 14:
        pytest.skip(
            f"AUTOLLM_DATA_DIR holds {len(tables)} of the catalogue's 14 files"
        )
    home = Home(tmp_path)
    report = ingest(tables, home.lake)
    assert (report.n_runs, report.n_lines_quarantined, report.warnings) == (
        1911 + 460 + 1088 + 548 + 3 * 10_162,
        0,
        (),
    )
    home.build(*NO_UNIT_TESTS)
    cells = home.mart("mart_gym__outcomes")
    count = {}
    for row in cells:
        count[row["source"]] = count.get(row["source"], 0) + 1
    assert count == {
        "steplaw": 1911,
        "admire": 460,
        "regmix": 1088,
        "tinker-sft": 482,
        "hwgpt": 30_486,
    }
    metrics = {
        row["source"]: set(json.loads(row["secondary_json"])) for row in cells
    }
    assert {source: len(names) for source, names in metrics.items()} == {
        "steplaw": 1, "admire": 19, "regmix": 13, "tinker-sft": 1, "hwgpt": 2}  # fmt: skip
    experiments = home.mart("dim_experiments")
    assert len(experiments) == 17 + 3 + 3 + 35 + 3
    replicated = [e for e in experiments if e["n_replicated_configs"]]
    assert sum(e["n_replicated_configs"] for e in replicated) == 66 and {
        e["source"] for e in replicated
    } == {"tinker-sft"}


@pytest.mark.data
def test_build__step_law__has_every_run_and_experiment(tmp_path):
    data = os.environ.get("AUTOLLM_DATA_DIR")
    if not data or not (Path(data) / "steplaw").is_dir():
        pytest.skip("AUTOLLM_DATA_DIR does not point to a folder with steplaw/")
    home = Home(tmp_path)
    assert ingest([Path(data) / "steplaw"], home.lake).n_lines_quarantined == 0
    home.build(*NO_UNIT_TESTS)
    rows = home.mart("mart_gym__outcomes")
    assert (
        len(rows) == 1911
        and sum(r["status"] == "diverged" for r in rows) == 181
    )
    assert (
        len(home.mart("dim_experiments")) == 17
        and max(r["compute_flops"] for r in rows) > 2**63
    )
    rates = {r["config_json"].split('"learning_rate":')[1] for r in rows}
    assert len(rates) == 14
