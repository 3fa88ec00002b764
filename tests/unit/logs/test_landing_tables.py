"""Landing of tables: pairs of files, links, warnings about a whole source, mappings of
a home.
"""

import gzip
import json

import fsspec
import pyarrow.parquet as pq
import pytest

from autollm.core.errors import MappingError, UnknownNameError
from autollm.logs import readings
from autollm.logs.choosing.catalog import load_mapping, own_mappings
from autollm.logs.lake import bronze_tables
from autollm.logs.landing import ingest
from autollm.logs.opening import opened
from tests.unit.logs.raw_logs import (
    csv_bytes,
    json_lines,
    run_bytes,
    steplaw_bytes,
    steplaw_row,
    sweep_mapping,
    tar_bytes,
    write,
)

PAIRS = """
schema = "autollm.mapping/1"
source = "pairs"
family = "data_mixture"
format = "csv"
run_key = {columns = ["part", "index"]}
join = {on = ["index"]}
replica = {duplicate_cells = "quarantine"}
tables = [
  {file = "mix_1m.csv", join = "loss_1m.csv", set = {part = "1m", N = 1e6}},
  {file = "mix_1b.csv", join = "loss_1b.csv", set = {part = "1b", N = 1e9}},
]
knobs = [{name = "lr", scale = "log"}]
fidelity = [{name = "params", column = "N"}]
objective = {name = "loss", direction = "min"}
cost = {flops = "6 * params"}
"""
MIX = csv_bytes([{"index": i, "lr": 2.0**-i} for i in (1, 2, 3)])
LOSS = csv_bytes([{"index": i, "loss": 3.0 + i} for i in (3, 2, 1)])


def rows(lake, table: str) -> list[dict]:
    pattern = (
        "quarantine/*.parquet"
        if table == "quarantine"
        else f"bronze/batches/*/{table}.parquet"
    )
    return [
        row
        for path in sorted(lake.glob(pattern))
        for row in pq.read_table(path).to_pylist()
    ]


@pytest.fixture
def lake(tmp_path):
    write(tmp_path / "lake" / "mappings", "pairs.toml", PAIRS.encode())
    write(
        tmp_path / "lake" / "mappings",
        "sweep.toml",
        sweep_mapping("csv", ["sweep*.csv"]).encode(),
    )
    return tmp_path / "lake"


def test_ingest__pair_of_files__is_one_table_by_the_columns_that_both_share(
    tmp_path, lake
):
    write(tmp_path / "raw", "mix_1m.csv", MIX)
    write(tmp_path / "raw", "loss_1m.csv", LOSS)
    report = ingest([tmp_path / "raw"], str(lake))
    assert (
        report.n_files_new,
        report.n_runs,
        report.n_lines,
        report.n_lines_read,
    ) == (
        2,
        3,
        8,
        8,
    )
    assert [(r["run_id"], r["config_json"], r["objective_value"]) for r in rows(lake, "runs")] == [
        ("1m|1", '{"lr":0.5}', 4.0), ("1m|2", '{"lr":0.25}', 5.0), ("1m|3", '{"lr":0.125}', 6.0)]  # fmt: skip
    assert {f["file"]: f["n_runs"] for f in rows(lake, "files")} == {
        "mix_1m.csv": 3,
        "loss_1m.csv": 0,
    }
    assert ingest([tmp_path / "raw"], str(lake)).batch_id is None


def test_ingest__pairs_with_one_file_of_equal_bytes__are_two_tables_and_land_again_from_the_landing_folder(
    tmp_path, lake
):
    for part in ("1m", "1b"):
        write(tmp_path / "raw", f"mix_{part}.csv", MIX)
        write(
            tmp_path / "raw",
            f"loss_{part}.csv",
            LOSS.replace(b"4.0", b"4.5" if part == "1b" else b"4.0"),
        )
    assert ingest([tmp_path / "raw"], str(lake)).n_runs == 6
    first = {r["run_id"]: r["objective_value"] for r in rows(lake, "runs")}
    assert ingest([tmp_path / "raw"], str(lake)).n_files_skipped == 4
    fsspec.filesystem("file").rm(f"{lake}/bronze/batches", recursive=True)
    assert ingest([lake / "landing"], str(lake)).n_runs == 6
    assert {
        r["run_id"]: r["objective_value"] for r in rows(lake, "runs")
    } == first and first["1b|1"] == 4.5


