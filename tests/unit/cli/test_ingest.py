"""`autollm ingest` of what no mapping reads: guessed, said, kept, or refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autollm.cli import sources
from autollm.cli.main import app
from autollm.core.mappings.mapping import parse_mapping
from autollm.logs.lake.bronze import Bronze
from tests.unit.logs.proposals.tables import sweep
from tests.unit.logs.raw_logs import csv_bytes, run_bytes, write


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("AUTOLLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def call(*arguments, **more):
    return CliRunner().invoke(
        app, ["ingest", *(str(a) for a in arguments)], **more
    )


def mapping_of(home: Path, source: str):
    text = (home / "mappings" / f"{source}.toml").read_text()
    return parse_mapping(text, source)


def runs_of(home: Path) -> list[tuple]:
    columns = ["source", "run_id", "file_version", "objective_direction"]
    return Bronze(str(home)).read("runs", columns)


def unclear(folder: Path, name: str = "t.csv") -> str:
    """A table whose objective does not say which direction is better."""
    rows = []
    for row in sweep():
        quality = row.pop("val_loss")
        rows.append({**row, "eval_quality": quality})
    return write(folder, name, csv_bytes(rows))


def test_ingest__table_without_a_mapping__is_guessed_landed_and_said(
    home, tmp_path
):
    done = call(write(tmp_path, "t.csv", csv_bytes(sweep(gpu_mem_gb=7.5))))
    assert done.exit_code == 0 and "27 runs" in done.stdout
    assert "27 runs land" in done.stderr and "27 finished" in done.stderr
    assert "knobs: batch_size" in done.stderr and "ladder" in done.stderr
    assert "left out: gpu_mem_gb (" in done.stderr
    assert len(runs_of(home)) == 27
    assert mapping_of(home, "t").files == ("t.csv",)


def test_ingest__guessed_before__agrees_and_does_not_guess_again(
    home, tmp_path
):
    path = write(tmp_path, "t.csv", csv_bytes(sweep()))
    call(path)
    again = call(path)
    assert again.exit_code == 0 and "1 seen before" in again.stdout
    assert "looking at it" not in again.stderr
    rows = [*sweep(), {**sweep()[0], "run": "new", "lr": 0.5}]
    write(tmp_path, "t.csv", csv_bytes(rows))
    assert "1 runs" in call(path).stdout and len(runs_of(home)) == 28


def test_ingest__direction_unknown__lands_nothing_until_it_is_said(
    home, tmp_path
):
    path = unclear(tmp_path)
    asked = call(path)
    assert asked.exit_code == 1 and "--objective eval_quality:min" in (
        asked.stderr
    )
    assert not runs_of(home) and not (home / "mappings").exists()
    said = call(path, "--objective", "eval_quality:max")
    assert said.exit_code == 0 and len(runs_of(home)) == 27
    assert {row[3] for row in runs_of(home)} == {"max"}
    better = call(path, "--objective", "eval_quality:min")
    assert better.exit_code == 0
    assert {row[3] for row in runs_of(home)} == {"min"}


def test_ingest__direction_unknown_on_a_terminal__asks(
    home, tmp_path, monkeypatch
):
    monkeypatch.setattr(sources, "is_terminal", lambda: True)
    assert call(unclear(tmp_path), input="max\n").exit_code == 0
    assert mapping_of(home, "t").objective.direction == "max"


def test_ingest__corrected_by_a_person__is_not_guessed_over(home, tmp_path):
    path = write(tmp_path, "t.csv", csv_bytes(sweep()))
    call(path)
    kept = home / "mappings" / "t.toml"
    kept.write_text(kept.read_text() + "\n# mine\n")
    refused = call(path, "--knobs", "lr")
    assert refused.exit_code == 1 and "a person wrote" in refused.stderr
    assert kept.read_text().endswith("# mine\n")


def test_ingest__options__are_honoured(home, tmp_path):
    path = write(tmp_path, "t.csv", csv_bytes(sweep()))
    call(path, "--knobs", "lr", "--fidelity", "size=params", "--objective", "val_loss:max")  # fmt: skip
    mapping = mapping_of(home, "t")
    assert [knob.name for knob in mapping.knobs] == ["lr"]
    assert [q.name for q in mapping.fidelity] == ["size"]
    assert mapping.objective.direction == "max"
    assert call(path, "--as", "t", "--knobs", "lr").exit_code == 2


def test_ingest__as_a_mapping_file__is_kept_for_later_ingests(home, tmp_path):
    path = write(tmp_path, "t.csv", csv_bytes(sweep()))
    call(path)
    text = (home / "mappings" / "t.toml").read_text()
    other = tmp_path / "other"
    mine = write(tmp_path, "mine.toml", text.encode())
    assert call(path, "--as", mine, "--home", other).exit_code == 0
    assert "1 seen before" in call(path, "--home", other).stdout
    assert len(runs_of(other)) == 27


def test_ingest__folder_of_many_tables__lands_each_on_its_own(home, tmp_path):
    folder = tmp_path / "logs"
    write(folder, "a.csv", csv_bytes(sweep()))
    write(folder, "deep/b.csv", csv_bytes(sweep(dropout=lambda i: i % 2 / 10)))
    write(folder, "names.csv", b"name,city\nada,paris\nbob,rome\n")
    write(folder, "run.jsonl", run_bytes("r1"))
    unclear(folder, "unclear.csv")
    done = call(folder)
    assert done.exit_code == 1  # a question is open
    assert "--objective eval_quality" in done.stderr
    assert "ignored names.csv: names.csv: no column looks like an" in (
        done.stderr
    )
    sources_of = [row[0] for row in runs_of(home)]
    assert {s: sources_of.count(s) for s in set(sources_of)} == {
        "a": 27,
        "b": 27,
        "lab-pretraining": 1,
    }


def test_ingest__tables_of_one_header__are_one_source(home, tmp_path):
    rows = sweep()
    write(tmp_path / "exp", "monday.csv", csv_bytes(rows[:14]))
    write(tmp_path / "exp", "tuesday.csv", csv_bytes(rows[14:]))
    assert call(tmp_path / "exp").exit_code == 0
    assert {row[0] for row in runs_of(home)} == {"exp"}
    assert len(runs_of(home)) == 27


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("t.csv", b"", "no row that can be read"),
        ("t.csv", b"\x00\x01\x02,\x00\n", "binary data"),
        ("t.csv", b"name,city\nada,paris\n", "no column"),
        ("t.ndjson", b"{broken\n" * 3, "not a JSON line"),
        ("t.xlsx", b"PK\x03\x04", "export the sheet as CSV"),
    ],
)
def test_ingest__nothing_to_read__exits_1_with_the_reason(
    home, tmp_path, name, data, reason
):
    done = call(write(tmp_path, name, data))
    assert done.exit_code == 1 and reason in done.stderr
    good = write(tmp_path / "other", "good.csv", csv_bytes(sweep()))
    both = call(tmp_path / name, good)  # a neighbour lands, the bad one is told
    assert both.exit_code == 1 and len(runs_of(home)) == 27
    write(tmp_path / "folder", name, data)
    assert call(tmp_path / "folder", good).exit_code == 1
    assert call(good).exit_code == 0


def test_ingest__json__holds_what_was_guessed(home, tmp_path):
    path = write(tmp_path, "t.csv", csv_bytes(sweep()))
    found = json.loads(call(path, "--json").stdout)
    assert found["n_runs"] == 27
    (guess,) = found["guesses"]
    assert guess["source"] == "t" and guess["problem"] == ""
    assert guess["summary"]["n_runs"] == 27


def test_ingest__cell_mended_while_the_mapping_changed__tells_of_today_alone(
    home, tmp_path
):
    rows = sweep()
    broken = [{**rows[0], "val_loss": "abc"}, *rows[1:]]
    path = write(tmp_path, "t.csv", csv_bytes(broken))
    assert "1 quarantined" in call(path).stdout
    kept = home / "mappings" / "t.toml"
    text = kept.read_text()
    kept.write_text(text.replace('family = "pretraining"', 'family = "own"'))
    write(tmp_path, "t.csv", csv_bytes(rows))
    done = call(path)
    assert "1 new files" in done.stdout and "28 of 28 lines" in done.stdout
    assert "quarantined t.csv" not in done.stderr
    assert len(runs_of(home)) == 27
    again = call("--again", "t")
    assert "0 new files, 1 read anew" in again.stdout
    assert "quarantined t.csv" not in again.stderr


def test_ingest__names_of_columns__are_the_users_own(home, tmp_path):
    rows = []
    for row in sweep():
        named = {"config.lr": row["lr"], "summary.val_loss": row["val_loss"]}
        rows.append(
            {"run": row["run"], "config.n_params": row["params"], **named}
        )
    told = call(write(tmp_path, "t.csv", csv_bytes(rows))).stderr
    assert "knobs: config.lr 0.0003" in told
    assert "best summary.val_loss (min)" in told and "(config.lr=" in told


def test_autollm__home_before_the_command__is_the_commands(tmp_path):
    path = write(tmp_path, "t.csv", csv_bytes(sweep()))
    home = tmp_path / "elsewhere"
    done = CliRunner().invoke(app, ["--home", str(home), "ingest", path])
    assert done.exit_code == 0 and len(runs_of(home)) == 27
