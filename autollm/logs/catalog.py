"""Finding mappings: the built-in ones, and any TOML file.

What does not belong here: what a mapping means (`mapping.py`). Invariant: one source has one built-in mapping.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from pathlib import Path

from autollm.errors import MappingError, UnknownNameError
from autollm.logs.mapping import Mapping
from autollm.logs.mapping_file import parse_mapping


@cache
def builtin_mappings() -> dict[str, Mapping]:
    """Mappings that ship with the project, by source."""
    folder = resources.files("autollm.logs") / "mappings"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    mappings = [parse_mapping(f.read_text(encoding="utf-8"), f.name) for f in files]
    return {m.source: m for m in mappings}


def load_mapping(path_or_name: str | Path) -> Mapping:
    """A built-in mapping by its source's name, or the one in a TOML file.

    Raises:
        UnknownNameError: neither a built-in name nor an existing file.
        MappingError: the file is not a mapping.
    """
    text = str(path_or_name)
    if text in builtin_mappings():
        return builtin_mappings()[text]
    if not text.endswith(".toml"):
        raise UnknownNameError("mapping", text, builtin_mappings())
    try:
        return parse_mapping(Path(text).read_text(encoding="utf-8"), text)
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"cannot read the mapping file {text}: {error}") from None


@dataclass(frozen=True)
class MappingChoice:
    """Which mapping reads what: the one that the user named, or the built-in ones."""

    named: Mapping | None = None

    @property
    def candidates(self) -> tuple[Mapping, ...]:
        """All mappings that may be used, in a fixed order."""
        return (self.named,) if self.named else tuple(builtin_mappings().values())

    def for_source(self, source: str) -> Mapping | None:
        """The mapping for run logs whose header names `source`."""
        return next((m for m in self.candidates if m.source == source), None)

    def for_file(self, name: str, file_format: str) -> Mapping | None:
        """The mapping of `file_format` whose `files` patterns match the last part of a file's name."""
        short = name.rsplit("/", 1)[-1]
        fitting = (m for m in self.candidates if m.format == file_format)
        return next((m for m in fitting if any(fnmatch(short, pattern) for pattern in m.files)), None)