def test_ingest__rows_without_a_partner__are_quarantined_on_both_sides(
    tmp_path, lake
):
    write(tmp_path / "raw", "mix_1m.csv", MIX + b"3,0.5\n,0.5\n9,0.5\n")
    write(
        tmp_path / "raw",
        "loss_1m.csv",
        LOSS + b"1,7.0\n8,7.0\nonly one field\n",
    )
    report = ingest([tmp_path / "raw"], str(lake))
    found = {
        (q["file"], q["line"]): q["reason"] for q in rows(lake, "quarantine")
    }
    assert (
        report.n_runs == 3
        and report.n_lines_read + report.n_lines_quarantined
        == report.n_lines
        == 14
    )
    for key, words in {
        ("mix_1m.csv", 5): "the run '1m|3' stands in this table already",
        (
            "mix_1m.csv",
            6,
        ): "index, on which the files are joined, is missing or empty",
        ("mix_1m.csv", 7): "no row of loss_1m.csv has index=9",
        (
            "loss_1m.csv",
            5,
        ): "index=1 stands in loss_1m.csv already (line 4); the first row is kept",
        ("loss_1m.csv", 6): "no usable row of mix_1m.csv has index=8",
        ("loss_1m.csv", 7): "1 fields, the header has 2",
    }.items():
        assert words in found.pop(key)
    assert found == {}


def test_ingest__half_a_pair__waits_in_quarantine_until_the_other_comes(
    tmp_path, lake
):
    path = write(tmp_path / "raw", "mix_1m.csv", MIX)
    report = ingest([path], str(lake))
    assert (
        report.n_runs == 0
        and "it belongs to loss_1m.csv, which is not there. Fix:"
        in report.quarantined[0].reason
    )
    assert ingest([path], str(lake)).batch_id is None
    write(tmp_path / "raw", "loss_1m.csv", LOSS)
    assert ingest([tmp_path / "raw"], str(lake)).n_runs == 3


def test_ingest__two_pairs_of_one_name__are_paired_within_their_folders_first(
    tmp_path, lake
):
    mix, loss = {}, {}
    for folder, index in (("a", 10), ("b", 20)):
        mix[folder] = write(
            tmp_path / folder,
            "mix_1m.csv",
            csv_bytes([{"index": index, "lr": index}]),
        )
        loss[folder] = write(
            tmp_path / folder,
            "loss_1m.csv",
            csv_bytes([{"index": index, "loss": 1}]),
        )
    report = ingest([mix["a"], mix["b"], loss["b"], loss["a"]], str(lake))
    assert report.n_runs == 2 and report.n_lines_quarantined == 0

    other = tmp_path / "other"
    write(other / "mappings", "pairs.toml", PAIRS.encode())
    loose = write(
        tmp_path / "c", "loss_1m.csv", csv_bytes([{"index": 10, "loss": 2}])
    )
    assert (
        ingest([mix["a"], mix["b"], loss["b"], loose], str(other)).n_runs == 2
    )  # one of each is left: a pair
    third = tmp_path / "third"
    write(third / "mappings", "pairs.toml", PAIRS.encode())
    report = ingest([mix["a"], mix["b"], loose], str(third))
    assert report.n_runs == 0 and len(report.quarantined) == 3
    assert (
        "2 files are called mix_1m.csv and 1 loss_1m.csv: which belong together? Fix:"
        in report.quarantined[0].reason
    )


def test_ingest__pair_inside_an_archive__is_one_table(tmp_path, lake):
    data = tar_bytes(
        {"d/loss_1b.csv": LOSS, "d/mix_1b.csv": MIX, "d/mix_1m.csv": MIX}
    )
    report = ingest([write(tmp_path, "runs.tar.xz", data)], str(lake))
    assert report.n_runs == 3 and {
        r["raw_file"] for r in rows(lake, "runs")
    } == {"runs.tar.xz!d/mix_1b.csv"}
    assert "which is not there" in report.quarantined[0].reason
    assert ingest([tmp_path / "runs.tar.xz"], str(lake)).batch_id is None


