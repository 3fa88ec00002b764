"""Small files that tell whether they are whole."""

from __future__ import annotations

import os

import pytest

from autollm.core.errors import CheckpointError
from autollm.core.sealed import file_sha256, read_sealed, write_sealed

FIELDS = {"schema": 1, "a": [1.5, {"b": "ü"}], "n": None, "t": (1, 2)}


def read(path, schema=None):
    return read_sealed(str(path), CheckpointError, "make it again.", schema)


def test_sealed__written_and_read__is_the_same(tmp_path) -> None:
    write_sealed(str(tmp_path / "x.json"), FIELDS)
    assert read(tmp_path / "x.json") == {**FIELDS, "t": [1, 2]}


def test_sealed__of_an_older_version__is_read_without_a_digest(
    tmp_path,
) -> None:
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert read(tmp_path / "x.json") == {"a": 1}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: b"", "it is empty"),
        (lambda data: data[: len(data) // 2], "is damaged: .*line"),
        (lambda data: data.replace(b"1.5", b"1.6"), "its digest is"),
        (lambda data: b"[]", "no JSON object"),
        (lambda data: b"\xff\xfe" + data, "is damaged"),
    ],
)
def test_sealed__damaged__says_file_what_and_remedy(
    tmp_path, damage, says
) -> None:
    path = tmp_path / "x.json"
    write_sealed(str(path), FIELDS)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        CheckpointError, match=rf"x\.json.*{says}.*Fix: make it again"
    ):
        read(path)


def test_sealed__by_a_newer_version__is_refused(tmp_path) -> None:
    write_sealed(str(tmp_path / "x.json"), {"schema": 3})
    assert read(tmp_path / "x.json", schema=3)
    with pytest.raises(
        CheckpointError, match=r"schema 3.*newer autollm.*upgrade"
    ):
        read(tmp_path / "x.json", schema=2)


def test_file_sha256__changed_file__is_read_again_and_an_unchanged_one_is_not(
    tmp_path, monkeypatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    first = file_sha256(str(path))
    monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("read again"))
    assert file_sha256(str(path)) == first
    monkeypatch.undo()
    path.write_bytes(b"two")
    os.utime(path, (1, 1))
    assert file_sha256(str(path)) != first
