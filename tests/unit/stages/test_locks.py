"""Locks between processes, and the warehouse's."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import duckdb
import pytest

from autollm.core.errors import BusyError
from autollm.core.locks import hold, holder, is_held
from autollm.core.places import resolve
from autollm.stages.warehouse import (
    hold_warehouse,
    is_damaged,
    set_aside,
    writer_of,
)


@contextmanager
def _other_process(code, *arguments):
    """A child that prints a line when it is ready, and then waits."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline().strip() == "ready"
        yield child
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()


HOLD = """
import sys, time
from pathlib import Path
from autollm.core.locks import hold
with hold(Path(sys.argv[1]), "it"):
    print("ready", flush=True)
    time.sleep(60)
"""
WRITE = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("ready", flush=True)
time.sleep(60)
"""


def test_hold__held_by_another_process__busy_names_pid_and_command(tmp_path):
    path = tmp_path / "x.lock"
    with _other_process(HOLD, str(path)) as child:
        assert is_held(path) and str(child.pid) in holder(path)
        with (
            pytest.raises(
                BusyError, match=f"the thing is in use by process {child.pid}"
            ),
            hold(path, "the thing", 0.3),
        ):
            pass


def test_hold__holder_was_killed__is_free_at_once(tmp_path):
    path = tmp_path / "x.lock"
    with _other_process(HOLD, str(path)) as child:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not is_held(path)
        with hold(path, "the thing"):
            assert is_held(path)


def test_hold__released_while_waiting__goes_on(tmp_path):
    path = tmp_path / "x.lock"
    with (
        _other_process(HOLD.replace("60", "0.5"), str(path)),
        hold(path, "the thing", 20),
    ):
        assert is_held(path)


def test_hold__released__leaves_no_name_behind(tmp_path):
    path = tmp_path / "x.lock"
    with hold(path, "the thing"):
        pass
    assert holder(path) == "another process" and not is_held(path)


def test_writer_of__open_in_another_process__named_and_free_afterwards(
    tmp_path,
):
    warehouse = tmp_path / "warehouse.duckdb"
    duckdb.connect(str(warehouse)).close()
    assert writer_of(warehouse) is None and writer_of(tmp_path / "none") is None
    with _other_process(WRITE, str(warehouse)) as child:
        assert str(child.pid) in writer_of(warehouse)
    assert writer_of(warehouse) is None


def test_hold_warehouse__open_elsewhere__busy_names_the_writer(tmp_path):
    places = resolve(tmp_path).prepare()
    with (
        _other_process(WRITE, str(places.warehouse)) as child,
        pytest.raises(BusyError, match=f"process {child.pid}"),
        hold_warehouse(places, 0.3),
    ):
        pass


def test_hold_warehouse__second_dbt_run__one_waits_for_the_other(tmp_path):
    places = resolve(tmp_path).prepare()
    with (
        _other_process(
            HOLD.replace("60", "0.5"), str(places.locks / "warehouse.lock")
        ),
        hold_warehouse(places, 20),
    ):
        assert is_held(places.locks / "warehouse.lock")


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: bytes(4096),
        lambda data: data[: len(data) // 2],
        lambda data: flipped(data, 5000),
        lambda data: flipped(data, 12288),
        lambda data: flipped(data, len(data) - 3000),
    ],
    ids=["empty", "zeros", "cut", "header", "block", "end"],
)
def test_is_damaged__altered_files__are(tmp_path, damage):
    warehouse = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(
            "create table t as select range as n from range(300000)"
        )
    assert not is_damaged(warehouse)
    warehouse.write_bytes(damage(warehouse.read_bytes()))
    assert is_damaged(warehouse)
    aside = set_aside(warehouse)
    assert aside.exists() and not warehouse.exists()
