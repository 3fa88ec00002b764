"""Which files lie at a path: walking folders, and what is not opened at all.

Local files are listed, never matched by patterns, so that any name works: brackets,
`::`, bytes that are no text. A FIFO or socket would hold the landing for ever; a link
out of the folder would land what nobody named.

Invariant: nothing is opened here; hidden files are seen by readers of run folders only.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from autollm.core.files import filesystem_of, is_local, local_path
from autollm.core.records import content_hash

MAX_FILES = 2_000_000
"""Below one path. More is no folder of logs, and its listing alone takes gigabytes."""


@dataclass(frozen=True)
class Found:
    """A file: where it lies, what it is called (the last part of its path, cleaned),
    why it is not read.

    `inside` is the path below the folder that was asked for, as it is spelt there.
    `path_id` names the path without telling it: 8 hex digits of the folder, 8 of the
    name; a raw copy in the lake has that of the file it was copied from. `data` are the
    bytes of a member of an archive, which lie nowhere else.
    """

    path: str
    inside: str
    name: str
    problem: str = ""
    said_path_id: str = ""
    data: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def folder_id(self) -> str:
        return self.path_id.split("-")[0]

    @property
    def place(self) -> str:
        """Its path in clean parts, against which patterns of mappings are held."""
        return clean_place(self.path)

    @property
    def path_id(self) -> str:
        if self.said_path_id:
            return self.said_path_id
        folder, _, name = self.path.rpartition("/")
        return f"{_hash(folder)}-{_hash(name)}"

    @property
    def is_hidden(self) -> bool:
        return any(part.startswith(".") for part in self.inside.split("/"))


def _hash(text: str) -> str:
    return content_hash(text.encode("utf-8", "surrogatepass"), 8)


def find_files(path: str) -> tuple[list[Found], bool]:
    """All files at a path or fsspec URL, sorted by path, and whether it is a folder.

    Raises:
        FileNotFoundError: nothing there.
    """
    if is_local(path):
        return _find_local(os.path.abspath(local_path(path)))
    fs, root = filesystem_of(path)
    if fs.isfile(root):
        url = fs.unstrip_protocol(root)
        return [Found(url, root.rsplit("/", 1)[-1], _name(root))], False
    if not fs.exists(root):
        raise _missing(path)
    prefix = root.rstrip("/") + "/"
    found = []
    for below in sorted(fs.find(root)):
        url = fs.unstrip_protocol(below)
        found.append(Found(url, below.removeprefix(prefix), _name(below)))
    return found, True


def _missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"{path} does not exist. Expected a log file, a table, an archive or a folder "
        "of them."
    )


def _find_local(root: str) -> tuple[list[Found], bool]:
    if not os.path.lexists(root):
        raise _missing(root)
    if not os.path.isdir(root):
        return [
            Found(root, os.path.basename(root), _name(root), _problem(root))
        ], False
    found = []
    for path in sorted(_walk(root)):
        inside = os.path.relpath(path, root)
        problem = _link_problem(path, root) or _problem(path)
        found.append(Found(path, inside, _name(path), problem))
    return found, True


def _walk(root: str) -> Iterator[str]:
    """Files below a folder; links to folders are not entered, but named."""
    n_files = 0
    for folder, folders, files in os.walk(root):
        links = [n for n in folders if os.path.islink(os.path.join(folder, n))]
        for name in (*files, *links):
            n_files += 1
            if n_files > MAX_FILES:
                return
            yield os.path.join(folder, name)


def _problem(path: str) -> str:
    """Why something that is no plain file is not opened; empty for a plain file."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return f"cannot be looked at: {error.strerror}. Fix: permissions, or remove it."
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    kinds = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket"}
    kind = kinds.get(stat.S_IFMT(mode), "device")
    return f"a {kind}, no file: not opened. Fix: remove it from the folder."


def _link_problem(path: str, root: str) -> str:
    """Why a symbolic link below the folder `root` is not followed; empty for anything
    else.
    """
    if not os.path.islink(path):
        return ""
    target = os.path.realpath(path)
    inside = os.path.realpath(root)
    if not os.path.isfile(target):
        where, fix = "which is no file", "remove it, or copy the file here"
    elif os.path.commonpath([target, inside]) != inside:
        where = "out of the folder"
        fix = "copy the file here, or land it by its own path"
    else:
        return ""
    return f"a link to {target}, {where}: not followed. Fix: {fix}."


def _name(path: str) -> str:
    return clean_name(path.rsplit("/", 1)[-1])


def clean_place(path: str) -> str:
    """A path, or the name of an archive's member, as clean names with `/` between."""
    parts = path.replace("!", "/").split("/")
    return "/".join(clean_name(part) for part in parts if part)


def clean_name(name: str) -> str:
    """A name that is safe as a file name anywhere: letters of any script, no separators,
    no leading dots; at most 120 bytes.
    """
    composed = unicodedata.normalize("NFC", name)
    cleaned = re.sub(r"[^\w.=+,@-]+", "_", composed).lstrip(".")
    return cleaned.encode()[-120:].decode(errors="ignore") or "unnamed"
