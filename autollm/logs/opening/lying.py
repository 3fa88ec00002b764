"""What lies at a path: run folders, and files that belong to none of them.

Invariant: hidden files are seen within run folders only, and where they are named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autollm.logs.opening.found import Found, find_files
from autollm.logs.opening.run_folders import RunFolder, claimed_folders
from autollm.logs.relation import FolderReader


@dataclass(frozen=True)
class Lying:
    """Run folders and other files below `root`, the folder that was named or that holds
    the file that was named.
    """

    root: str
    is_folder: bool
    folders: Sequence[RunFolder]
    files: Sequence[Found]


def lying_at(path: str, readers: Sequence[FolderReader]) -> Lying:
    """What lies at a path.

    Raises:
        FileNotFoundError: nothing there.
    """
    files, is_folder = find_files(path)
    root = files[0].path.removesuffix(files[0].inside) if files else ""
    if not is_folder:
        return Lying(root.rstrip("/"), False, (), files)
    folders = claimed_folders(files, readers)
    claimed = set().union(*(folder.claimed for folder in folders))
    left = [f for f in files if f.inside not in claimed and not f.is_hidden]
    return Lying(root.rstrip("/"), True, folders, left)
