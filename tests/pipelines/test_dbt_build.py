"""The warehouse is built from one moment of the lake, in a home of any name."""

import threading

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autollm.cli.run import _say_faults
from autollm.core.places import resolve
from autollm.logs.landing import ingest
from autollm.stages.warehouse import lake_moment
from tests.unit.logs.raw_logs import run_bytes, steplaw_bytes, steplaw_row


def land(places, run_id):
    path = places.inbox / f"{run_id}.jsonl"
    path.write_bytes(run_bytes(run_id))
    ingest([path], places.home)


def test_lake_moment__logs_that_land_meanwhile__are_not_in_it(tmp_path):
    places = resolve(tmp_path / "home").prepare()
    land(places, "first")
    with lake_moment(places) as moment:
        land(places, "second")
        seen = list(
            pq.ParquetDataset(f"{moment['AUTOLLM_BRONZE']}/batches").files
        )
        assert len([f for f in seen if f.endswith("runs.parquet")]) == 1
    with lake_moment(places) as moment:
        seen = list(
            pq.ParquetDataset(f"{moment['AUTOLLM_BRONZE']}/batches").files
        )
        assert len([f for f in seen if f.endswith("runs.parquet")]) == 2


@pytest.mark.parametrize("name", ["it's [v2] a::b $x%20"])
def test_dbt_build__home_of_any_name_while_logs_land__has_all_that_was_there(
    tmp_path, monkeypatch, name
):
    places = resolve(tmp_path / name).prepare()
    monkeypatch.setenv("AUTOLLM_HOME", places.home)
    for number in range(3):
        land(places, f"run{number}")
    from pipelines.assets.warehouse import build_dbt_assets
    from pipelines.resources import resources

    stop = threading.Event()

    def keep_landing():
        number = 100
        while not stop.is_set():
            land(places, f"run{number}")
            number += 1

    other = threading.Thread(target=keep_landing, daemon=True)
    other.start()
    try:
        built = dg.materialize([build_dbt_assets()], resources=resources())
    finally:
        stop.set()
        other.join()
    assert built.success
    outcomes = pq.read_table(places.marts / "fct_outcomes.parquet")
    assert outcomes.num_rows >= 1


def built(places):
    """One materialization of the warehouse."""
    from pipelines.assets.warehouse import build_dbt_assets
    from pipelines.resources import resources

    return dg.materialize([build_dbt_assets()], resources=resources())


def test_dbt_build__warehouse_of_an_older_shape__is_made_anew_on_its_own(
    tmp_path, monkeypatch
):
    places = resolve(tmp_path / "home").prepare()
    monkeypatch.setenv("AUTOLLM_HOME", places.home)
    land(places, "first")
    assert built(places).success
    with duckdb.connect(str(places.warehouse)) as warehouse:
        warehouse.execute(
            "ALTER TABLE fct_learning_curves ALTER step SET NOT NULL"
        )
    (places.dbt_target / "incremental.digest").write_text("an older one")
    land(places, "second")
    for path in (tmp_path / "home/bronze/batches").glob("*/run_metrics.*"):
        table = pq.read_table(path)
        if "second" in table["run_id"].to_pylist():
            index = table.schema.get_field_index("step")
            no_step = pa.nulls(table.num_rows, pa.int64())
            pq.write_table(table.set_column(index, "step", no_step), path)
    assert built(places).success
    curves = pq.read_table(places.marts / "fct_learning_curves.parquet")
    assert curves["step"].null_count == 4 and curves.num_rows == 8


def test_dbt_build__source_at_fault__is_named_in_metadata_and_exit_report(
    tmp_path, monkeypatch, capsys
):
    places = resolve(tmp_path / "home").prepare()
    monkeypatch.setenv("AUTOLLM_HOME", places.home)
    land(places, "first")
    log = places.inbox / "other.jsonl"
    log.write_bytes(run_bytes("other", seed=1, data={"sha256": "cd" * 32}))
    table = places.inbox / "dense_lr_bs_loss.csv"
    table.write_bytes(steplaw_bytes(steplaw_row("s0")))
    ingest([log, table], places.home)
    done = built(places)
    assert done.success
    said = done.asset_materializations_for_node("dbt_build")
    told = {m.asset_key.path[-1]: m.metadata for m in said}["dim_sources"]
    fault = "its runs used different data"
    assert f"`lab-pretraining`: {fault}" in told["set aside"].value
    _say_faults(places.home)
    assert f"source lab-pretraining: {fault}" in capsys.readouterr().err
    outcomes = pq.read_table(places.marts / "fct_outcomes.parquet")
    assert outcomes.num_rows == 1
