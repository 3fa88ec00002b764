"""Small writes that are all or nothing, on any fsspec URL (a local path is one too).

Invariant: a reader sees the old bytes or the new ones, never a part.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


SCRATCH = "autollm-scratch"
"""How names of temporary folders begin."""


def is_local(url: str) -> bool:
    """Whether a URL names the local file system (where files can be memory-mapped and
    renamed atomically).
    """
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> str:
    """The path behind a local URL."""
    return url.removeprefix("file://")


def filesystem_of(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a URL, and the path in it.

    fsspec reads `a::b` as a chain of two file systems; of a local path it is a name.
    """
    # Late: fsspec takes longer to import than a command needs to show its help.
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    if is_local(url):
        return LocalFileSystem(), os.path.abspath(local_path(url))
    return fsspec.core.url_to_fs(url)


def join(url: str, *parts: str) -> str:
    """URL of something below `url`."""
    return "/".join([url.rstrip("/"), *parts])


def exists(url: str) -> bool:
    """Whether something is there.

    Raises:
        PermissionError: this user may not know.
    """
    if is_local(url):
        try:
            os.stat(local_path(url))
        except PermissionError:
            raise
        except (OSError, ValueError):
            return False
        return True
    fs, path = filesystem_of(url)
    return fs.exists(path)


def read_bytes(url: str) -> bytes:
    """All bytes of a file.

    Raises:
        FileNotFoundError: nothing there.
    """
    if is_local(url):
        return Path(local_path(url)).read_bytes()
    fs, path = filesystem_of(url)
    return fs.cat_file(path)


def write_atomic(url: str, data: bytes) -> None:
    """Replace the file at `url`; parents are made. Local files go through a temporary
    one beside them and an fsync.
    """
    if not is_local(url):
        fs, path = filesystem_of(url)
        fs.pipe_file(path, data)
        return
    path = local_path(url)
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".tmp-")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def scratch_folder(what: str) -> Iterator[Path]:
    """A folder for the time of a block, among the machine's temporary files.

    Its name holds this process's number: a folder that a killed process left is removed
    by the next one that makes one.
    """
    _remove_left_folders()
    folder = tempfile.mkdtemp(prefix=f"{SCRATCH}-{what}-{os.getpid()}-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_folders() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}-*-*-*"):
        number = folder.name.rsplit("-", 2)[1]
        if number.isdigit() and not _lives(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (
        PermissionError,
        OverflowError,
    ):  # another user's; no number of a process
        return True
    return True


def list_names(url: str) -> list[str]:
    """Sorted names directly below `url`; empty when there is nothing."""
    fs, path = filesystem_of(url)
    if not fs.exists(path):
        return []
    return sorted(
        str(p).rstrip("/").rsplit("/", 1)[-1] for p in fs.ls(path, detail=False)
    )


def remove(url: str) -> None:
    """Delete a file or folder."""
    fs, path = filesystem_of(url)
    fs.rm(path, recursive=True)
