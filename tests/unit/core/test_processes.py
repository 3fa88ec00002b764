"""A child that must not outlive its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from autollm.core import processes

GRANDPARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", sys.argv[1]])
time.sleep(60)
"""
WATCHING = """
import os, time
from autollm.core.processes import {start}
{start}()
print(os.getpid(), flush=True)
time.sleep(60)
"""
LONG_S = 20.0
"""A watching child ends within a second; a machine under load is given more."""


def lives(pid):
    """Whether a process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def is_gone(pid):
    """Whether a process ends, waited for at most LONG_S."""
    end_s = time.monotonic() + LONG_S
    while lives(pid) and time.monotonic() < end_s:
        time.sleep(0.05)
    return not lives(pid)


def parent_of(code, **variables):
    """A parent with a child that runs `code`; (parent, the child's number)."""
    parent = subprocess.Popen(
        [sys.executable, "-c", GRANDPARENT, code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    return parent, int(parent.stdout.readline())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_die_with_parent__parent_is_killed__child_ends(how):
    parent, child = parent_of(WATCHING.format(start="die_with_parent"))
    assert lives(child)
    parent.send_signal(how)
    parent.wait()  # not for the end of what the child writes
    parent.stdout.close()
    assert is_gone(child)


def test_die_with_parent_if_asked__asked__child_ends():
    code = WATCHING.format(start="die_with_parent_if_asked")
    parent, child = parent_of(code, **{processes.WATCH: "1"})
    parent.kill()
    parent.wait()  # not for the end of what the child writes
    parent.stdout.close()
    assert is_gone(child)


@pytest.mark.parametrize("value", [None, "0", "", "yes"])
def test_die_with_parent_if_asked__not_asked__nothing_watches(
    monkeypatch, value
):
    started = []
    monkeypatch.setattr(processes, "die_with_parent", lambda: started.append(1))
    monkeypatch.delenv(processes.WATCH, raising=False)
    if value is not None:
        monkeypatch.setenv(processes.WATCH, value)
    processes.die_with_parent_if_asked()
    assert started == []
    monkeypatch.setenv(processes.WATCH, "1")
    processes.die_with_parent_if_asked()
    assert started == [1]
