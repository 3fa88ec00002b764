"""JSON documents of runs, in the shapes in which people save them."""

import json

import pytest

from autollm.core.errors import RecordError
from autollm.logs.proposals import propose
from autollm.logs.readers.json_records import JsonRecordsReader
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
