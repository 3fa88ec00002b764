"""Every look at test tasks, written down: choosing by test scores shows, because the
looks can be counted.

`<home>/reports/test_looks.jsonl`, one line a look, appended and never rewritten. Opening a
sealed suite is a look of its own, written before anything is played.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

from autollm.core import files as storage
from autollm.core.files import filesystem_of


def looks_url(home_url: str) -> str:
    return storage.join(home_url, "reports", "test_looks.jsonl")


def record_opening(
    home_url: str,
    *,
    command: str,
    suites: list[str],
    policies: list[str],
    reason: str,
    commit: str,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Append the look that opens sealed suites; returns it. It belongs to no evaluation yet."""
    opening = {"opened_because": reason, "commit": commit}
    return _append(
        home_url, _look(command, "", suites, policies, now) | opening
    )


def record_look(
    home_url: str,
    *,
    command: str,
    evaluation_id: str,
    suites: list[str],
    policies: list[str],
    now: datetime | None = None,
) -> dict[str, Any]:
    """Append one look; returns it. `now` defaults to the present, UTC."""
    return _append(
        home_url, _look(command, evaluation_id, suites, policies, now)
    )


def _look(
    command: str,
    evaluation_id: str,
    suites: list[str],
    policies: list[str],
    now: datetime | None,
) -> dict[str, Any]:
    time = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    return {
        "time": time,
        "command": command,
        "evaluation_id": evaluation_id,
        "suites": sorted(suites),
        "policies": sorted(policies),
    }


def _append(home_url: str, look: dict[str, Any]) -> dict[str, Any]:
    line = (json.dumps(look, sort_keys=True) + "\n").encode()
    url = looks_url(home_url)
    if storage.is_local(url):
        path = storage.local_path(url)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            # One write, so that lines of two processes never mix.
            os.write(handle, _after(_last_byte(handle), line))
        finally:
            os.close(handle)
        return look
    before = storage.read_bytes(url) if storage.exists(url) else b""
    filesystem, path = filesystem_of(url)
    filesystem.pipe_file(path, before + _after(before[-1:], line))
    return look


def _last_byte(handle: int) -> bytes:
    """Last line of an open file; none of an empty one."""
    n_bytes = os.fstat(handle).st_size
    return os.pread(handle, 1, n_bytes - 1) if n_bytes else b""


def _after(last: bytes, line: bytes) -> bytes:
    """The line on a line of its own, also behind one that a kill cut off."""
    return line if last in (b"", b"\n") else b"\n" + line


def load_looks(home_url: str) -> list[dict[str, Any]]:
    """All looks, oldest first; a line that a killed process left half-written is
    skipped.
    """
    url = looks_url(home_url)
    if not storage.exists(url):
        return []
    looks = []
    for line in storage.read_bytes(url).decode(errors="replace").splitlines():
        try:
            look = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(look, dict):
            looks.append(look)
    return looks
