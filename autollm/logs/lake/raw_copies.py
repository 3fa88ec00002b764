"""The raw files of a source that the lake keeps, as files to be read again.

Invariant: a raw copy has the path id of the file it was copied from, so that what is
read of it is a later reading of that file.
"""

from __future__ import annotations

from collections.abc import Iterable

from autollm.logs.lake.bronze import Bronze
from autollm.logs.opening.found import Found, clean_name
from autollm.logs.opening.run_folders import RunFolder


def raw_copies(
    bronze: Bronze, source: str
) -> tuple[list[Found], list[RunFolder]]:
    """(files and archives, run folders) of a source, in the order of their readings."""
    columns = [
        "source",
        "file",
        "raw_sha256",
        "path_id",
        "file_version",
        "kind",
        "format",
    ]
    rows = [row for row in bronze.read("files", columns) if row[0] == source]
    rows.sort(key=lambda row: (row[4], row[1]))
    folders = {row[1]: row for row in rows if row[5] == "folder"}
    found: dict[str, Found] = {}
    for _, file, sha256, path_id, _, kind, _ in rows:
        outer = file.split("!", 1)[0]
        if kind == "folder" or outer in folders:
            continue
        said = "-".join(path_id.split("-")[:2])
        copy = _copy(bronze, sha256, outer, said)
        if copy is not None:
            found[copy.path] = copy
    runs = [_folder(bronze, row, rows) for row in folders.values()]
    return list(found.values()), runs


def _folder(
    bronze: Bronze, folder: tuple[str, ...], rows: Iterable[tuple[str, ...]]
) -> RunFolder:
    files = {}
    for _, file, sha256, *_ in rows:
        outer, _, inside = file.partition("!")
        if inside and outer == folder[1]:
            name = clean_name(inside.rsplit("/", 1)[-1])
            copy = _copy(bronze, sha256, name, "")
            if copy is not None:
                files[inside] = copy
    return RunFolder(folder[1], folder[6], files, folder[3], folder[1])


def _copy(bronze: Bronze, sha256: str, name: str, path_id: str) -> Found | None:
    """The raw copy with this hash; of several names the one that is asked for."""
    folder = f"{bronze.root}/landing/{sha256[:2]}/{sha256}"
    if not sha256 or not bronze.fs.exists(folder):
        return None
    paths = [
        p for p in bronze.fs.ls(folder, detail=False) if not p.endswith(".part")
    ]
    named = [p for p in paths if p.rsplit("/", 1)[-1] == name]
    if not paths:
        return None
    path = (named or sorted(paths))[0]
    url = path if bronze.is_local else bronze.fs.unstrip_protocol(path)
    return Found(url, path, path.rsplit("/", 1)[-1], said_path_id=path_id)
