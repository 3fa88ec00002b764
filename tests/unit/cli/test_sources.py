"""`autollm sources` as a person or a program calls it."""

import json

import pytest
from typer.testing import CliRunner

from autollm.cli.main import app
from autollm.core.errors import AutoLLMError
from autollm.core.mappings.mapping import parse_mapping
from autollm.logs.sources import catalogue
from tests.unit.logs.raw_logs import csv_bytes, sweep_mapping, write

TABLE = csv_bytes(
    [
        {
            "id": f"r{i}",
            "lr": 10.0 ** -(i % 4),
            "N": 10 ** (6 + i % 2),
            "val_loss": 3.0 + i,
        }
        for i in range(12)
    ]
)


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOLLM_DATA_DIR", raising=False)
    return lambda *arguments: CliRunner().invoke(
        app, [str(a) for a in arguments]
    )


def failed(done) -> str:
    """The error on purpose that a call ended with; `tests/unit/cli/test_commands.py`
    sees how it is printed.
    """
    assert isinstance(done.exception, AutoLLMError) and "\n" not in str(
        done.exception
    )
    return str(done.exception)


def test_sources_list__nothing_at_hand__names_every_source_with_licence_and_kind(
    call,
):
    text = call("sources", "list").stdout
    assert (
        all(name in text for name in catalogue())
        and text.count("not here") == 5
        and "surrogate" in text
        and "CC BY-NC-SA 4.0" in text
    )


def test_sources_list__json__says_where_tables_are_and_which_mappings_were_added(
    call, tmp_path, monkeypatch
):
    for name in ("dense_lr_bs_loss.csv",):
        write(tmp_path / "mirror" / "steplaw", name, b"x")
    write(tmp_path / "mirror" / "regmix", "train_mixture_1m.csv", b"x")
    monkeypatch.setenv("AUTOLLM_DATA_DIR", str(tmp_path / "mirror"))
    write(
        tmp_path / "home" / "mappings",
        "sweep.toml",
        sweep_mapping("csv", ["sweep.csv"]).encode(),
    )
    found = json.loads(call("sources", "list", "--json").stdout)
    states = {row["name"]: row["state"] for row in found["sources"]}
    assert (
        states["steplaw"] == "AUTOLLM_DATA_DIR"
        and states["regmix"] == "AUTOLLM_DATA_DIR: 1 of 8 files"
        and states["hwgpt"] == "not here"
    )
    assert found["mappings"] == [
        {
            "name": "sweep",
            "family": "pretraining",
            "format": "csv",
            "files": ["sweep.csv"],
            "n_runs": 0,
        }
    ]
    assert all(
        row["files"][0]["sha256"] and row["citation"]
        for row in found["sources"]
    )


def test_sources_fetch__unknown_or_without_an_address__is_one_line(call):
    assert "Did you mean 'steplaw'" in failed(
        call("sources", "fetch", "steplow")
    )
    assert "AUTOLLM_DATA_DIR=FOLDER with hwgpt/" in failed(
        call("sources", "fetch", "hwgpt")
    )


def test_sources_fetch__mirror_with_another_file__keeps_nothing(
    call, tmp_path, monkeypatch
):
    write(tmp_path / "mirror" / "steplaw", "dense_lr_bs_loss.csv", b"not it")
    monkeypatch.setenv("AUTOLLM_DATA_DIR", str(tmp_path / "mirror"))
    assert "nothing was kept" in failed(call("sources", "fetch", "steplaw"))
    assert not [
        p for p in (tmp_path / "home" / "sources").rglob("*") if p.is_file()
    ]


def test_sources_inspect_add_ingest__own_table__goes_from_file_to_runs(
    call, tmp_path
):
    path = write(tmp_path, "sweep_7.csv", TABLE)
    done = call("sources", "inspect", path)
    assert done.exit_code == 0 and "12 runs land" in done.stderr
    mapping = write(tmp_path, "mine.toml", done.stdout.encode())
    assert (
        "source sweep_7, reads sweep_7.csv"
        in call("sources", "add", mapping).stdout
    )
    assert "12 runs" in call("ingest", tmp_path).stdout


def test_sources_inspect__json__holds_the_mapping_and_every_column(
    call, tmp_path
):
    found = json.loads(
        call(
            "sources", "inspect", write(tmp_path, "t.csv", TABLE), "--json"
        ).stdout
    )
    assert {c["name"]: c["role"] for c in found["columns"]} == {
        "id": "key",
        "lr": "knob",
        "N": "fidelity",
        "val_loss": "objective",
    }
    assert (
        parse_mapping(found["toml"], "t").source == "t"
        and found["n_land"] == 12
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            sweep_mapping("csv", ["a.csv"]).replace('"sweep"', '"steplaw"'),
            "the source 'steplaw' is built in. Fix:",
        ),
        (
            sweep_mapping("csv", ["dense_lr_bs_loss.csv"]).replace(
                '"sweep"', '"other"'
            ),
            "belong to the source 'steplaw'. Fix:",
        ),
        (
            sweep_mapping("jsonl", ["*.jsonl"]).replace('"sweep"', '"other"'),
            "would claim every run log. Fix:",
        ),
        (
            sweep_mapping("csv", ["b.csv"]),
            "this home has another mapping of the source 'sweep'. Fix: --replace",
        ),
        (
            sweep_mapping("csv", ["b.csv"]).replace(
                'direction = "min"', 'direction = "down"'
            ),
            "expected one of 'min' or 'max'",
        ),
        ("not toml", "is not TOML"),
    ],
)
def test_sources_add__mapping_that_cannot_be_kept__says_why(
    call, tmp_path, text, words
):
    assert (
        call(
            "sources",
            "add",
            write(
                tmp_path, "first.toml", sweep_mapping("csv", ["a.csv"]).encode()
            ),
        ).exit_code
        == 0
    )
    assert words in failed(
        call("sources", "add", write(tmp_path, "m.toml", text.encode()))
    )
    assert (
        tmp_path / "home" / "mappings" / "sweep.toml"
    ).read_text() == sweep_mapping("csv", ["a.csv"])


def test_sources_add__again_or_replaced__keeps_one_file(call, tmp_path):
    for files, option in (
        ("a.csv", ()),
        ("a.csv", ()),
        ("b.csv", ("--replace",)),
    ):
        assert (
            call(
                "sources",
                "add",
                write(
                    tmp_path, "m.toml", sweep_mapping("csv", [files]).encode()
                ),
                *option,
            ).exit_code
            == 0
        )
    assert [p.name for p in (tmp_path / "home" / "mappings").iterdir()] == [
        "sweep.toml"
    ]
    assert (
        "b.csv" in (tmp_path / "home" / "mappings" / "sweep.toml").read_text()
    )


def test_ingest__suspect_source__warns_on_stderr(call, tmp_path):
    call(
        "sources",
        "add",
        write(tmp_path, "m.toml", sweep_mapping("csv", ["s.csv"]).encode()),
    )
    done = call(
        "ingest",
        write(
            tmp_path,
            "s.csv",
            csv_bytes(
                [{"id": i, "lr": 1, "N": 1, "loss": 1} for i in range(3)]
            ),
        ),
    )
    assert (
        done.exit_code == 0
        and "warning: source sweep: knob 'lr' is 1 in every run" in done.stderr
    )
