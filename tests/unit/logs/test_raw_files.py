"""Raw files on their way into the lake: hashed once, kept as they were, known by size."""

import gzip
import hashlib
import os

import fsspec
import pytest

from autollm.core.mappings.mapping import parse_mapping
from autollm.logs.landing import ingest, remove_source
from autollm.logs.opening import opened
from autollm.logs.opening.found import Found, find_files
from autollm.logs.opening.opened import RawFile
from tests.unit.logs.landed import rows
from tests.unit.logs.raw_logs import csv_bytes, run_bytes, sweep_mapping, write

LOCAL = fsspec.filesystem("file")
DATA = b"".join(b"line %d\n" % i for i in range(500))
SHA256 = hashlib.sha256(DATA).hexdigest()
ROWS = [
    {"id": f"r{i}", "lr": 0.1 * (i + 1), "N": 1000 + i, "loss": 3}
    for i in range(9)
]
MAPPING = parse_mapping(sweep_mapping("csv", ["s.csv"]), "m")


def raw_file(folder, data=DATA, name="a.txt"):
    path = write(folder, name, data)
    ((found,), _) = find_files(path)
    return RawFile(found)


def kept(lake):
    """Files of the landing zone, by their path there."""
    zone = lake / "landing"
    paths = sorted(p for p in zone.rglob("*") if p.is_file())
    return {p.relative_to(zone).as_posix(): p.read_bytes() for p in paths}


@pytest.fixture(params=["small", "large"])
def size(request, monkeypatch):
    if request.param == "large":
        monkeypatch.setattr(opened, "SMALL_BYTES", 100)
        monkeypatch.setattr(opened, "_CHUNK_BYTES", 64)
    return request.param


@pytest.mark.parametrize("is_asked_before", [True, False])
def test_keep__file__lies_under_its_hash_and_is_read_from_there(
    tmp_path, size, is_asked_before
):
    raw, lake = raw_file(tmp_path), tmp_path / "lake"
    assert raw.is_large == (size == "large") and raw.n_bytes == len(DATA)
    if is_asked_before:
        assert raw.sha256 == SHA256
    raw.keep(LOCAL, str(lake))
    assert kept(lake) == {f"{SHA256[:2]}/{SHA256}/a.txt": DATA}
    assert raw.sha256 == SHA256
    os.remove(tmp_path / "a.txt")
    with raw.opened().open() as stream:
        assert stream.read() == DATA
    assert raw.opened().sha256 == SHA256 and raw.opened().n_bytes == len(DATA)


