"""Tables and curves in other shapes: in archives, in Markdown, under two lines of names,
in folders that alone name their runs. Each lands with the values that the plain table has.
"""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from autollm.core.errors import MappingError, RecordError
from autollm.logs.choosing.guesses import Guesser
from autollm.logs.landing import ingest
from autollm.logs.opening.archives import members_of
from autollm.logs.proposals import TableOptions, propose
from autollm.logs.readers.texts.text_tables import MarkdownReader
from autollm.logs.tables.dialect import dialect_of
from tests.unit.logs.landed import rows as rows_of
from tests.unit.logs.proposals.tables import sweep
from tests.unit.logs.proposals.test_without_knobs import csv_of, curve, falling
from tests.unit.logs.raw_logs import json_lines, write
from tests.unit.logs.readers.opened import Opened

TABLE = csv_of(sweep())


def guessed_and_landed(path, home):
    """What `autollm ingest PATH` does with nobody at the terminal."""
    guesser = Guesser(
        str(home), TableOptions(), lambda questions: [], lambda text: None
    )
    guesses = guesser.guess([str(path)])
    report = ingest([str(path)], str(home))
    return guesses, report, rows_of(str(home), "runs")


def zipped(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return path


def tarred(path, members):
    with tarfile.open(path, "w:gz") as packed:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return path


def packed_tables(folder):
    """The sweep, packed in each way that is read."""
    zstd = pa.compress(json_lines(sweep()), codec="zstd", asbytes=True)
    return {
        "zip": zipped(folder / "a.zip", {"export/sweep.csv": TABLE}),
        "deflated": zipped(
            folder / "b.zip",
            {"sweep.csv": TABLE},
            compression=zipfile.ZIP_DEFLATED,
        ),
        "tar": tarred(folder / "c.tar.gz", {"x/y/sweep.csv": TABLE}),
        "gzip": Path(write(folder, "d.csv.gz", gzip.compress(TABLE))),
        "zstd": Path(write(folder, "e.jsonl.zst", zstd)),
        "within": zipped(
            folder / "f.zip", {"sweep.csv.gz": gzip.compress(TABLE)}
        ),
    }


@pytest.mark.parametrize(
    "way", ["zip", "deflated", "tar", "gzip", "zstd", "within"]
)
def test_ingest__packed_table__lands_like_the_plain_one(tmp_path, way):
    path = packed_tables(tmp_path)[way]
    guesses, report, runs = guessed_and_landed(path, tmp_path / "home")
    assert [guess.problem for guess in guesses] == [""]
    assert len(runs) == 27 and report.n_lines_quarantined == 0
    outcomes = sorted(run["objective_value"] for run in runs)
    assert outcomes == sorted(row["val_loss"] for row in sweep())
    assert {run["fidelity_json"] for run in runs} == {
        '{"params":50000000,"tokens":1000000000}',
        '{"params":125000000,"tokens":2500000000}',
        '{"params":350000000,"tokens":7000000000}',
    }


def test_ingest__archive_of_two_tables__each_is_a_source(tmp_path):
    other = csv_of([{"lr": 10.0**-i, "acc": i / 10} for i in range(1, 6)])
    path = zipped(tmp_path / "a.zip", {"one.csv": TABLE, "two.csv": other})
    guesses, _, runs = guessed_and_landed(path, tmp_path / "home")
    assert [guess.mapping.source for guess in guesses] == ["one", "two"]
    assert len(runs) == 32


def test_ingest__same_archive_again__is_seen(tmp_path):
    path = zipped(tmp_path / "a.zip", {"sweep.csv": TABLE})
    guessed_and_landed(path, tmp_path / "home")
    guesses, report, _ = guessed_and_landed(path, tmp_path / "home")
    assert not guesses and report.n_runs == 0


def test_members__what_folders_hide__is_passed_over(tmp_path):
    hidden = {"__MACOSX/._a.csv": b"\0", ".DS_Store": b"x", "a.csv": TABLE}
    for path in (
        zipped(tmp_path / "a.zip", hidden),
        tarred(tmp_path / "a.tar.gz", hidden),
    ):
        with path.open("rb") as stream:
            names = [m.name for m in members_of(stream, path.name)]
        assert names == [f"{path.name}!a.csv"]


@pytest.mark.parametrize("n_bytes", [0, 10, 200, 1000])
def test_members__cut_zip__is_a_problem_and_no_exception(tmp_path, n_bytes):
    whole = zipped(tmp_path / "a.zip", {"a.csv": TABLE}).read_bytes()
    cut = io.BytesIO(whole[:n_bytes])
    (member,) = members_of(cut, "a.zip")
    assert member.problem.startswith("broken archive") and not member.data


def test_members__zip_with_a_flipped_byte__is_a_problem_and_no_exception(
    tmp_path,
):
    whole = bytearray(zipped(tmp_path / "a.zip", {"a.csv": TABLE}).read_bytes())
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        for member in members_of(io.BytesIO(bytes(damaged)), "a.zip"):
            assert member.problem or member.data == TABLE


def test_members__zip_out_of_its_folder__stays_inside(tmp_path):
    path = zipped(tmp_path / "a.zip", {"../../etc/a.csv": TABLE})
    with path.open("rb") as stream:
        (member,) = members_of(stream, "a.zip")
    assert member.name == "a.zip!etc/a.csv"


def test_propose__archive_without_a_log__says_what_is_expected(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.png": b"\x89PNG"})
    with pytest.raises(MappingError, match=r"a\.zip holds no log"):
        propose(path)


def markdown(rows, before="# Results\n\n", after=""):
    """Rows as people write them into a report."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", "|:--" * len(names) + "|"]
    for row in rows:
        lines.append(f"| {' | '.join(str(row[n]) for n in names)} |")
    return (before + "\n".join(lines) + "\n" + after).encode()


def test_ingest__markdown_report__lands_like_the_plain_table(tmp_path):
    after = "\nand\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    path = write(tmp_path, "results.md", markdown(sweep(), after=after))
    guesses, report, runs = guessed_and_landed(path, tmp_path / "home")
    assert guesses[0].problem == "" and len(runs) == 27
    assert report.n_lines == 2 + 2 + 27 + 6
    assert runs[0]["line"] == 5
    outcomes = [run["objective_value"] for run in runs]
    assert sorted(outcomes) == sorted(row["val_loss"] for row in sweep())


def read_markdown(text, name="t.md"):
    opened = Opened(name, text.encode())
    reader = MarkdownReader()
    assert reader.matches(name, opened.data)
    (relation,) = reader.read(opened)
    return relation


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("**3.21**", "3.21"),
        ("`3.21`", "3.21"),
        ("*3.21*", "3.21"),
        ("[3.21](https://x/y)", "3.21"),
        ("~~3.21~~", "3.21"),
        (r"a \| b", "a | b"),
        ("snake_case_name", "snake_case_name"),
        ("", None),
        ("3.21 ± 0.01", "3.21 ± 0.01"),
    ],
)
def test_markdown__marks_around_a_cell__are_taken_off(cell, value):
    relation = read_markdown(f"| lr | x |\n|---|---|\n| 1 | {cell} |\n")
    assert relation.runs.to_pylist()[0]["x"] == value


def test_markdown__without_outer_bars__is_a_table():
    relation = read_markdown("a | b\n--- | ---\n1 | 2\n3 | 4\n")
    assert [r["b"] for r in relation.runs.to_pylist()] == ["2", "4"]


def test_markdown__header_again_and_odd_rows__are_told():
    text = "| a | b |\n|---|---|\n| 1 | 2 |\n| a | b |\n| 3 |\n| 4 | 5 |\n"
    relation = read_markdown(text)
    assert [r["a"] for r in relation.runs.to_pylist()] == ["1", "4"]
    assert [(b.line, b.reason) for b in relation.bad] == [
        (5, "1 fields, the header has 2")
    ]
    assert relation.n_lines == 6


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "a,b\n1,2\n"),
        ("t.md", "# only words\n\nlr | is | not a table\n"),
        ("t.txt", "step 1: loss 3\n"),
        ("t.txt", "words\n| a | b |\n|---|---|\n"),
        ("t.md", ""),
    ],
)
def test_markdown__other_text__is_none(name, text):
    assert not MarkdownReader().matches(name, text.encode())


def test_markdown__table_without_rows__is_an_error():
    with pytest.raises(RecordError, match="no table with a row"):
        MarkdownReader().read(Opened("t.md", b"| a | b |\n|---|---|\n"))


@pytest.mark.parametrize(
    ("lines", "header", "first_row"),
    [
        (
            "lr,tokens,time\n(-),(B),(h)\n1e-3,2,3\n",
            ("lr", "tokens (B)", "time (h)"),
            3,
        ),
        ("lr,tokens\n,tokens\n1e-3,2\n", ("lr", "tokens (tokens)"), 3),
        ("loss,time\n[nats],[s]\n3,2\n", ("loss (nats)", "time (s)"), 3),
        (
            "set,set,res\nlr,wd,loss\n1,2,3\n",
            ("set/lr", "set/wd", "res/loss"),
            3,
        ),
        ("set,,res\nlr,wd,loss\n1,2,3\n", ("set/lr", "set/wd", "res/loss"), 3),
        ("opt,lr\nadam,1e-3\nsgd,1e-2\n", ("opt", "lr"), 2),
        ("opt,sched\nadam,cosine\nsgd,linear\n", ("opt", "sched"), 2),
        ("name,unit\na,s\nb,h\n", ("name", "unit"), 2),
        ("lr,loss\n-,-\n1e-3,3\n", ("lr", "loss"), 2),
        ("a,b\n1,2\n3,4\n", ("a", "b"), 2),
        ("a,b\n", ("a", "b"), 2),
    ],
)
def test_dialect__second_line__is_of_the_header_or_a_row(
    lines, header, first_row
):
    found = dialect_of(lines.encode())
    assert (found.header, found.first_row) == (header, first_row)


def test_ingest__units_below_the_names__scale_the_numbers(tmp_path):
    lines = ["run,params,tokens,lr,time,val loss", ",(M),(B),(-),(h),(nats)"]
    for i, row in enumerate(sweep()):
        size = f"{row['params'] / 1e6:g},{row['tokens'] / 1e9:g}"
        lines.append(f"r{i},{size},{row['lr']},{1 + i},{row['val_loss']}")
    data = "\n".join(lines).encode() + b"\n"
    path = write(tmp_path, "t.csv", data)
    _, report, runs = guessed_and_landed(path, tmp_path / "home")
    assert report.n_lines == 29 and len(runs) == 27
    assert json.loads(runs[0]["fidelity_json"])["params"] == 50_000_000
    assert runs[0]["cost_flops"] == 6 * 5e7 * 1e9
    assert runs[0]["wall_time_s"] == 3600


@pytest.mark.parametrize("quote", ["", '"'])
def test_ingest__header_in_mid_file__is_no_row(tmp_path, quote):
    lines = TABLE.decode().splitlines()
    names = lines[0].split(",")
    again = ",".join(f"{quote}{name}{quote}" for name in names)
    data = "\n".join([*lines[:9], again, *lines[9:20], again, *lines[20:]])
    path = write(tmp_path, "t.csv", data.encode())
    _, report, runs = guessed_and_landed(path, tmp_path / "home")
    assert len(runs) == 27 and report.n_lines_quarantined == 0
    assert any("line 10 is the header once more" in n for n in report.notes)
    assert report.n_lines == 30


def curves_in(folder, **runs):
    """One bare metrics.csv for each run, in a folder of its name."""
    for name, shift in runs.items():
        rows = curve(val_loss=lambda s, d=shift: falling(s) + d)
        path = folder / name.replace("__", "/") / "metrics.csv"
        path.parent.mkdir(parents=True)
        path.write_bytes(csv_of(rows))


def test_ingest__bare_metrics_of_equal_names__folders_name_the_runs(tmp_path):
    curves_in(tmp_path / "runs", run_a=0.0, run_b=0.5)
    guesses, _, runs = guessed_and_landed(tmp_path / "runs", tmp_path / "home")
    assert [guess.problem for guess in guesses] == [""]
    found = {run["run_id"]: run["objective_value"] for run in runs}
    assert found == {
        "runs/run_a": falling(900),
        "runs/run_b": falling(900) + 0.5,
    }
    points = rows_of(str(tmp_path / "home"), "run_metrics")
    assert len(points) == 20


def test_ingest__settings_in_names_of_folders__are_knobs(tmp_path):
    curves_in(
        tmp_path / "runs",
        adamw__lr0p001__seed0=0.0,
        adamw__lr0p001__seed1=0.01,
        adamw__lr0p003__seed0=0.2,
        adamw__lr0p003__seed1=0.21,
        muon__lr0p001__seed0=0.3,
        muon__lr0p001__seed1=0.31,
        muon__lr0p003__seed0=0.1,
        muon__lr0p003__seed1=0.11,
    )
    guesses, _, runs = guessed_and_landed(tmp_path / "runs", tmp_path / "home")
    assert guesses[0].problem == "" and len(runs) == 8
    configs = {run["config_json"] for run in runs}
    assert len(configs) == 4 and all("0.00" in c for c in configs)
    assert {run["seed"] for run in runs} == {0, 1}
    assert {run["fidelity_json"] for run in runs} == {'{"steps":900}'}


def test_ingest__tables_called_metrics__stay_tables_of_runs(tmp_path):
    for name in ("first", "second"):
        path = tmp_path / "runs" / name / "metrics.csv"
        path.parent.mkdir(parents=True)
        path.write_bytes(TABLE)
    guesses, _, _ = guessed_and_landed(tmp_path / "runs", tmp_path / "home")
    assert guesses[0].mapping.format == "csv"
    assert guesses[0].proposal.n_land >= 27


def test_ingest__metrics_beside_a_configuration__keep_their_settings(tmp_path):
    curves_in(tmp_path / "runs", a=0.0, b=0.3)
    for name, rate in (("a", 0.001), ("b", 0.003)):
        config = tmp_path / "runs" / name / "config.json"
        config.write_text(json.dumps({"lr": rate}), encoding="utf-8")
    _, _, runs = guessed_and_landed(tmp_path / "runs", tmp_path / "home")
    configs = [json.loads(run["config_json"]) for run in runs]
    assert sorted(c["config_lr"] for c in configs) == [0.001, 0.003]


def test_ingest__mixture_written_as_text__is_landed_as_its_shares(tmp_path):
    lines = ["run,mix,params,tokens,val_loss"]
    for number in range(12):
        web = 0.2 + 0.05 * number
        mix = f"web:{web:.2f},code:{0.9 - web:.2f},math:0.1"
        lines.append(f'm{number},"{mix}",130M,2.6B,{3 + (web - 0.4) ** 2:.4f}')
    path = write(tmp_path, "mixes.csv", "\n".join(lines).encode())
    guesses, _, runs = guessed_and_landed(path, tmp_path / "home")
    assert guesses[0].problem == "" and len(runs) == 12
    first = json.loads(min(runs, key=lambda r: r["line"])["config_json"])
    assert first == {"mixture": {"code": 0.7, "math": 0.1, "web": 0.2}}


def test_ingest__name_in_letters_of_another_script__is_claimed_by_its_mapping(
    tmp_path,
):
    path = write(tmp_path, "Übersicht Läufe 实验.csv", TABLE)
    guesses, _, runs = guessed_and_landed(path, tmp_path / "home")
    assert guesses[0].problem == "" and len(runs) >= 27
    _, again, _ = guessed_and_landed(path, tmp_path / "home")
    assert again.n_runs == 0 and again.n_lines_quarantined == 0
