"""What an archive holds, as what is read as one: run folders, as they lie in folders, and
members that belong to none.

A run folder is given once all of its files were met, wherever they stand in the archive.
An archive of more than HELD_BYTES is read twice: once for the list of its members.

Invariant: nothing is written to disk; what a run folder claims is no member of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from autollm.logs.opening.found import Found, clean_name
from autollm.logs.opening.opened import Opened, RawFile
from autollm.logs.opening.run_folders import RunFolder, claimed_folders
from autollm.logs.relation import FolderReader
from autollm.logs.tables.blocks import HEAD_BYTES

HELD_BYTES = 64 * 2**20
"""Of members that are held at once while they are listed."""
MOST_HEAD_BYTES = 256 * 2**20
"""Of the beginnings that are kept of the members of a larger archive."""


def units_of_archive(
    raw: RawFile, readers: Sequence[FolderReader]
) -> Iterator[RunFolder | Opened]:
    """Its run folders and members, in the order in which they are whole. Hidden members
    are given only within run folders.
    """
    listed: list[Found] = []
    held: list[Opened] | None = []
    n_bytes = 0
    n_head_bytes = 0
    for member in raw.members():
        data = member.data or b""
        n_bytes += len(data)
        if n_bytes > HELD_BYTES:
            held = None
        if held is not None:
            held.append(member)
        if not member.problem:
            head = data[:HEAD_BYTES]
            n_head_bytes += len(head)
            if n_head_bytes > MOST_HEAD_BYTES:
                head = b""
            listed.append(_found(raw.found, member, head))
    owner = {}
    for folder in claimed_folders(listed, readers):
        for path, found in folder.files.items():
            owner[found.inside] = (folder, path)
    waiting: dict[str, dict[str, Found]] = {}
    for member in raw.members() if held is None else held:
        found = _found(raw.found, member, member.data or b"")
        if member.problem or member.inside not in owner:
            if member.problem or not found.is_hidden:
                yield member
            continue
        folder, path = owner[member.inside]
        files = waiting.setdefault(folder.path_id, {})
        files[path] = found
        if len(files) == len(folder.files):
            del waiting[folder.path_id]
            yield replace(folder, files={p: files[p] for p in folder.files})


def _found(archive: Found, member: Opened, data: bytes) -> Found:
    name = clean_name(member.inside.rsplit("/", 1)[-1])
    path = f"{archive.path}/{member.inside}"
    return Found(path, member.inside, name, data=data)