def test_keep__large_file__is_read_once_where_nobody_asked_for_its_hash(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(opened, "SMALL_BYTES", 100)
    reads = []
    hash_to = RawFile._hash_to

    def counted(raw, target):
        reads.append(target is None)
        return hash_to(raw, target)

    monkeypatch.setattr(RawFile, "_hash_to", counted)
    raw = raw_file(tmp_path)
    raw.keep(LOCAL, str(tmp_path / "lake"))
    raw.keep(LOCAL, str(tmp_path / "lake"))
    assert raw.sha256 == SHA256 and reads == [False]
    known = raw_file(tmp_path)
    assert known.sha256 == SHA256 and reads == [False, True]
    known.keep(LOCAL, str(tmp_path / "lake"))
    assert reads == [False, True]


def test_keep__file_that_grows_meanwhile__is_what_it_was_when_it_was_opened(
    tmp_path, size
):
    raw = raw_file(tmp_path)
    with (tmp_path / "a.txt").open("ab") as out:
        out.write(b"more\n")
    raw.keep(LOCAL, str(tmp_path / "lake"))
    assert list(kept(tmp_path / "lake").values()) == [DATA]
    assert raw.sha256 == SHA256


def test_keep__large_file_that_changes_after_its_hash__is_refused(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(opened, "SMALL_BYTES", 100)
    raw = raw_file(tmp_path)
    assert raw.sha256 == SHA256
    (tmp_path / "a.txt").write_bytes(DATA[::-1])
    with pytest.raises(OSError, match="it changed while it was copied"):
        raw.keep(LOCAL, str(tmp_path / "lake"))
    assert not any(path.endswith("a.txt") for path in kept(tmp_path / "lake"))


def test_keep__two_names_of_equal_bytes__are_both_there(tmp_path, size):
    for name in ("a.txt", "b.txt"):
        raw_file(tmp_path, name=name).keep(LOCAL, str(tmp_path / "lake"))
    names = [path.rsplit("/", 1)[1] for path in kept(tmp_path / "lake")]
    assert names == ["a.txt", "b.txt"]


def test_keep__lake_elsewhere__holds_the_same(tmp_path, size):
    fs = fsspec.filesystem("memory")
    raw = raw_file(tmp_path)
    root = f"/raw-files-{size}"
    raw.keep(fs, root)
    target = f"{root}/landing/{SHA256[:2]}/{SHA256}/a.txt"
    assert fs.cat_file(target) == DATA
    assert [p for p in fs.find(root) if p.endswith(".part")] == []
    with raw.opened().open() as stream:
        assert stream.read() == DATA
    fs.rm(root, recursive=True)


def test_raw_file__missing_or_unreadable__is_an_os_error(tmp_path):
    with pytest.raises(OSError):
        RawFile(Found(str(tmp_path / "none"), "none", "none"))


def test_ingest__large_table_again_grown_and_changed__lands_what_is_new(
    tmp_path, size
):
    lake, path = (
        str(tmp_path / "lake"),
        write(tmp_path, "s.csv", csv_bytes(ROWS)),
    )
    assert ingest([path], lake, MAPPING).n_runs == 9
    first = kept(tmp_path / "lake")
    assert [*first.values()] == [csv_bytes(ROWS)]
    again = ingest([path], lake, MAPPING)
    assert again.n_files_skipped == 1 and again.batch_id is None
    assert kept(tmp_path / "lake") == first
    grown = [*ROWS, {**ROWS[0], "id": "r9", "N": 7}]
    write(tmp_path, "s.csv", csv_bytes(grown))
    more = ingest([path], lake, MAPPING)
    assert (more.n_runs, more.n_runs_seen) == (1, 9)
    # of the size of a file that came before, with other bytes
    changed = [{**ROWS[0], "loss": 4}, *ROWS[1:]]
    assert len(csv_bytes(changed)) == len(csv_bytes(ROWS))
    write(tmp_path, "s.csv", csv_bytes(changed))
    last = ingest([path], lake, MAPPING)
    assert (last.n_runs_changed, last.n_runs_seen) == (1, 8)
    assert len(kept(tmp_path / "lake")) == 3
    assert not any(path.endswith(".part") for path in kept(tmp_path / "lake"))


def test_ingest__large_equal_files_at_two_places__are_read_once(tmp_path, size):
    lake = str(tmp_path / "lake")
    for folder in ("one", "two"):
        write(tmp_path / "in" / folder, "r.jsonl", run_bytes("r", n_steps=30))
    report = ingest([tmp_path / "in"], lake)
    assert (report.n_runs, report.n_files_new, report.n_files_skipped) == (
        1,
        1,
        1,
    )
    assert len(kept(tmp_path / "lake")) == 1


def test_ingest__large_compressed_log__is_known_the_second_time(tmp_path, size):
    data = gzip.compress(run_bytes("r", n_steps=200), mtime=0)
    lake, path = str(tmp_path / "lake"), write(tmp_path, "r.jsonl.gz", data)
    assert ingest([path], lake).n_runs == 1
    again = ingest([path], lake)
    assert again.n_files_skipped == 1 and again.batch_id is None
    assert [*kept(tmp_path / "lake").values()] == [data]


def test_ingest__large_file_of_a_removed_source__lands_again(tmp_path, size):
    lake, path = (
        str(tmp_path / "lake"),
        write(tmp_path, "s.csv", csv_bytes(ROWS)),
    )
    ingest([path], lake, MAPPING)
    remove_source(lake, "sweep")
    assert rows(lake, "runs") == []
    assert ingest([path], lake, MAPPING).n_runs == 9
    assert len(kept(tmp_path / "lake")) == 1


def test_ingest__large_file_that_no_mapping_reads__is_kept_and_set_aside(
    tmp_path, size
):
    lake = str(tmp_path / "lake")
    path = write(tmp_path, "strange.csv", csv_bytes(ROWS))
    report = ingest([path], lake)
    assert report.n_runs == 0 and report.n_lines_quarantined == 10
    assert "no mapping says" in report.quarantined[0].reason
    assert [*kept(tmp_path / "lake").values()] == [csv_bytes(ROWS)]
    folder = ingest([tmp_path], str(tmp_path / "other"))
    assert folder.n_ignored >= 1 and not (tmp_path / "other/landing").exists()


def test_ingest__memory_of_arrow__is_what_it_was_before(tmp_path):
    import pyarrow as pa

    before = pa.default_memory_pool().backend_name
    path = write(tmp_path, "s.csv", csv_bytes(ROWS))
    ingest([path], str(tmp_path / "lake"), MAPPING)
    assert pa.default_memory_pool().backend_name == before
    with pytest.raises(FileNotFoundError):
        ingest([tmp_path / "none"], str(tmp_path / "lake"))
    assert pa.default_memory_pool().backend_name == before