def test_ingest__pair_of_which_one_is_broken__loses_neither(tmp_path, lake):
    write(tmp_path / "raw", "mix_1m.csv", MIX)
    write(tmp_path / "raw", "loss_1m.csv.gz", gzip.compress(LOSS)[:-9])
    report = ingest([tmp_path / "raw"], str(lake))
    assert report.n_runs == 0 and {q.file for q in report.quarantined} == {
        "mix_1m.csv",
        "loss_1m.csv.gz",
    }
    assert all("not a whole gzip file" in q.reason for q in report.quarantined)


def test_ingest__pair_with_a_column_in_both__is_set_aside_with_the_reason(
    tmp_path, lake
):
    write(tmp_path / "raw", "mix_1m.csv", MIX)
    write(
        tmp_path / "raw",
        "loss_1m.csv",
        csv_bytes([{"index": 1, "loss": 1.0, "lr": 2}]),
    )
    report = ingest([tmp_path / "raw"], str(lake))
    assert report.n_runs == 0 and len(report.quarantined) == 2
    words = "the column 'lr' stands in mix_1m.csv and in loss_1m.csv. Fix:"
    assert words in report.quarantined[0].reason


def test_ingest__links__are_followed_within_the_folder_only(tmp_path, lake):
    folder = tmp_path / "raw"
    inside = write(
        folder,
        "sweep_a.csv",
        csv_bytes([{"id": 1, "lr": 1, "N": 1, "loss": 1}]),
    )
    secret = write(
        tmp_path / "elsewhere",
        "secret.csv",
        csv_bytes([{"id": "secret", "lr": 1, "N": 1, "loss": 1}]),
    )
    (folder / "sweep_b.csv").symlink_to(inside)
    (folder / "sweep_out.csv").symlink_to(secret)
    (folder / "sweep_gone.csv").symlink_to(tmp_path / "nowhere")
    (folder / "sweep_dir.csv").symlink_to(tmp_path / "elsewhere")
    report = ingest([folder], str(lake))
    assert [r["run_id"] for r in rows(lake, "runs")] == ["1"]
    reasons = {q.file: q.reason for q in report.quarantined}
    assert set(reasons) == {"sweep_out.csv", "sweep_gone.csv", "sweep_dir.csv"}
    assert (
        "out of the folder: not followed. Fix:" in reasons["sweep_out.csv"]
        and "no file" in reasons["sweep_dir.csv"]
    )
    assert not any(
        b"secret" in p.read_bytes()
        for p in (lake / "landing").rglob("*")
        if p.is_file()
    )
    assert ingest([folder], str(lake)).batch_id is None
    assert (
        ingest([folder / "sweep_out.csv"], str(lake)).n_runs == 1
    )  # by its own path: the user named it


def test_ingest__bomb__is_found_before_any_row_and_kept_raw(
    tmp_path, lake, monkeypatch
):
    monkeypatch.setattr(opened, "MAX_TABLE_BYTES", 10_000)
    data = csv_bytes(
        [{"id": i, "lr": 1, "N": 1, "loss": 1} for i in range(2000)]
    )
    report = ingest(
        [write(tmp_path, "sweep.csv.gz", gzip.compress(data))], str(lake)
    )
    assert (
        report.n_runs == 0
        and "more than 10000 bytes after decompression. Fix: split"
        in report.quarantined[0].reason
    )
    assert list((lake / "landing").rglob("sweep.csv.gz"))


def table(*rows: dict) -> bytes:
    return csv_bytes(
        [
            {"id": i, "lr": 1, "N": 1, "loss": 1, "seed": 0} | row
            for i, row in enumerate(rows)
        ]
    )


