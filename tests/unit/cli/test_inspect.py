"""`autollm sources inspect`: what stands where, what is asked, exit codes."""

import json

import pytest
from typer.testing import CliRunner

from autollm.cli import sources
from autollm.cli.main import app
from autollm.core.mappings.mapping import parse_mapping
from tests.unit.logs.proposals.tables import sweep
from tests.unit.logs.raw_logs import csv_bytes, json_lines, write


def inspect(*arguments: str, **more):
    return CliRunner().invoke(app, ["sources", "inspect", *arguments], **more)


@pytest.fixture
def unknown(tmp_path) -> str:
    """A table whose objective does not say which direction is better."""
    rows = [{("quality" if k == "val_loss" else k): v for k, v in r.items()} for r in sweep()]  # fmt: skip
    rows = [{**r, "eval_quality": r.pop("quality")} for r in rows]
    return write(tmp_path, "t.csv", csv_bytes(rows))


def test_inspect__table__mapping_on_stdout_the_rest_on_stderr(tmp_path):
    path = write(
        tmp_path, "t.csv", csv_bytes(sweep(zork=lambda i: i % 5 + 0.137 * i))
    )
    result = inspect(path)
    assert result.exit_code == 0
    assert {k.name for k in parse_mapping(result.stdout, "p").knobs} == {
        "lr",
        "batch_size",
    }
    assert "27 runs land" in result.stderr and "runs land" not in result.stdout


def test_inspect__json__has_notes_with_codes_questions_and_a_summary(unknown):
    found = json.loads(inspect(unknown, "--json").stdout)
    assert (
        found["questions"][0]["code"] == "direction-unknown"
        and found["mapping"] is None
    )
    assert found["summary"]["n_runs"] == 27
    said = json.loads(
        inspect(unknown, "--json", "--objective", "eval_quality:max").stdout
    )
    assert said["mapping"]["objective"]["direction"] == "max"


def test_inspect__terminal__asks_the_direction(unknown, monkeypatch):
    assert "question:" in inspect(unknown).stderr
    monkeypatch.setattr(sources, "is_terminal", lambda: True)
    result = inspect(unknown, input="max\n")
    assert parse_mapping(result.stdout, "p").objective.direction == "max"


def test_inspect__most_rows_do_not_fit__exits_1_and_names_the_reasons(tmp_path):
    path = write(tmp_path, "t.ndjson", json_lines(sweep()) + b"{broken\n" * 40)
    result = inspect(path)
    assert result.exit_code == 1 and "only 27 of 67 rows land" in result.stderr


@pytest.mark.parametrize("name", ["t.xlsx", "t.csv"])
def test_inspect__nothing_to_read__exits_1(tmp_path, name):
    assert inspect(write(tmp_path, name, b"")).exit_code == 1


def test_inspect__options__are_never_guessed_over(tmp_path):
    path = write(tmp_path, "t.csv", csv_bytes(sweep()))
    text = inspect(path, "--knobs", "lr", "--fidelity", "size=params", "--objective", "val_loss:max").stdout  # fmt: skip
    mapping = parse_mapping(text, "p")
    assert [k.name for k in mapping.knobs] == ["lr"]
    assert [q.name for q in mapping.fidelity] == ["size"]
    assert mapping.objective.direction == "max"
    own = write(tmp_path, "own.toml", text.encode())
    assert parse_mapping(inspect(path, "--as", own).stdout, "p") == mapping
