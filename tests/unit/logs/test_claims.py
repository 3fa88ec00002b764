"""Several sweeps into one home: which mapping is meant for which, and what becomes of
sweeps for which none is.
"""

import json
from collections import Counter

import pytest
from typer.testing import CliRunner

from autollm.cli.main import app
from autollm.core.mappings.mapping import parse_mapping
from tests.unit.logs.landed import rows as rows_of
from tests.unit.logs.proposals.tables import SIZES, loss, sweep
from tests.unit.logs.raw_logs import csv_bytes, write

RATES = {"lr": (3e-4, 1e-3, 3e-3)}
ABLATION = {"dropout": (0.0, 0.1), "warmup": (100, 500)}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOLLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def autollm(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done


def run_folders(folder, knobs, first=0, **constants):
    """Run folders of no tool's, one a combination at each size."""
    number = first
    combinations = [{}]
    for name, values in knobs.items():
        combinations = [c | {name: v} for c in combinations for v in values]
    for params, tokens in SIZES:
        for chosen in combinations:
            config = {"n_params": params, "n_tokens": tokens}
            run = folder / f"run{number}"
            text = json.dumps(config | constants | chosen)
            write(run, "config.json", text.encode())
            ends_at = loss(params, chosen.get("lr", 1e-3)) + number / 1e4
            curve = f"step,val_loss\n100,{ends_at + 1}\n200,{ends_at}\n"
            write(run, "metrics.csv", curve.encode())
            number += 1
    return folder


def runs_by_source(home):
    return Counter(row["source"] for row in rows_of(str(home), "runs"))


def kept(home, source):
    text = (home / "mappings" / f"{source}.toml").read_text()
    return parse_mapping(text, source)


def knobs_of(home, source):
    return {knob.name for knob in kept(home, source).knobs}


def test_ingest__sweep_of_other_knobs__is_a_source_of_its_own_by_its_folder(
    home, tmp_path
):
    rates = run_folders(tmp_path / "lr-sweep", RATES)
    ablation = run_folders(tmp_path / "ablation", ABLATION)
    for folder in (rates, ablation, rates, ablation):
        assert autollm("ingest", folder).exit_code == 0
    assert runs_by_source(home) == {"lr-sweep": 9, "ablation": 12}
    assert kept(home, "ablation").files == ("ablation/*",)
    assert knobs_of(home, "ablation") == {"config_dropout", "config_warmup"}
    assert not rows_of(str(home), "quarantine")


def test_ingest__kept_pattern_that_claims_everything__leaves_other_sweeps_alone(
    home, tmp_path
):
    autollm("ingest", run_folders(tmp_path / "lr-sweep", RATES))
    broad = home / "mappings" / "lr-sweep.toml"
    broad.write_text(broad.read_text().replace('"lr-sweep/*"', '"*"'))
    done = autollm("ingest", run_folders(tmp_path / "ablation", ABLATION))
    assert done.exit_code == 0
    assert runs_by_source(home) == {"lr-sweep": 9, "ablation": 12}
    more = run_folders(tmp_path / "more", {"lr": (2e-3, 5e-3)}, first=20)
    assert autollm("ingest", more).exit_code == 0  # it fits: nothing is guessed
    assert runs_by_source(home)["lr-sweep"] == 15


def test_ingest__folder_of_several_sweeps__is_a_source_each(home, tmp_path):
    logs = tmp_path / "logs"
    run_folders(logs / "monday", RATES)
    run_folders(logs / "tuesday", {"lr": (1e-4, 1e-2)}, first=9)
    run_folders(logs / "ablation", ABLATION, first=20)
    assert autollm("ingest", logs).exit_code == 0
    assert sorted(runs_by_source(home).values()) == [12, 15]
    assert set(kept(home, "monday").files) == {"monday/*", "tuesday/*"}
    assert runs_by_source(home)["ablation"] == 12


def test_ingest__sizes_in_folders_of_their_own__are_one_ladder(home, tmp_path):
    for number, (params, tokens) in enumerate(SIZES):
        config = {"n_params": params, "n_tokens": tokens}
        if number == 2:
            config["checkpointing"] = True  # set in the largest size alone
        for i, rate in enumerate(RATES["lr"]):
            run = tmp_path / "sizes" / f"{params // 10**6}m" / f"r{i}"
            write(
                run, "config.json", json.dumps(config | {"lr": rate}).encode()
            )
            ends_at = json.dumps({"val_loss": loss(params, rate)})
            write(run, "results.json", ends_at.encode())
    assert autollm("ingest", tmp_path / "sizes").exit_code == 0
    assert runs_by_source(home) == {"sizes": 9}
    assert len({r["fidelity_json"] for r in rows_of(str(home), "runs")}) == 3


def test_ingest__runs_named_one_by_one__are_the_sweep_of_their_folder(
    home, tmp_path
):
    folder = run_folders(tmp_path / "lr-sweep", RATES)
    assert autollm("ingest", *sorted(folder.iterdir())).exit_code == 0
    assert runs_by_source(home) == {"lr-sweep": 9}
    assert kept(home, "lr-sweep").files == ("lr-sweep/*",)


def test_ingest__sweep_that_grew_by_a_setting__is_guessed_anew_in_its_place(
    home, tmp_path
):
    folder = run_folders(tmp_path / "lr-sweep", RATES, dropout=0.0)
    autollm("ingest", folder)
    assert knobs_of(home, "lr-sweep") == {"config_lr"}
    run_folders(folder, RATES, first=9, dropout=0.1)
    done = autollm("ingest", folder)
    assert done.exit_code == 0 and "again, since it has changed" in done.stderr
    assert knobs_of(home, "lr-sweep") == {"config_lr", "config_dropout"}
    assert runs_by_source(home) == {"lr-sweep": 18}


def test_ingest__what_a_person_said_of_a_table__outlives_its_growth(
    home, tmp_path
):
    rows = sweep()
    path = write(tmp_path, "t.csv", csv_bytes(rows))
    autollm("ingest", path, "--knobs", "lr")
    write(tmp_path, "t.csv", csv_bytes([*rows, {**rows[0], "run": "new"}]))
    assert autollm("ingest", path).exit_code == 0
    assert knobs_of(home, "t") == {"lr"}


def test_ingest__one_file_name_in_two_folders__is_two_sources(home, tmp_path):
    first = write(tmp_path / "a", "sweep.csv", csv_bytes(sweep()))
    autollm("ingest", first)
    with_warmup = sweep(warmup=lambda i: 100 + i % 2 * 400)
    more = write(tmp_path / "b", "sweep.csv", csv_bytes(with_warmup))
    assert autollm("ingest", more).exit_code == 0
    others = [{**row, "lr": row["lr"] * 10} for row in sweep()]
    again = write(tmp_path / "c", "sweep.csv", csv_bytes(others))
    assert autollm("ingest", again).exit_code == 0
    assert runs_by_source(home) == {"sweep": 27, "b-sweep": 27, "c-sweep": 27}
    assert "warmup" in knobs_of(home, "b-sweep")
    assert kept(home, "c-sweep").files == ("c/sweep.csv",)
    moved = write(tmp_path / "d", "sweep.csv", csv_bytes(sweep()))
    assert "1 seen before" in autollm("ingest", moved).stdout


def test_add__narrower_pattern__goes_before_a_broader_one(home, tmp_path):
    autollm("ingest", run_folders(tmp_path / "lr-sweep", RATES))
    broad = home / "mappings" / "lr-sweep.toml"
    broad.write_text(broad.read_text().replace('"lr-sweep/*"', '"*"'))
    mine = run_folders(tmp_path / "mine", RATES, first=50)
    proposed = autollm("sources", "inspect", mine)
    text = proposed.stdout.replace('family = "pretraining"', 'family = "own"')
    file = write(tmp_path, "mine.toml", text.encode())
    assert autollm("sources", "add", file).exit_code == 0
    assert autollm("ingest", mine).exit_code == 0
    assert runs_by_source(home) == {"lr-sweep": 9, "mine": 9}


def test_add__mapping_whose_files_lie_elsewhere__takes_no_landed_run_away(
    home, tmp_path
):
    folder = run_folders(tmp_path / "lr-sweep", RATES)
    autollm("ingest", folder)
    own = home / "mappings" / "lr-sweep.toml"
    text = own.read_text().replace('"lr-sweep/*"', '"elsewhere/*"')
    file = write(tmp_path, "new.toml", text.encode())
    assert autollm("sources", "add", file, "--replace").exit_code == 0
    other = write(tmp_path, "t.csv", csv_bytes(sweep()))
    assert autollm("ingest", other).exit_code == 0
    assert runs_by_source(home) == {"lr-sweep": 9, "t": 27}


def test_ingest__mapping_that_reads_fewer_runs_than_landed__says_so(
    home, tmp_path
):
    folder = run_folders(tmp_path / "lr-sweep", RATES)
    autollm("ingest", folder)
    own = home / "mappings" / "lr-sweep.toml"
    text = own.read_text()
    own.write_text(text.replace('"config.lr"', '"config.rate"'))
    done = autollm("ingest", folder)
    assert "lr-sweep: 9 runs had landed, 0 are left" in done.stderr
    assert "autollm ingest --again lr-sweep" in done.stderr
    own.write_text(text)
    assert autollm("ingest", folder).exit_code == 0
    assert runs_by_source(home) == {"lr-sweep": 9}


@pytest.mark.parametrize("kind", ["folders", "table"])
def test_ingest__a_copy_under_another_name__is_seen(home, tmp_path, kind):
    for name in ("first", "second"):
        if kind == "folders":
            run_folders(tmp_path / name, RATES)
        else:
            write(tmp_path / name, f"{name}.csv", csv_bytes(sweep()))
    assert autollm("ingest", tmp_path / "first").exit_code == 0
    before = runs_by_source(home)
    assert len(before) == 1
    done = autollm("ingest", tmp_path / "second")
    assert done.exit_code == 0 and done.stdout.startswith("0 new files")
    assert runs_by_source(home) == before
    assert not (home / "mappings" / "second.toml").exists()


def test_ingest__a_copy_that_has_gone_on__is_a_source_of_its_own(
    home, tmp_path
):
    run_folders(tmp_path / "first", RATES)
    assert autollm("ingest", tmp_path / "first").exit_code == 0
    run_folders(tmp_path / "second", RATES)
    run_folders(tmp_path / "second", {"lr": (1e-2,)}, first=9)
    assert autollm("ingest", tmp_path / "second").exit_code == 0
    assert set(runs_by_source(home)) == {"first", "second"}
