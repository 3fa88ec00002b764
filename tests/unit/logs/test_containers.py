"""Files, compressions and archives: unpacked in memory, within limits, nothing followed
or extracted.
"""

import gzip
import io
import tarfile

import pyarrow as pa
import pytest

from autollm.logs.opening import archives, opened
from autollm.logs.opening.found import clean_name, find_files
from autollm.logs.opening.opened import Opened, RawFile
from tests.unit.logs.raw_logs import run_bytes, tar_bytes, write


def logs_of(path: str) -> list[Opened]:
    (found,), _ = find_files(path)
    raw = RawFile(found)
    if archives.is_archive(found.name):
        return list(raw.members())
    return [raw.opened()]


def data_of(log: Opened) -> bytes:
    with log.open() as stream:
        return stream.read()


def test_find_files__folder__is_sorted_and_leaves_hidden_ones(tmp_path):
    for name in ("b.jsonl", "a/z.jsonl", ".git/x.jsonl", ".hidden.jsonl"):
        write(tmp_path, name, b"x")
    files, is_folder = find_files(str(tmp_path))
    seen = [f.name for f in files if not f.is_hidden]
    assert is_folder and seen == ["z.jsonl", "b.jsonl"] and len(files) == 4


def test_find_files__hidden_parent__does_not_hide_the_folder(tmp_path):
    write(tmp_path, ".cache/runs/a.jsonl", b"x")
    (found,), _ = find_files(str(tmp_path / ".cache" / "runs"))
    assert found.name == "a.jsonl" and not found.is_hidden


def test_find_files__nothing_there__says_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected a log file"):
        find_files(str(tmp_path / "none"))


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "a b\n.jsonl", "...", "\u202e.jsonl", "x" * 500],
)
def test_clean_name__anything__is_a_plain_short_file_name(name):
    cleaned = clean_name(name)
    assert (
        cleaned
        and "/" not in cleaned
        and not cleaned.startswith(".")
        and len(cleaned) <= 120
        and cleaned.isascii()
    )


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("Übersicht Läufe.csv", "Übersicht_Läufe.csv"),
        ("U\u0308bersicht.csv", "Übersicht.csv"),
        ("实验记录.csv", "实验记录.csv"),
        ("a\u200bb\udcff.csv", "a_b_.csv"),
    ],
)
def test_clean_name__letters_of_any_script__stay(name, cleaned):
    assert clean_name(name) == cleaned


def test_clean_name__long_name_of_wide_letters__fits_a_file_system():
    assert len(clean_name("实" * 500 + ".csv").encode()) <= 120


def test_open_logs__compressed_files__are_the_plain_bytes(tmp_path):
    data = run_bytes()
    zst = pa.compress(data, codec="zstd", asbytes=True)
    assert data_of(logs_of(write(tmp_path, "r.jsonl.zst", zst))[0]) == data
    assert (
        data_of(logs_of(write(tmp_path, "r.jsonl.gz", gzip.compress(data)))[0])
        == data
    )


@pytest.mark.parametrize("name", ["r.jsonl.zst", "r.jsonl.gz"])
def test_open_logs__not_of_that_compression__is_a_problem_not_a_crash(
    tmp_path, name
):
    (log,) = logs_of(write(tmp_path, name, b"no such thing, only text"))
    assert "not a whole" in log.problem and log.sha256


def test_open_logs__cut_gzip__is_a_problem(tmp_path):
    (log,) = logs_of(
        write(
            tmp_path, "r.jsonl.gz", gzip.compress(run_bytes(n_steps=50))[:-40]
        )
    )
    assert "not a whole gzip file" in log.problem


def test_open_logs__decompresses_beyond_the_limit__is_a_problem(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(opened, "MAX_TABLE_BYTES", 1000)
    (log,) = logs_of(
        write(tmp_path, "bomb.jsonl.gz", gzip.compress(b"\n" * 100_000))
    )
    assert "more than 1000 bytes" in log.problem


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(".tar.xz", "w:xz"), (".tar.gz", "w:gz"), (".tar", "w")],
)
def test_open_logs__archive__gives_its_regular_members_in_order(
    tmp_path, suffix, mode
):
    members = {"v1/b.jsonl": run_bytes("b"), "v1/a.jsonl": run_bytes("a")}
    logs = logs_of(write(tmp_path, f"runs{suffix}", tar_bytes(members, mode)))
    assert [log.name for log in logs] == [
        f"runs{suffix}!v1/b.jsonl",
        f"runs{suffix}!v1/a.jsonl",
    ]
    assert [log.data for log in logs] == list(members.values())


def test_open_logs__links_and_climbing_names__are_neither_followed_nor_kept(
    tmp_path,
):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("link.jsonl")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        info = tarfile.TarInfo("../../up.jsonl")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    assert [
        log.name for log in logs_of(write(tmp_path, "a.tar", buffer.getvalue()))
    ] == ["a.tar!up.jsonl"]


def test_open_logs__cut_archive__gives_what_came_before_and_the_problem(
    tmp_path,
):
    whole = tar_bytes(
        {f"{i}.jsonl": run_bytes(str(i), n_steps=80) for i in range(5)}, "w"
    )
    logs = logs_of(write(tmp_path, "a.tar", whole[: len(whole) // 2]))
    assert logs[0].data == run_bytes("0", n_steps=80)
    assert "broken archive" in logs[-1].problem


@pytest.mark.parametrize("suffix", [".tar.xz", ".tar.gz", ".tar"])
def test_open_logs__archive_in_name_only__is_one_problem(tmp_path, suffix):
    (log,) = logs_of(
        write(tmp_path, f"a{suffix}", b"\x00\x01 not an archive" * 100)
    )
    assert "broken archive" in log.problem


def test_open_logs__member_beyond_the_limit__is_left_out_and_the_rest_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 5000)
    data = tar_bytes({"big.jsonl": b"x" * 6000, "small.jsonl": b"x"})
    big, small = logs_of(write(tmp_path, "a.tar.xz", data))
    assert "more than 5000 bytes" in big.problem and small.data == b"x"