@pytest.mark.parametrize(
    ("data", "change", "words"),
    [
        (
            table({"lr": 1}, {"lr": 2}),
            "",
            "all 2 runs are at one fidelity: nothing cheaper to learn from. Fix:",
        ),
        (
            table({"N": 1}, {"N": 2}),
            "",
            "knob 'lr' is 1 in every run: nothing to choose. Fix: leave it out",
        ),
        (
            table({"lr": 1, "loss": "nan"}, {"lr": 2, "N": 2, "loss": "inf"}),
            "",
            "no run has a finite 'loss'. Fix:",
        ),
        (
            table({}, {}, {"N": 2, "lr": 2}),
            "",
            "1 runs share a cell with an earlier one (sweep.csv line 3 and line 2): "
            "averaged as replicas. Fix:",
        ),
        (
            table({}, {"N": 2, "lr": 2}),
            'direction = "max"',
            "'loss' has direction 'max', though its name says that lower is better. "
            "Fix:",
        ),
        (
            table({}, {"N": 2, "lr": 2}),
            'name = "accuracy", column = "loss", direction = "min"',
            "",
        ),
        (
            table({}, {"N": 2, "lr": 2}),
            'name = "accuracy", column = "seed", direction = "min"',
            "'accuracy' has direction 'min'",
        ),
    ],
)
def test_ingest__what_looks_wrong_about_a_source__lands_with_a_warning(
    tmp_path, lake, data, change, words
):
    text = sweep_mapping("csv", ["sweep*.csv"])
    if change:
        old = (
            'name = "loss", direction = "min"'
            if "name" in change
            else 'direction = "min"'
        )
        text = text.replace(old, change)
    write(lake / "mappings", "sweep.toml", text.encode())
    report = ingest([write(tmp_path, "sweep.csv", data)], str(lake))
    assert report.n_lines_quarantined == 0 and report.n_runs >= 2
    found = [w for w in report.warnings if "Fix:" in w]
    assert any(words in w for w in found) if words else not found


def test_ingest__clean_source_and_its_later_batches__have_no_warning(
    tmp_path, lake
):
    first = table({"lr": 1}, {"lr": 2, "N": 2})
    assert (
        ingest([write(tmp_path, "sweep1.csv", first)], str(lake)).warnings == ()
    )
    later = (
        first.replace(b"\n0,", b"\n7,")
        .replace(b"\n1,", b"\n8,")
        .replace(b",2,2,", b",2,1,")
        .replace(b"7,1,1", b"7,2,3")
    )
    assert (
        ingest([write(tmp_path, "sweep2.csv", later)], str(lake)).warnings == ()
    )


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)])
def test_ingest__duplicate_cells_forbidden__keeps_the_first_of_each_seed_over_batches(
    tmp_path, lake, seeds
):
    more = '[replica]\ncolumn = "seed"\nduplicate_cells = "quarantine"'
    write(
        lake / "mappings",
        "sweep.toml",
        sweep_mapping("csv", ["sweep*.csv"], more).encode(),
    )
    report = ingest(
        [
            write(
                tmp_path,
                "sweep1.csv",
                table({"seed": seeds[0]}, {"seed": seeds[1]}),
            )
        ],
        str(lake),
    )
    assert report.n_runs == len(set(seeds)) and report.n_lines == 3
    if len(set(seeds)) == 1:
        assert (
            'the cell {"lr":1} at params=1 stands in line 2 already; the first is '
            "kept. Fix:" in report.quarantined[0].reason
        )
    later = ingest(
        [
            write(
                tmp_path,
                "sweep2.csv",
                table({"seed": 0}).replace(b"\n0,", b"\nlater,"),
            )
        ],
        str(lake),
    )
    assert (
        later.n_runs == 0
        and "stands in an earlier batch already" in later.quarantined[0].reason
    )


