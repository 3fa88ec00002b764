"""The catalogue of public tables: what they are, where they come from, and which of
them are at hand.

One TOML entry a source (`sources.toml`). Invariant: a file counts as the catalogue's
only by its sha256; looking at the catalogue reads no network and no table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from autollm.core.errors import UnknownNameError
from autollm.core.places import mirror


@dataclass(frozen=True)
class SourceFile:
    """One file of a source. `made_by` names how it is made of the downloaded file
    (markdown_tables); `sha256` is its own.
    """

    name: str
    path: str
    n_bytes: int
    sha256: str
    made_by: str = ""


@dataclass(frozen=True)
class Source:
    """A public table. `folder` is its place below a mirror; without an `address` there
    is nothing to download.
    """

    name: str
    family: str
    rows: Literal["measured", "surrogate"]
    about: str
    folder: str
    address: str
    commit: str
    licence: str
    citation: str
    files: tuple[SourceFile, ...]

    def url(self, file: SourceFile) -> str:
        """Where a file is downloaded from; empty when it is not."""
        return (
            f"{self.address}/{self.commit}/{file.path}" if self.address else ""
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = {
            n: getattr(self, n)
            for n in (
                "name",
                "family",
                "rows",
                "about",
                "address",
                "commit",
                "licence",
                "citation",
            )
        }
        files = [
            {
                "name": f.name,
                "url": self.url(f),
                "bytes": f.n_bytes,
                "sha256": f.sha256,
            }
            for f in self.files
        ]
        return {**plain, "files": files}


@cache
def catalogue() -> dict[str, Source]:
    """All sources by name, in the order of the file."""
    text = (resources.files("autollm.logs") / "sources.toml").read_text(
        encoding="utf-8"
    )
    found = [_source(raw) for raw in tomllib.loads(text)["sources"]]
    return {source.name: source for source in found}


def _source(raw: dict[str, Any]) -> Source:
    files = tuple(SourceFile(**entry) for entry in raw["files"])
    return Source(**{**raw, "files": files})


def find_source(name: str) -> Source:
    """A source by its name.

    Raises:
        UnknownNameError: no such source.
    """
    if name not in catalogue():
        raise UnknownNameError("source", name, catalogue())
    return catalogue()[name]


def tables_below(
    root: Path, sources: Iterable[Source] | None = None
) -> list[Path]:
    """Files of the catalogue that lie below a mirror, in the order of the catalogue."""
    chosen = catalogue().values() if sources is None else sources
    paths = (
        root / source.folder / file.name
        for source in chosen
        for file in source.files
    )
    return [path for path in paths if path.is_file()]


def public_tables() -> list[Path]:
    """Public tables that are at hand: files of the catalogue under AUTOLLM_DATA_DIR.
    Empty when that is unset or holds none.
    """
    root = mirror()
    return tables_below(root) if root else []
