import pyarrow as pa
import pytest

from autollm.advisor.evidence.marts import build_marts, origins_in, rows_of
from autollm.core.errors import SetupError
from autollm.logs.landing import ingest
from tests.unit.logs.raw_logs import run_bytes, write


def test_build_marts__one_run__reaches_the_gym_mart(tmp_path):
    path = write(tmp_path / "raw", "a.jsonl", run_bytes("a"))
    ingest([path], str(tmp_path))
    found = build_marts(str(tmp_path / "bronze"), ("mart_gym__outcomes",))
    (row,) = found["mart_gym__outcomes"].to_pylist()
    assert row["n_replicas"] == 1 and row["status"] == "finished"


def test_build_marts__unknown_model__names_the_known(tmp_path):
    with pytest.raises(SetupError, match=r"no model 'mart_x'.*dim_configs"):
        build_marts(str(tmp_path), ("mart_x",))


def test_build_marts__folder_named_as_a_pattern__reads_its_own_lake(tmp_path):
    lake = tmp_path / "it's [v2]*\\n?"
    path = write(tmp_path / "raw", "a.jsonl", run_bytes("a"))
    ingest([path], str(lake))
    found = build_marts(str(lake / "bronze"), ("stg_runs",))
    assert found["stg_runs"].num_rows == 1


def test_rows_of__group__is_not_that_of_a_source_named_alike():
    mart = pa.table(
        {
            "source": ["a", "a", "b", "a"],
            "source_group": ["", "x", "x", "x"],
            "run_id": ["1", "2", "3", "4"],
        }
    )
    origins = origins_in(mart)
    assert list(origins) == ["a", "a/x", "b/x"]
    kept = rows_of(mart, origins["a/x"])
    assert kept["run_id"].to_pylist() == ["2", "4"]
