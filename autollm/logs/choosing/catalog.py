"""Finding mappings: the built-in ones, the ones added to a home
(`<home>/mappings/*.toml`), and any TOML file.

Invariant: one source has one mapping in a home.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module, resources
from operator import itemgetter
from pathlib import Path

from autollm.core.errors import MappingError, UnknownNameError
from autollm.core.files import filesystem_of, join, write_atomic
from autollm.core.mappings.mapping import RUN_LOG, Mapping, parse_mapping
from autollm.logs.opening.opened import plain_name

DECLARED = ("autollm.lab.mapping:lab_mappings",)
"""Functions of other parts of the project that make mappings of what they declare; as
text, since logs knows none of them, and loaded when a mapping is looked for.
"""


@cache
def builtin_mappings() -> dict[str, Mapping]:
    """Mappings that ship with the project, by source: files, and what the lab's
    families declare.
    """
    folder = resources.files("autollm.logs") / "mappings"
    files = [f for f in folder.iterdir() if f.name.endswith(".toml")]
    found = {}
    for file in sorted(files, key=lambda f: f.name):
        mapping = parse_mapping(file.read_text(encoding="utf-8"), file.name)
        found[mapping.source] = mapping
    for name in DECLARED:
        module, function = name.split(":")
        for mapping in getattr(import_module(module), function)():
            found[mapping.source] = mapping
    return dict(sorted(found.items()))


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
    paths = fs.ls(folder, detail=False) if fs.exists(folder) else []
    for path in sorted(p for p in paths if p.endswith(".toml")):
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
    return keep_mapping(
        home, _text(_bytes(path), str(path)), str(path), replace
    )


def keep_mapping(
    home: str, text: str, where: str, replace: bool = False
) -> tuple[Mapping, str]:
    """Keep the text of a mapping file in a home; see `add_mapping`."""
    mapping = parse_mapping(text, where)
    problem = _conflict(mapping, own_mappings(home), replace)
    if problem:
        raise MappingError(f"{where}: {problem}")
    url = join(mappings_folder(home), f"{mapping.source}.toml")
    write_atomic(url, text.encode())
    return mapping, filesystem_of(url)[1]


def kept_text(home: str, source: str) -> str:
    """The mapping file of a source that a home keeps; empty where it keeps none."""
    fs, folder = filesystem_of(mappings_folder(home))
    path = f"{folder}/{source}.toml"
    return _text(fs.cat_file(path), path) if fs.exists(path) else ""


def _conflict(mapping: Mapping, own: dict[str, Mapping], replace: bool) -> str:
    """Why a mapping cannot be added to a home; empty when it can."""
    source = mapping.source
    if source in builtin_mappings():
        return f"the source {source!r} is built in. Fix: another `source` name."
    if (
        source in own
        and own[source].mapping_id != mapping.mapping_id
        and not replace
    ):
        return (
            f"this home has another mapping of the source {source!r}. Fix: --replace "
            "(what has landed is read again at the next ingest), or another `source` "
            "name."
        )
    for other in (*own.values(), *builtin_mappings().values()):
        if other.source == source or other.format != mapping.format:
            continue
        taken = [pattern for pattern in other.files if pattern in mapping.files]
        if taken:
            return (
                f"files called {taken[0]!r} belong to the source {other.source!r}. Fix: "
                f'with their folder before it, files = ["FOLDER/{taken[0]}"], they are '
                f"this mapping's; or source = {other.source!r} and --replace."
            )
    if mapping.format != RUN_LOG and "*.jsonl" in map(
        plain_name, mapping.files
    ):
        return (
            "files '*.jsonl' would claim every run log. Fix: a pattern that names the "
            "table, such as 'sweep_*.jsonl'."
        )
    return ""


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise MappingError(
            f"cannot read the mapping file {path}: {error}"
        ) from None


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
    return parse_mapping(_text(_bytes(text), text), text)


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
        if self.named:
            return (self.named,)
        return (*self.own, *builtin_mappings().values())

    def for_source(self, source: str) -> Mapping | None:
        """The mapping of a source."""
        return next((m for m in self.candidates if m.source == source), None)

    def for_file(
        self, place: str, file_format: str, landed_as: str = ""
    ) -> Mapping | None:
        """The mapping of `file_format` with the narrowest pattern that fits: a name
        before a pattern, one with more folders before one with fewer, and of equal ones
        the first. Without a folder in it a pattern means the last part of a path.

        A compression's suffix may be left out of a pattern. A file that is read again
        stays with the source that it landed as, whatever `files` says now.
        """
        best: tuple[Mapping | None, Narrowness] = (None, ())
        for mapping in self.candidates:
            if mapping.format != file_format:
                continue
            is_own = mapping.source == landed_as
            for pattern in mapping.files:
                if is_own or _fits(place, pattern):
                    how = (is_own, *_narrowness(place, pattern))
                    best = max(best, (mapping, how), key=itemgetter(1))
        return best[0]

    def pair_of(self, name: str) -> tuple[Mapping, tuple[str, str]] | None:
        """The mapping that joins a file to another one, and the names of both."""
        short = plain_name(short_name(name))
        for mapping in self.candidates:
            names = mapping.pair_of(short)
            if names is not None:
                return mapping, names
        return None

    def for_folder(
        self,
        place: str,
        files: Iterable[str],
        file_format: str,
        landed_as: str = "",
    ) -> Mapping | None:
        """The mapping of a run folder, by its own path or that of one of its files."""
        for name in (place, *(f"{place}/{file}" for file in files)):
            mapping = self.for_file(name, file_format, landed_as)
            if mapping is not None:
                return mapping
        return None

    def claims(self, place: str, file_format: str, landed_as: str = "") -> bool:
        """Whether a mapping of `file_format` reads the file, alone or joined to
        another.
        """
        pair = self.pair_of(place)
        is_joined = pair is not None and pair[0].format == file_format
        found = self.for_file(place, file_format, landed_as)
        return is_joined or found is not None

    def format_of(self, place: str) -> str | None:
        """The format of the mapping that surely means this file: one that spells its
        name out, or a home's own one.
        """
        own = None
        for mapping, pattern in self._patterns():
            if _fits(place, pattern):
                if "*" not in pattern:
                    return mapping.format
                if own is None and mapping in self.own:
                    own = mapping.format
        return own

    def _patterns(self) -> Iterator[tuple[Mapping, str]]:
        for mapping in self.candidates:
            for pattern in mapping.files:
                yield mapping, pattern
            for part in mapping.tables:
                if part.join:
                    yield mapping, part.join


def short_name(name: str) -> str:
    """The last part of a path, or of an archive member's name."""
    return name.rsplit("/", 1)[-1].rsplit("!", 1)[-1]


Narrowness = tuple[int, ...]
"""Of a pattern: whether it is a name, how far down the path its plain folders reach,
how many folders it has, its plain characters.
"""


def _narrowness(place: str, pattern: str) -> Narrowness:
    folders = re.split(r"[*?\[]", pattern)[0].rpartition("/")[0]
    reach = f"/{place}".rfind(f"/{folders}/") + len(folders) if folders else 0
    n_plain = len(pattern) - pattern.count("*")
    return (_is_plain(pattern), reach, pattern.count("/"), n_plain)


def _is_plain(pattern: str) -> bool:
    return not any(mark in pattern for mark in "*?[")


def _fits(place: str, pattern: str) -> bool:
    """Whether a path is meant, with its compression's suffix or without. Asked of every
    file for every pattern, most of which are plain names.
    """
    whole = place.replace("!", "/")
    has_folder = "/" in pattern
    name = f"/{whole}" if has_folder else whole.rsplit("/", 1)[-1]
    names = {name, plain_name(name)}
    if not has_folder:
        is_plain = _is_plain(pattern)
        return pattern in names if is_plain else _is_like(names, pattern)
    return _is_like(names, f"*/{pattern.lstrip('/')}")


def _is_like(names: Iterable[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)
