"""JSON documents of runs, in the shapes in which people save them."""

import json

import pytest

from autollm.core.errors import RecordError
from autollm.logs.proposals import propose
from autollm.logs.readers.json_records import JsonRecordsReader
from autollm.logs.readers.tools.tool_tables import recognized
from tests.unit.logs.proposals.tables import knobs, sweep
from tests.unit.logs.raw_logs import write
from tests.unit.logs.readers.opened import Opened

ROWS = sweep()
COLUMNS = {k: {str(i): r[k] for i, r in enumerate(ROWS)} for k in ROWS[0]}
NAMED = {
    f"run {i}": {k: v for k, v in r.items() if k != "run"}
    for i, r in enumerate(ROWS)
}
LINES = "\n".join(json.dumps(row) for row in ROWS)
DOCUMENTS = {
    "list": json.dumps(ROWS, indent=1),
    "list under a key": json.dumps({"date": "2025-01-01", "runs": ROWS}),
    "pandas columns": json.dumps(COLUMNS),
    "by name": json.dumps(NAMED),
    "lines": LINES,
}


@pytest.mark.parametrize("shape", DOCUMENTS)
def test_propose__json_document__is_the_sweep_that_it_holds(tmp_path, shape):
    found = propose(write(tmp_path, "runs.json", DOCUMENTS[shape].encode()))
    assert found.n_land == 27 and set(knobs(found)) == {"lr", "batch_size"}
    assert found.summary.n_experiments == 3
    assert found.summary.best["value"] == min(
        row["val_loss"] for row in ROWS if row["params"] == 350_000_000
    )


@pytest.mark.parametrize(
    "document", ['{"lr": 1, "model": {"d": 1}}', "[1, 2]", "{}", "[]", "3"]
)
def test_json_records__no_runs__are_left_to_others(document):
    data = document.encode()
    assert not JsonRecordsReader().matches("config.json", data)
    with pytest.raises(RecordError, match="no list of objects"):
        list(JsonRecordsReader().read(Opened("config.json", data)))


def test_json_records__long_document__is_known_by_its_beginning():
    data = DOCUMENTS["list"].encode()
    assert JsonRecordsReader().matches("runs.json", data[:300])
    assert not JsonRecordsReader().matches("runs.csv", data)


def test_json__an_answer_of_mlflows_server__has_its_columns():
    runs = []
    for at, row in enumerate(ROWS):
        params = [{"key": "lr", "value": str(row["lr"])}]
        metrics = [{"key": "val_loss", "value": row["val_loss"], "step": 9}]
        info = {"run_id": f"r{at}", "status": "FINISHED"}
        data = {"params": params, "metrics": metrics}
        runs.append({"info": info, "data": data})
    text = json.dumps({"runs": runs}).encode()
    assert JsonRecordsReader().matches("runs.json", text)
    (relation,) = JsonRecordsReader().read(Opened("runs.json", text))
    row = recognized(relation).runs.to_pylist()[4]
    assert row["params.lr"] == str(ROWS[4]["lr"])
    assert row["metrics.val_loss"] == ROWS[4]["val_loss"]
    assert recognized(relation).key == "run_id"
