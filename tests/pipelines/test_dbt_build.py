"""The warehouse is built from one moment of the lake, in a home of any name."""

import threading

import dagster as dg
import pyarrow.parquet as pq
import pytest

from autollm.core.places import resolve
from autollm.logs.landing import ingest
from autollm.stages.warehouse import lake_moment
from tests.unit.logs.raw_logs import run_bytes


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
