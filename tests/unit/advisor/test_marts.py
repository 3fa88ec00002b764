import pytest

from autollm.advisor.marts import build_marts
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
