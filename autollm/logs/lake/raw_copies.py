"""The raw files of a source that the lake keeps, as files to be read again.

Invariant: a raw copy has the path id of the file it was copied from, so that what is
read of it is a later reading of that file.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from autollm.logs.lake.bronze import Bronze
from autollm.logs.opening.found import Found, clean_name
from autollm.logs.opening.run_folders import RunFolder

_COLUMNS = [
    "source",
    "file",
    "raw_sha256",
    "path_id",
    "file_version",
    "kind",
    "format",
]
Row = dict[str, Any]


def raw_copies(
    bronze: Bronze, source: str
) -> tuple[list[Found], list[RunFolder]]:
    """(files and archives, run folders) of a source, in the order of their readings."""
    landed = bronze.read("files", _COLUMNS)
    rows = [dict(zip(_COLUMNS, row, strict=True)) for row in landed]
    rows = [row for row in rows if row["source"] == source]
    rows.sort(key=itemgetter("file_version", "file"))
    folders = {r["file"]: r for r in rows if r["kind"] == "folder"}
    found: dict[str, Found] = {}
    for row in rows:
        outer = row["file"].split("!", 1)[0]
        if outer in folders:
            continue
        said = "-".join(row["path_id"].split("-")[:2])
        copy = _copy(bronze, row["raw_sha256"], outer, said)
        if copy is not None:
            found[copy.path] = copy
    runs = []
    for name, row in folders.items():
        files = _parts(bronze, name, rows)
        folder = RunFolder(name, row["format"], files, row["path_id"], name)
        runs.append(folder)
    return list(found.values()), runs


def _parts(bronze: Bronze, folder: str, rows: list[Row]) -> dict[str, Found]:
    """The raw files of a run folder, by their path in it."""
    files = {}
    for row in rows:
        outer, _, inside = row["file"].partition("!")
        if inside and outer == folder:
            name = clean_name(_last(inside))
            copy = _copy(bronze, row["raw_sha256"], name, "")
            if copy is not None:
                files[inside] = copy
    return files


def _copy(bronze: Bronze, sha256: str, name: str, path_id: str) -> Found | None:
    """The raw copy with this hash; of several names the one that is asked for."""
    folder = f"{bronze.root}/landing/{sha256[:2]}/{sha256}"
    if not sha256 or not bronze.fs.exists(folder):
        return None
    there = bronze.fs.ls(folder, detail=False)
    paths = [p for p in there if not p.endswith(".part")]
    named = [p for p in paths if _last(p) == name]
    if not paths:
        return None
    path = (named or sorted(paths))[0]
    url = path if bronze.is_local else bronze.fs.unstrip_protocol(path)
    return Found(url, path, _last(path), said_path_id=path_id)


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]