def test_ingest__rows_in_many_row_groups__are_the_same_batch(
    tmp_path, lake, monkeypatch
):
    path = write(
        tmp_path,
        "sweep.csv",
        table(*({"lr": 1 + i} for i in range(25)), {"lr": "x"}),
    )
    calm = ingest([path], str(lake))
    expected = rows(lake, "runs"), rows(lake, "quarantine")
    other = tmp_path / "other"
    write(
        other / "mappings",
        "sweep.toml",
        sweep_mapping("csv", ["sweep*.csv"]).encode(),
    )
    monkeypatch.setattr(bronze_tables, "GROUP_ROWS", 4)
    monkeypatch.setattr(readings, "QUERY_ROWS", 3)
    monkeypatch.setattr("autollm.logs.tables.blocks.BLOCK_BYTES", 40)
    monkeypatch.setattr("autollm.logs.taking.SAY_EVERY_S", 0.0)
    said: list[str] = []
    assert ingest([path], str(other), say=said.append) == calm
    assert (rows(other, "runs"), rows(other, "quarantine")) == expected
    assert len(said) >= 6 and said[-1].startswith("sweep.csv: 27 lines read, ")


def test_ingest__jsonl_table_of_an_own_mapping__is_no_run_log_and_run_logs_stay_run_logs(
    tmp_path, lake
):
    text = sweep_mapping("jsonl", ["history_*.jsonl"])
    write(lake / "mappings", "sweep.toml", text.encode())
    write(
        tmp_path / "raw",
        "history_1.jsonl",
        json_lines([{"id": 1, "lr": 1, "N": 1, "loss": 1}]),
    )
    write(tmp_path / "raw", "r1.jsonl", run_bytes("r1"))
    assert ingest([tmp_path / "raw"], str(lake)).n_runs == 2
    assert {r["source"] for r in rows(lake, "runs")} == {
        "sweep",
        "lab-pretraining",
    }


def test_ingest__compressed_table_in_a_folder__is_claimed_by_its_plain_name(
    tmp_path, lake
):
    data = steplaw_bytes(steplaw_row("s1"))
    write(tmp_path / "raw", "dense_lr_bs_loss.csv.gz", gzip.compress(data))
    report = ingest([tmp_path / "raw"], str(lake))
    assert report.n_runs == 1 and rows(lake, "files")[0]["bytes"] == len(data)


def test_own_mappings__source_that_has_one_already_or_broken_file__names_the_file(
    lake,
):
    assert (
        set(own_mappings(str(lake))) == {"pairs", "sweep"}
        and load_mapping("pairs", str(lake)).source == "pairs"
    )
    with pytest.raises(UnknownNameError, match="Did you mean 'pairs'"):
        load_mapping("pair", str(lake))
    for name, text, words in (
        ("twice.toml", PAIRS, "the source 'pairs' has another mapping already"),
        (
            "law.toml",
            PAIRS.replace('"pairs"', '"steplaw"'),
            "the source 'steplaw' has another mapping already",
        ),
        ("latin.toml", "# \xe9", "Fix: save it as UTF-8"),
    ):
        path = write(lake / "mappings", name, text.encode("latin-1"))
        with pytest.raises(MappingError, match=words) as caught:
            own_mappings(str(lake))
        assert name in str(caught.value)
        fsspec.filesystem("file").rm(path)


def test_bronze__spaces_of_groups__are_one_a_group(tmp_path, lake):
    write(
        lake / "mappings",
        "sweep.toml",
        sweep_mapping("csv", ["sweep.csv"], '[group]\ncolumn = "tok"').encode(),
    )
    data = csv_bytes([{"id": i, "lr": 1 + i, "N": 1, "loss": 1, "tok": "ab"[i % 2]} for i in range(4)] + [
        {"id": 9, "lr": 1, "N": 1, "loss": 1, "tok": "no/slash"}])  # fmt: skip
    report = ingest([write(tmp_path, "sweep.csv", data)], str(lake))
    spaces = rows(lake, "spaces")
    assert sorted((s["source"], s["group"]) for s in spaces) == [
        ("sweep", "a"),
        ("sweep", "b"),
    ]
    assert "tok='no/slash' is no group" in report.quarantined[0].reason
    assert {f["source"] for f in rows(lake, "files")} == {"sweep"}
    assert json.loads(rows(lake, "runs")[0]["header_json"])["tok"] == "a"
