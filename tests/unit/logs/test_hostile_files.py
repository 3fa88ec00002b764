"""One bad file never stops its neighbours, and none takes the machine."""

import io
import os
import socket
import tarfile

import pytest

from autollm.logs.landing import ingest
from autollm.logs.opening import archives
from autollm.logs.opening.archives import members_of
from tests.unit.logs.landed import land_bytes, rows
from tests.unit.logs.raw_logs import (
    run_bytes,
    steplaw_bytes,
    steplaw_row,
    tar_bytes,
    write,
)


def header(name: bytes, size: int, kind: bytes = b"0") -> bytes:
    """A tar header with any size, which GNU writes as a large binary number."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124:136] = b"\x80" + size.to_bytes(11, "big")
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


SMALL = tar_bytes({"a.jsonl": run_bytes("a")}, "w")[: 512 + 512 * 2]
"""One good member of two blocks, without the end mark."""
assert 512 < len(run_bytes("a")) <= 1024
BAD = {
    "member_of_2_80.tar": SMALL + header(b"x.jsonl", 2**80),
    "pax_of_3_gib.tar": SMALL + header(b"x", 3 * 2**30, b"x"),
    "broken_pax.tar": SMALL
    + header(b"x", 9, b"x")
    + b"99 a=b\n".ljust(512, b"\0"),
    "sparse.tar": SMALL + header(b"s.jsonl", 0, b"S")[:482] + b"\1" + bytes(29),
    "newlines.jsonl": b"\n" * 2**20,
    "deep.jsonl": b'{"a":' * 500 + b"1" + b"}" * 500 + b"\n",
    "dense_lr_bs_loss.csv": ",".join(f"c{i}" for i in range(40_000)).encode()
    + b"\n1\n",
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_ingest__bad_file_beside_a_good_one__is_set_aside_with_its_reason(
    tmp_path, name
):
    write(tmp_path / "raw", name, BAD[name])
    write(tmp_path / "raw", "good.jsonl", run_bytes("good"))
    lake = str(tmp_path / "lake")
    report = ingest([tmp_path / "raw"], lake)
    assert "good" in {row["run_id"] for row in rows(lake, "runs")}
    told = {entry.file for entry in report.quarantined} | {*report.ignored}
    assert name in told
    assert report.n_lines_read + report.n_lines_quarantined == report.n_lines
    assert ingest([tmp_path / "raw"], lake).batch_id is None


def test_ingest__fifo_socket_and_odd_names__stop_nothing(tmp_path):
    folder = tmp_path / "raw"
    write(folder, "a::b.jsonl", run_bytes("colons"))
    with open(os.path.join(os.fsencode(folder), b"n\xff.jsonl"), "wb") as file:
        file.write(run_bytes("bytes"))
    write(folder, "x[1]*.jsonl", run_bytes("brackets"))
    os.mkfifo(folder / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "s.jsonl"))
        report = ingest([folder], str(tmp_path / "lake"))
    found = {row["run_id"] for row in rows(str(tmp_path / "lake"), "runs")}
    assert found == {"colons", "bytes", "brackets"}
    reasons = {entry.file: entry.reason for entry in report.quarantined}
    assert "a FIFO, no file" in reasons["pipe.jsonl"]
    assert "a socket, no file" in reasons["s.jsonl"]


@pytest.mark.skipif(
    os.geteuid() == 0, reason="the superuser may read everything"
)
def test_ingest__file_that_may_not_be_read__is_set_aside(tmp_path):
    path = write(tmp_path / "raw", "a.jsonl", run_bytes("a"))
    os.chmod(path, 0)
    report = ingest([tmp_path / "raw"], str(tmp_path / "lake"))
    assert "cannot be read: Permission denied" in report.quarantined[0].reason


def test_members_of__sparse_member__is_named_and_the_next_one_read():
    sparse = bytearray(header(b"s.jsonl", 512, b"S"))
    data = bytes(sparse) + bytes(512) + tar_bytes({"b.jsonl": b"x"}, "w")
    found = list(members_of(io.BytesIO(data), "a.tar"))
    assert [m.name for m in found] == ["a.tar!s.jsonl", "a.tar!b.jsonl"]
    assert "sparse" in found[0].problem and found[1].data == b"x"


def test_members_of__long_names_of_both_kinds__are_read():
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            info = tarfile.TarInfo("d/" * 80 + "é.jsonl")
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
        buffer.seek(0)
        (member,) = members_of(buffer, "a.tar")
        assert member.name.count("/") == 80 and member.data == b"x"


def test_members_of__more_than_the_archives_limit__ends_with_the_problem(
    monkeypatch,
):
    monkeypatch.setattr(archives, "MAX_ARCHIVE_BYTES", 3000)
    data = tar_bytes({"a": b"x" * 1000, "b": b"y" * 1000}, "w")
    found = list(members_of(io.BytesIO(data), "a.tar"))
    assert "more than 3000 bytes" in found[-1].problem


def test_land__unclosed_quote__swallows_its_own_line_and_no_more():
    rows_ = [steplaw_row(f"r{i}") for i in range(50)]
    rows_[10] = '"' + rows_[10]
    found = land_bytes("dense_lr_bs_loss.csv", steplaw_bytes(*rows_))
    assert len(found.runs) == 49 and [b["line"] for b in found.bad] == [12]
    assert "goes on over line 12" in found.reasons


def test_land__line_break_in_a_cell__belongs_to_its_row():
    row = steplaw_row('"two\nlines"')
    found = land_bytes(
        "dense_lr_bs_loss.csv", steplaw_bytes(row, steplaw_row("b"))
    )
    assert [r["run_id"] for r in found.runs] == ["two\nlines", "b"]
    assert [r["line"] for r in found.runs] == [2, 4] and found.n_lines == 4
