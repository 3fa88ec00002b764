"""Finding mappings: the built-in ones, the ones added to a home
(`<home>/mappings/*.toml`), and any TOML file.

What does not belong here: what a mapping means (`mapping.py`). Invariant: one source
has one mapping in a home.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from pathlib import Path

from autollm.core.errors import MappingError, UnknownNameError
from autollm.core.files import filesystem_of
from autollm.logs.retiring.containers import plain_name
from autollm.logs.retiring.mapping import Mapping
from autollm.logs.retiring.mapping_file import parse_mapping


@cache
def builtin_mappings() -> dict[str, Mapping]:
    """Mappings that ship with the project, by source."""
    folder = resources.files("autollm.logs") / "mappings"
    files = sorted(
        (f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name
    )
    mappings = [parse_mapping(f.read_text(encoding="utf-8"), f.name) for f in files]
    return {m.source: m for m in mappings}


def mappings_folder(home: str) -> str:
    """Where the mappings that were added to a home lie."""
    return f"{str(home).rstrip('/')}/mappings"


def own_mappings(home: str) -> dict[str, Mapping]:
    """Mappings that were added to a home, by source.

    Raises:
        MappingError: a file there is no mapping, or its source has another mapping too.
    """
    fs, folder = filesystem_of(mappings_folder(home))
    found: dict[str, Mapping] = {}
    for path in sorted(fs.glob(f"{folder}/*.toml")):
        mapping = parse_mapping(_text(fs.cat_file(path), path), path)
        if mapping.source in found or mapping.source in builtin_mappings():
            raise MappingError(
                f"{path}: the source {mapping.source!r} has another mapping already. "
                "Fix: remove one, or rename the source."
            )
        found[mapping.source] = mapping
    return found


def add_mapping(
    home: str, path: str | Path, replace: bool = False
) -> tuple[Mapping, str]:
    """Keep a mapping file in a home; returns it and where it lies.

    Raises:
        MappingError: no mapping, a source or file pattern that is taken, or a pattern
            that would claim every run log.
    """
    mapping = parse_mapping(_text(_bytes(path), str(path)), str(path))
    own = own_mappings(home)
    if mapping.source in builtin_mappings():
        raise MappingError(
            f"{path}: the source {mapping.source!r} is built in. Fix: another `source` "
            "name."
        )
    if (
        mapping.source in own
        and own[mapping.source].mapping_id != mapping.mapping_id
        and not replace
    ):
        raise MappingError(
            f"{path}: this home has another mapping of the source {mapping.source!r}. "
            "Fix: --replace (what has landed stays "
            "as it is until it is ingested anew), or another `source` name."
        )
    others = [
        m
        for m in (*own.values(), *builtin_mappings().values())
        if m.source != mapping.source and m.format == mapping.format
    ]
    taken = [
        (pattern, m.source)
        for m in others
        for pattern in m.files
        if pattern in mapping.files
    ]
    if taken:
        raise MappingError(
            f"{path}: files called {taken[0][0]!r} belong to the source "
            f"{taken[0][1]!r}. Fix: another name or pattern."
        )
    if mapping.format != "autollm.run/1" and any(
        plain_name(p) == "*.jsonl" for p in mapping.files
    ):
        raise MappingError(
            f"{path}: files '*.jsonl' would claim every run log. Fix: a pattern that "
            "names the table, such as 'sweep_*.jsonl'."
        )
    fs, folder = filesystem_of(mappings_folder(home))
    target = f"{folder}/{mapping.source}.toml"
    fs.makedirs(folder, exist_ok=True)
    fs.pipe_file(f"{target}.part", _bytes(path))
    fs.mv(f"{target}.part", target)
    return mapping, target


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise MappingError(f"cannot read the mapping file {path}: {error}") from None


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MappingError(
            f"cannot read the mapping file {where}: {error}. Fix: save it as UTF-8."
        ) from None


def load_mapping(path_or_name: str | Path, home: str | None = None) -> Mapping:
    """A mapping by its source's name (built in, or added to `home`), or the one in a
    TOML file.

    Raises:
        UnknownNameError: neither a known name nor a TOML file.
        MappingError: the file is not a mapping.
    """
    text = str(path_or_name)
    known = builtin_mappings() | (own_mappings(home) if home else {})
    if text in known:
        return known[text]
    if not text.endswith(".toml"):
        raise UnknownNameError("mapping", text, known)
    try:
        return parse_mapping(Path(text).read_text(encoding="utf-8"), text)
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"cannot read the mapping file {text}: {error}") from None


@dataclass(frozen=True)
class MappingChoice:
    """Which mapping reads what: the one that the user named, or those of the home and
    the built-in ones.
    """

    named: Mapping | None = None
    own: tuple[Mapping, ...] = ()

    @property
    def candidates(self) -> tuple[Mapping, ...]:
        """All mappings that may be used, in a fixed order; a home's own come first."""
        return (
            (self.named,) if self.named else (*self.own, *builtin_mappings().values())
        )

    def for_source(self, source: str) -> Mapping | None:
        """The mapping for run logs whose header names `source`."""
        return next((m for m in self.candidates if m.source == source), None)

    def for_file(self, name: str, file_format: str) -> Mapping | None:
        """The mapping of `file_format` whose `files` patterns match the last part of a
        file's name; a name before a pattern.

        A compression's suffix may be left out of a pattern.
        """
        short = short_name(name)
        fitting = [
            m
            for m in self.candidates
            if m.format == file_format and any(_fits(short, p) for p in m.files)
        ]
        exact = (
            m for m in fitting if any(_fits(short, p) for p in m.files if "*" not in p)
        )
        return next(exact, next(iter(fitting), None))

    def is_of_a_pair(self, name: str) -> bool:
        """Whether a mapping joins the file to another one."""
        short = plain_name(short_name(name))
        return any(mapping.pair_of(short) for mapping in self.candidates)

    def claims(self, name: str, file_format: str) -> bool:
        """Whether a mapping of `file_format` reads the file, alone or joined to
        another.
        """
        short = plain_name(short_name(name))
        joined = any(
            m.format == file_format and m.pair_of(short) for m in self.candidates
        )
        return joined or self.for_file(name, file_format) is not None

    def format_of(self, name: str) -> str | None:
        """The format of the mapping that surely means this file: one that spells its
        name out, or a home's own one.
        """
        short = short_name(name)
        patterns = [
            (p, m)
            for m in self.candidates
            for p in (*m.files, *(part.join for part in m.parts if part.join))
            if _fits(short, p)
        ]
        exact = (m.format for p, m in patterns if "*" not in p)
        own = (m.format for _, m in patterns if m in self.own)
        return next(exact, next(own, None))


def short_name(name: str) -> str:
    """The last part of a path, or of an archive member's name."""
    return name.rsplit("/", 1)[-1].rsplit("!", 1)[-1]


def _fits(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) or fnmatch(plain_name(name), pattern)
