"""Whole-or-nothing writes, on the disk and on another file system."""

from __future__ import annotations

import os
import threading

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core import files

ODD_NAMES = [
    "a[1]",
    "a::b",
    "it's",
    "%20",
    "with space",
    "ümläut-日本",
    "$HOME",
    "a*b",
    "{x}",
    "~",
    "-rf",
    ".hidden",
]


@pytest.fixture
def memory():
    """URL of an empty folder on a file system that is no disk."""
    store = fsspec.filesystem("memory")
    yield "memory://home"
    if store.exists("/home"):
        store.rm("/home", recursive=True)


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path, memory):
    """URL of an empty folder, on each kind of file system."""
    return str(tmp_path) if request.param == "disk" else memory


def test_write_atomic__nothing_there__makes_file_and_parents(place):
    url = files.join(place, "a", "b", "c.json")
    assert not files.exists(url)
    files.write_atomic(url, b"one")
    assert files.exists(url) and files.read_bytes(url) == b"one"


def test_write_atomic__file_there__is_replaced_whole(place):
    url = files.join(place, "c.json")
    files.write_atomic(url, b"a longer text than the next")
    files.write_atomic(url, b"two")
    assert files.read_bytes(url) == b"two"


def test_write_atomic__no_bytes__is_an_empty_file(place):
    url = files.join(place, "empty")
    files.write_atomic(url, b"")
    assert files.exists(url) and files.read_bytes(url) == b""


def test_read_bytes__nothing_there__raises_file_not_found(place):
    with pytest.raises(FileNotFoundError):
        files.read_bytes(files.join(place, "absent"))


def test_list_names__files_and_folders__are_sorted_without_path(place):
    for name in ("b.json", "a.json", "c/inner.json"):
        files.write_atomic(files.join(place, name), b"x")
    assert files.list_names(place) == ["a.json", "b.json", "c"]


def test_list_names__nothing_there__is_empty(place):
    assert files.list_names(files.join(place, "absent")) == []


def test_remove__file_then_folder__is_gone(place):
    for name in ("c/d/one", "c/d/two", "c/three"):
        files.write_atomic(files.join(place, name), b"x")
    files.remove(files.join(place, "c", "three"))
    assert files.list_names(files.join(place, "c")) == ["d"]
    files.remove(files.join(place, "c"))
    assert not files.exists(files.join(place, "c"))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_storage__odd_name__is_a_name_and_nothing_else(tmp_path, name):
    """No pattern, no chain of file systems, no home of a user."""
    (tmp_path / "a1").write_bytes(b"other")
    (tmp_path / "a-b").write_bytes(b"other")
    folder = files.join(str(tmp_path), name)
    url = files.join(folder, name)
    files.write_atomic(url, b"mine")
    assert (tmp_path / name / name).read_bytes() == b"mine"
    assert files.read_bytes(url) == b"mine"
    assert files.list_names(folder) == [name]
    files.remove(folder)
    assert files.list_names(str(tmp_path)) == ["a-b", "a1"]


def test_write_atomic__replacing_fails__keeps_the_old_and_no_litter(
    tmp_path, monkeypatch
):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_write_atomic__disk_full_while_writing__keeps_the_old_and_no_litter(
    tmp_path, monkeypatch
):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def refuse(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_write_atomic__a_folder_of_that_name__refuses_without_litter(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError):
        files.write_atomic(str(tmp_path / "x"), b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_write_atomic__read_all_the_time__is_never_seen_half(tmp_path):
    """One writer, one reader: each read is the whole of one of the writes."""
    path = tmp_path / "x"
    whole = {bytes([letter]) * 100_000 for letter in b"abc"}
    files.write_atomic(str(path), b"a" * 100_000)
    done = threading.Event()

    def write():
        for _ in range(10):
            for data in sorted(whole):
                files.write_atomic(str(path), data)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(files.read_bytes(str(path)))
    writer.join()
    assert seen <= whole


def test_write_atomic__relative_path_without_a_folder__is_here(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    files.write_atomic("x", b"here")
    assert (tmp_path / "x").read_bytes() == b"here"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("/a/b", True),
        ("a/b", True),
        ("file:///a/b", True),
        ("a::b", True),
        ("C:/x", True),
        ("memory://a", False),
        ("s3://bucket/key", False),
        ("https://example.org/x", False),
    ],
)
def test_is_local__addresses_of_all_kinds__are_told_apart(url, local):
    assert files.is_local(url) is local


def test_local_path__file_address__is_the_path_behind_it():
    assert files.local_path("file:///a/b c") == "/a/b c"
    assert files.local_path("/a/b") == "/a/b"


def test_filesystem_of__file_address_and_path__are_the_same_file(tmp_path):
    (tmp_path / "x").write_bytes(b"1")
    assert files.read_bytes(f"file://{tmp_path}/x") == b"1"
    assert files.read_bytes(f"{tmp_path}/x") == b"1"
    assert files.list_names(f"file://{tmp_path}") == ["x"]


@given(
    st.sampled_from(["/home", "/home/", "memory://h", "memory://h/", "s3://b"]),
    st.lists(st.text("abc.-", min_size=1, max_size=5), min_size=1, max_size=3),
)
def test_join__any_parts__has_one_slash_between_them(url, parts):
    joined = files.join(url, *parts)
    assert joined == url.rstrip("/") + "/" + "/".join(parts)
    assert files.join(files.join(url, *parts[:1]), *parts[1:]) == joined


def test_write_atomic__many_at_once__leaves_one_whole_write(tmp_path):
    path = str(tmp_path / "x")
    writes = [bytes([65 + i]) * 10_000 for i in range(8)]
    threads = []
    for data in writes:
        thread = threading.Thread(target=files.write_atomic, args=(path, data))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    assert files.read_bytes(path) in writes
    assert os.listdir(tmp_path) == ["x"]


def test_exists__folder_that_may_not_be_read__is_no_absence(monkeypatch):
    def refused(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refused)
    with pytest.raises(PermissionError):
        files.exists("/closed/current.json")


@pytest.mark.parametrize("name", ["nothing", "file/below", "x" * 300, "a\0b"])
def test_exists__name_of_nothing__is_false(tmp_path, name):
    (tmp_path / "file").touch()
    assert not files.exists(f"{tmp_path}/{name}")
