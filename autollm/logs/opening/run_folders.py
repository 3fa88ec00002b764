"""Folders that are one run, or one sweep: which readers claim which of their files.

Asked from the outermost folder inwards; a file belongs to one run folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autollm.core.records import content_hash
from autollm.logs.opening.found import Found, clean_place
from autollm.logs.opening.opened import Opened, RawFile
from autollm.logs.relation import FolderReader
from autollm.logs.tables.blocks import HEAD_BYTES


@dataclass(frozen=True)
class RunFolder:
    """A folder that a reader of `format` claims; `files` by their path from it. `name`
    begins with the folder that was asked for, `place` with the root.
    """

    name: str
    format: str
    files: dict[str, Found]
    path_id: str
    place: str

    def opened(self) -> tuple[Opened, dict[str, RawFile]]:
        """The folder as one log, whose hash is that of what its files hold, by their
        paths in it: a copy has the same, wherever it lies. And its files.

        Raises:
            OSError: one cannot be opened or read.
        """
        raws = {path: RawFile(found) for path, found in self.files.items()}
        parts = [f"{path} {raw.sha256}" for path, raw in sorted(raws.items())]
        text = "\n".join(parts).encode("utf-8", "replace")
        n_bytes = sum(raw.n_bytes for raw in raws.values())
        return Opened(self.name, content_hash(text, 64), n_bytes, b""), raws

    @property
    def claimed(self) -> set[str]:
        """The paths of its files below the folder that was asked for."""
        return {found.inside for found in self.files.values()}


def claimed_folders(
    files: Sequence[Found], readers: Sequence[FolderReader]
) -> list[RunFolder]:
    """The run folders among the files below the folder that was asked for."""
    below: dict[str, list[Found]] = {}
    for found in files:
        parts = found.inside.split("/")[:-1]
        for depth in range(len(parts) + 1 if not found.problem else 0):
            below.setdefault("/".join(parts[:depth]), []).append(found)
    claimed: set[str] = set()
    folders = []
    for folder in sorted(below, key=lambda f: (f.count("/") + bool(f), f)):
        prefix = f"{folder}/" if folder else ""
        for reader in readers:
            left = {}
            for found in below[folder]:
                if found.inside not in claimed:
                    left[found.inside.removeprefix(prefix)] = found
            mine = reader.matches_folder(sorted(left)) if left else ()
            chosen = {path: left[path] for path in mine}
            if chosen and _confirmed(reader, chosen):
                folders.append(_run_folder(folder, reader.format, chosen))
                claimed |= folders[-1].claimed
    return folders


def _confirmed(reader: FolderReader, files: dict[str, Found]) -> bool:
    """Whether a reader that asks for it says yes to the beginnings of its files."""
    confirms = getattr(reader, "confirms", None)

    def head(path: str) -> bytes:
        return RawFile(files[path]).head(HEAD_BYTES)

    try:
        return confirms is None or confirms([*files], head)
    except OSError:
        return False


def _run_folder(
    folder: str, file_format: str, files: dict[str, Found]
) -> RunFolder:
    """Its name is the path from what was asked for, that included: its last part alone
    (`version_0`) names many.
    """
    first = next(iter(files.values()))
    root = first.path.removesuffix(first.inside).rstrip("/")
    path = f"{root}/{folder}".rstrip("/")
    name = clean_place(f"{root.rsplit('/', 1)[-1]}/{folder}")
    digest = content_hash(path.encode("utf-8", "surrogatepass"), 8)
    return RunFolder(
        name, file_format, files, f"{digest}-folder", clean_place(path)
    )
