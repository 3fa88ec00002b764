"""Locks between processes: who holds one, who is refused, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from autollm.core.errors import BusyError
from autollm.core.locks import hold, holder, is_held

HOLD = """
import sys
from pathlib import Path
from autollm.core.locks import hold
with hold(Path(sys.argv[1]), "the lake"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "locks" / "lake.lock"


@pytest.fixture
def stranger(lock):
    """Another process that holds the lock until it is told to end."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "held\n"
    yield child
    if child.poll() is None:
        child.kill()
    child.communicate()


def test_hold__folder_is_not_there__is_made(lock):
    with hold(lock, "the lake"):
        assert lock.parent.is_dir()


def test_is_held__before_during_and_after__tells_the_truth(lock):
    assert not is_held(lock)
    with hold(lock, "the lake"):
        assert is_held(lock)
    assert not is_held(lock)


def test_is_held__free_lock__is_not_taken_by_asking(lock):
    with hold(lock, "the lake"):
        pass
    assert not is_held(lock)
    with hold(lock, "the lake"):
        assert is_held(lock)


def test_hold__block_raises__lets_go(lock):
    with pytest.raises(ZeroDivisionError), hold(lock, "the lake"):
        raise ZeroDivisionError
    assert not is_held(lock)
    assert not lock.with_name("lake.lock.holder").exists()


def test_hold__same_process_twice__refuses_the_second(lock):
    with (
        hold(lock, "the lake"),
        pytest.raises(BusyError, match="the lake"),
        hold(lock, "the lake"),
    ):
        pytest.fail("held twice")


def test_hold__refused__leaves_the_holder_what_it_has(lock):
    """Who is refused must not take away the file that names the holder."""
    with hold(lock, "the lake"):
        with pytest.raises(BusyError), hold(lock, "the lake"):
            pass
        assert is_held(lock)
        assert f"process {os.getpid()}" in holder(lock)


def test_hold__two_locks__do_not_know_of_each_other(tmp_path):
    with hold(tmp_path / "a", "a"), hold(tmp_path / "b", "b"):
        assert is_held(tmp_path / "a") and is_held(tmp_path / "b")
    assert not is_held(tmp_path / "a") and not is_held(tmp_path / "b")


def test_holder__while_held__is_this_process_with_its_command_and_since(lock):
    with hold(lock, "the lake"):
        said = holder(lock)
    assert said.startswith(f"process {os.getpid()} (")
    assert ", since 2" in said


def test_holder__nobody_said__is_another_process(lock):
    assert holder(lock) == "another process"


@pytest.mark.parametrize(
    "left",
    ["", "not json", "[]", "3", "null", '{"pid": 3}', '"process"'],
)
def test_holder__damaged_note__is_another_process(lock, left):
    lock.parent.mkdir()
    lock.with_name("lake.lock.holder").write_text(left)
    assert holder(lock) == "another process"


def test_hold__other_process_has_it__names_it_and_the_remedy(lock, stranger):
    assert is_held(lock)
    with pytest.raises(BusyError) as refused, hold(lock, "the lake"):
        pytest.fail("held by two")
    said = str(refused.value)
    assert said.startswith(f"the lake is in use by process {stranger.pid}")
    assert "waited 0 s" in said and "Fix: wait until it is done" in said


def test_hold__other_process_was_killed__is_free_at_once(lock, stranger):
    os.kill(stranger.pid, signal.SIGKILL)
    stranger.wait()
    assert lock.with_name("lake.lock.holder").exists(), "a kill cleans nothing"
    assert not is_held(lock)
    with hold(lock, "the lake"):
        assert f"process {os.getpid()} " in holder(lock)


def test_hold__other_process_ends_while_waited_for__is_taken(lock, stranger):
    def end():
        stranger.stdin.write("\n")
        stranger.stdin.flush()

    threading.Timer(0.05, end).start()
    with hold(lock, "the lake", wait_s=30):
        assert f"process {os.getpid()} " in holder(lock)


def test_hold__waited_for_in_vain__says_how_long(lock, stranger, caplog):
    with (
        pytest.raises(BusyError, match="waited 1 s"),
        hold(lock, "the lake", wait_s=0.5001),
    ):
        pytest.fail("held by two")
    assert f"in use by process {stranger.pid}" in caplog.text


def test_hold__many_at_once__are_alone_one_after_the_other(lock):
    inside = []
    most_inside = []

    def enter(number):
        with hold(lock, "the lake", wait_s=60):
            inside.append(number)
            most_inside.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(enter, range(6)))
    assert most_inside == [1] * 6


def test_hold__note__is_json_that_others_can_read(lock):
    with hold(lock, "the lake"):
        note = json.loads(lock.with_name("lake.lock.holder").read_text())
    assert set(note) == {"pid", "command", "since"}
    assert note["pid"] == os.getpid()


def test_hold__very_long_command__is_cut(lock, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["autollm", "x" * 5000])
    with hold(lock, "the lake"):
        assert len(holder(lock)) < 300


def test_hold__full_disk__is_held_without_a_name(lock, monkeypatch):
    """What frees the disk needs the lock."""

    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(lock), "write_text", full)
    with hold(lock, "the lake"):
        assert is_held(lock) and holder(lock) == "another process"
    assert not is_held(lock)
