"""What lies at a path: run folders, files that belong to none of them, and the tables of
a file that holds several.

Invariant: hidden files are seen within run folders only, and where they are named; a
member of an archive or a part of a file has a path id of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autollm.core.errors import RecordError
from autollm.core.records import content_hash
from autollm.logs.opening.found import Found, find_files
from autollm.logs.opening.opened import Opened
from autollm.logs.opening.run_folders import RunFolder, claimed_folders
from autollm.logs.relation import FileReader, FolderReader


@dataclass(frozen=True)
class Contents:
    """Run folders and other files below `root`, the folder that was named or that holds
    the file that was named.
    """

    root: str
    is_folder: bool
    folders: Sequence[RunFolder]
    files: Sequence[Found]


def contents_at(path: str, readers: Sequence[FolderReader]) -> Contents:
    """What lies at a path.

    Raises:
        FileNotFoundError: nothing there.
    """
    files, is_folder = find_files(path)
    root = files[0].path.removesuffix(files[0].inside) if files else ""
    if not is_folder:
        return Contents(root.rstrip("/"), False, (), files)
    folders = claimed_folders(files, readers)
    claimed = set().union(*(folder.claimed for folder in folders))
    left = [f for f in files if f.inside not in claimed and not f.is_hidden]
    return Contents(root.rstrip("/"), True, folders, left)


def parts_of(opened: Opened, reader: FileReader) -> list[Opened]:
    """The tables of a file, where it holds several that are read one by one."""
    find = getattr(reader, "parts", None)
    if find is None or opened.problem:
        return []
    try:
        names = find(opened)
    except RecordError:  # reading it says why
        return []
    found = []
    for name in names:
        digest = hashlib.sha256(f"{opened.sha256} {name}".encode()).hexdigest()
        whole = f"{opened.name}!{name}"
        found.append(replace(opened, name=whole, sha256=digest, part=name))
    return found


def member_path_id(path_id: str, name: str) -> str:
    """The path id of a member or part, by that of its archive or folder."""
    return f"{path_id}-{content_hash(name, 8)}"
