import gzip
import math

import pytest

from autollm.core.errors import SourceError
from autollm.core.statuses import status_of
from autollm.logs.readers.tools.mlflow_store import (
    MlflowFetchedReader,
    MlflowFolderReader,
    fetch_mlflow,
)
from tests.unit.logs.readers.opened import FIXTURES, curve_of, read_folder

MLFLOW = FIXTURES / "mlflow"


@pytest.fixture(params=["files", "client"])
def tracked(request, tmp_path):
    """The same five runs: from the file store, and through MLflow's own client."""
    if request.param == "files":
        return read_folder(MlflowFolderReader(), MLFLOW / "mlruns")
    database = tmp_path / "mlflow.db"
    database.write_bytes(
        gzip.decompress((MLFLOW / "mlflow.db.gz").read_bytes())
    )
    folder = fetch_mlflow(f"sqlite:///{database}", tmp_path / "fetched")
    return read_folder(MlflowFetchedReader(), folder)


def test_mlflow__files_and_client__give_the_same_runs(tracked):
    runs = {row["run_name"]: row for row in tracked.runs.to_pylist()}
    states = {name: status_of(row["status"]) for name, row in runs.items()}
    assert states == {
        "run-0": "finished",
        "run-1": "finished",
        "run-2": "failed",
        "run-3": "killed",
        "run-4": "running",
    }
    row = runs["run-0"]
    assert (row["params.lr"], row["params.model.width"]) == ("0.001", "64")
    assert (row["experiment"], row["runtime_s"]) == ("sweep", 60.0)
    assert row["metrics.val/loss"] == 2.7
    assert curve_of(tracked, row["run_id"], "val/loss") == [
        (0, 3.0),
        (100, 2.8),
        (200, 2.7),
    ]
    assert math.isnan(runs["run-2"]["metrics.val/loss"])
    assert not tracked.bad


def test_fetch_mlflow__nobody_answers__is_an_error_of_the_house(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SourceError, match="does not answer") as caught:
        fetch_mlflow("http://me:s3cret@127.0.0.1:9", tmp_path / "f")
    assert "s3cret" not in str(caught.value)
    assert not (tmp_path / "f").exists()


def test_fetch_mlflow__again__keeps_histories_that_did_not_change(tmp_path):
    database = tmp_path / "mlflow.db"
    database.write_bytes(
        gzip.decompress((MLFLOW / "mlflow.db.gz").read_bytes())
    )
    said = []
    fetch_mlflow(f"sqlite:///{database}", tmp_path / "f", say=said.append)
    fetch_mlflow(f"sqlite:///{database}", tmp_path / "f", say=said.append)
    assert "5 of 5 histories are here already" in said
