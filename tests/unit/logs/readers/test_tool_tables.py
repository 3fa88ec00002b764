import csv

import pyarrow as pa
import pytest

from autollm.logs.readers.tools.tool_tables import recognized
from autollm.logs.relation import Relation
from tests.unit.logs.readers.opened import FIXTURES


def relation_of(header, *rows):
    """A table as the CSV reader cuts it: text, with its lines."""
    columns = {}
    for name, cells in zip(header, zip(*rows, strict=True), strict=True):
        columns[name] = pa.array([cell or None for cell in cells], pa.string())
    columns["_file"] = pa.array(["t.csv"] * len(rows), pa.string())
    columns["_line"] = pa.array(range(2, 2 + len(rows)), pa.int64())
    return Relation("csv", pa.table(columns), n_lines=len(rows) + 1)


def title_of(relation):
    """Whose table it was taken for."""
    assert relation.format == "csv"
    return relation.notes[0].removeprefix("its columns are those of ")


def relation_of_file(path):
    with path.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    return relation_of([name or "_index" for name in header], *rows)


def test_wandb_runs_table__state_and_runtime__have_their_roles():
    table = relation_of(
        ["Name", "State", "Runtime", "Created", "_step", "lr", "val/loss"],
        ["a", "finished", "1001", "2025-01-01", "5000", "0.1", "3.1"],
        ["b", "crashed", "12", "2025-01-01", "40", "0.2", ""],
    )
    found = recognized(table)
    assert (title_of(found), found.key) == ("W&B's runs table", "Name")
    assert found.roles["State"] == "status"
    assert found.roles["Runtime"] == "cost"
    assert found.roles["_step"] == "measured"
    assert "lr" not in found.roles


def test_wandb_runs_table__names_that_come_twice__are_no_key():
    table = relation_of(
        ["Name", "State", "Runtime"],
        ["a", "finished", "1"],
        ["a", "finished", "2"],
    )
    found = recognized(table)
    assert found.key == ""
    assert "Name does not name each run" in found.notes[1]


def test_wandb_script__dictionaries_as_text__become_columns():
    table = relation_of(
        ["_index", "summary", "config", "name"],
        [
            "0",
            "{'_step': 5, 'val/loss': 3.2}",
            "{'lr': 0.001, 'm': {'d': 2}}",
            "a",
        ],
        [
            "1",
            "{'_step': 5, 'val/loss': nan}",
            "{'lr': 1e-4, 'opt': 'muon'}",
            "b",
        ],
    )
    found = recognized(table)
    assert (title_of(found), found.key) == ("a script over W&B's API", "name")
    rows = found.runs.to_pylist()
    assert [row["config.lr"] for row in rows] == [0.001, 0.0001]
    assert [row["config.opt"] for row in rows] == [None, "muon"]
    assert rows[0]["config.m.d"] == 2
    assert rows[0]["summary.val/loss"] == 3.2
    assert found.roles["config.lr"] == "setting"
    assert found.roles["summary.val/loss"] == "result"
    assert found.roles["summary._step"] == "measured"


def test_wandb_script__a_dictionary_that_is_cut__costs_its_row():
    table = relation_of(
        ["config", "summary", "name"],
        ["{'lr': 0.1}", "{'loss': 1}", "a"],
        ["{'lr': 0.1, 'x", "{'loss': 1}", "b"],
    )
    found = recognized(table)
    assert found.runs["name"].to_pylist() == ["a"]
    assert [(bad.line, bad.n_lines) for bad in found.bad] == [(3, 1)]


def test_mlflow_search__prefixes__are_roles():
    found = recognized(
        relation_of_file(FIXTURES / "mlflow" / "search_runs.csv")
    )
    assert (title_of(found), found.key) == ("MLflow's search_runs", "run_id")
    roles = {
        name: found.roles[name] for name in ("status", "params.lr", "tags.team")
    }
    assert roles == {
        "status": "status",
        "params.lr": "setting",
        "tags.team": "label",
    }
    assert found.roles["metrics.val/loss"] == "result"


def test_mlflow_page__run_id__is_the_key():
    table = relation_of(
        ["Start Time", "Duration", "Run ID", "Name", "Status", "lr", "mse"],
        ["04-08-2024 14:28", "7.6s", "d52a", "", "FINISHED", "", "0.9"],
        ["04-08-2024 14:29", "18.4s", "480d", "x", "FAILED", "0.1", ""],
    )
    found = recognized(table)
    assert (title_of(found), found.key) == ("MLflow's page", "Run ID")
    assert (found.roles["Duration"], found.roles["Name"]) == ("cost", "label")


def test_optuna_frame__number_value_and_state__are_known():
    found = recognized(relation_of_file(FIXTURES / "optuna" / "trials.csv"))
    assert (title_of(found), found.key) == (
        "Optuna's trials_dataframe",
        "number",
    )
    assert found.roles["value"] == "result"
    assert found.roles["params_lr"] == "setting"
    assert found.roles["duration"] == "cost"


@pytest.mark.parametrize(
    "header",
    [["run", "lr", "loss"], ["number", "lr"], ["name", "config", "loss"]],
)
def test_other_tables__pass_unchanged(header):
    table = relation_of(header, ["a"] * len(header))
    assert recognized(table) is table or recognized(table).roles == {}
