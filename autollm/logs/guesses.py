"""What an ingest meets that no mapping reads: a proposal for each table, kept in the
home where it is sound.

    path -> files and run folders without a mapping -> tables -> proposal -> kept

Invariant: what is kept reads at least half of its rows and leaves no question open; a
mapping that a person wrote or corrected is never replaced by a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autollm.core.errors import AutoLLMError, MappingError, RecordError
from autollm.core.mapping import RUN_LOG, Mapping
from autollm.core.mapping_checks import TABLES
from autollm.core.records import content_hash
from autollm.logs import archives
from autollm.logs.catalog import (
    MappingChoice,
    builtin_mappings,
    keep_mapping,
    kept_text,
    own_mappings,
    short_name,
)
from autollm.logs.formats import readers_of
from autollm.logs.found import Found, clean_name, find_files
from autollm.logs.opened import Opened, RawFile, head_of, plain_name
from autollm.logs.proposals import Proposal, Question, Said, propose
from autollm.logs.proposals.looking import (
    Unit,
    look_at_units,
    members_of,
    read_file,
    read_member,
)
from autollm.logs.proposals.toml_text import toml_value
from autollm.logs.relation import OWN_COLUMNS
from autollm.logs.run_folders import RunFolder, claimed_folders
from autollm.logs.tables.blocks import HEAD_BYTES

MARK = "# Guessed by `autollm ingest` as "
"""Begins a mapping that a guess keeps; the hash of what follows comes next, so that one
which a person has corrected is known.
"""
LEFT_OUT = ("constant", "fixed", "label", "measured", "ignored")
"""Roles of columns that a mapping does not read."""


@dataclass(frozen=True)
class Guess:
    """What was made of one table, or of the runs of one tool.

    Attributes:
        path_ids: Of its files and run folders.
        problem: Why nothing of it lands, with the remedy; empty where it lands.
        kept_at: Where its mapping lies.
        is_asked: Whether a question is open that a person must answer.
    """

    name: str
    path_ids: tuple[str, ...]
    problem: str = ""
    proposal: Proposal | None = None
    mapping: Mapping | None = None
    kept_at: str = ""
    is_asked: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        told = {
            "name": self.name,
            "problem": self.problem,
            "source": self.mapping.source if self.mapping else "",
            "mapping": self.kept_at,
        }
        found = self.proposal.as_dict() if self.proposal else {}
        for part in ("questions", "notes", "summary"):
            told[part] = found.get(part)
        return told

    def told(self) -> list[str]:
        """What a person should know, in lines."""
        lines = []
        found = self.proposal
        if found is not None and (self.mapping or self.is_asked):
            told = (
                found.summary.text.partition(": ")[2] if found.summary else ""
            )
            lines += f"{self.name}: {told}".split("\n")
            lines += _columns(found, self.mapping)
            lines += [f"note: {note}" for note in found.notes]
        if self.problem:
            lines.append(f"not landed {self.name}: {self.problem}")
        if self.kept_at:
            lines.append(
                f"mapping kept: {self.kept_at}. Correct it there: what has landed is "
                "read again at the next ingest (autollm sources inspect shows more)."
            )
        return lines


def problems_of(guesses: Iterable[Guess]) -> dict[str, str]:
    """Why files do not land, by path id."""
    found: dict[str, str] = {}
    for guess in guesses:
        if guess.problem:
            found |= dict.fromkeys(guess.path_ids, guess.problem)
    return found


def nobody(questions: Sequence[Question]) -> list[str]:
    """The answers where nobody can be asked: none."""
    return []


def _columns(found: Proposal, mapping: Mapping | None) -> list[str]:
    """The metrics beside the objective, and what is not read, with the reason."""
    lines = []
    if mapping is not None and mapping.secondary:
        names = ", ".join(quantity.name for quantity in mapping.secondary)
        lines.append(f"other metrics: {names}")
    left_out: dict[str, list[str]] = {}
    for column in found.columns:
        if column["role"] in LEFT_OUT:
            left_out.setdefault(column["why"], []).append(column["name"])
    for why, names in left_out.items():
        lines.append(f"left out: {', '.join(names)} ({why})")
    return lines


class Guesser:
    """Guesses for one home. `ask` answers questions, with nothing where nobody can."""

    def __init__(
        self,
        home: str,
        said: Said,
        ask: Callable[[Sequence[Question]], list[str]],
        say: Callable[[str], None],
    ):
        self._home, self._said, self._ask, self._say = home, said, ask, say
        self._readers = readers_of(home)
        self._path_ids: dict[str, str] = {}
        self.has_known = False
        """Whether the last path held anything that is read without a guess."""

    def guess(self, path: str) -> list[Guess]:
        """A guess for each table at a path that no mapping reads; with something said,
        for each table.

        Raises:
            FileNotFoundError: nothing there.
        """
        self.has_known = False
        files, is_folder = find_files(path)
        own = tuple(own_mappings(self._home).values())
        choice = MappingChoice(own=() if self._said != Said() else own)
        folder = clean_name(path.rstrip("/").rsplit("/", 1)[-1])
        found = []
        for units in self._tables(files, path if is_folder else "", choice):
            found.append(self._guess(units, folder))
        return found

    def _tables(
        self, files: list[Found], root: str, choice: MappingChoice
    ) -> list[list[Unit]]:
        """Units without a mapping, those of one tool or one header together."""
        tables: dict[Any, list[Unit]] = {}
        if root:
            for folder in claimed_folders(files, root, self._readers.folders):
                names = (folder.name, *folder.files)
                files = [f for f in files if f.inside not in folder.claimed]
                if any(choice.for_file(n, folder.format) for n in names):
                    self.has_known = True
                else:
                    tables.setdefault(folder.format, []).append(folder)
        for file in files:
            if file.problem or (root and file.is_hidden):
                continue
            for unit in self._units_of(file):
                key = self._table_of(unit, choice)
                if key:
                    tables.setdefault(key, []).append(unit)
        return list(tables.values())

    def _units_of(self, file: Found) -> Iterator[Found | Opened]:
        """The file, or the members of an archive."""
        if not archives.is_archive(file.name):
            yield file
            return
        self._path_ids[file.name] = file.path_id
        try:
            yield from members_of(file)
        except OSError:
            return

    def _table_of(
        self, file: Found | Opened, choice: MappingChoice
    ) -> tuple[str, ...] | None:
        """What the file shares with others of its table; None where it is read already,
        or can be by nobody.
        """
        try:
            is_member = isinstance(file, Opened)
            head = (
                head_of(file, HEAD_BYTES)
                if is_member
                else RawFile(file).head(HEAD_BYTES)
            )
        except (OSError, RecordError):
            return None
        reader = self._readers.for_file(short_name(file.name), head, choice)
        if reader is None:
            return None
        is_log = reader.format == RUN_LOG
        if is_log or choice.claims(file.name, reader.format):
            self.has_known = True
            return None
        if reader.format not in TABLES:
            return (reader.format,)
        read = read_member if is_member else read_file
        try:
            first = next(iter(read(file, self._readers)), None)
        except MappingError:
            return (reader.format, file.name)
        columns = first.runs.column_names if first else ()
        return (reader.format, *sorted(set(columns) - OWN_COLUMNS))

    def _guess(self, units: list[Unit], folder: str) -> Guess:
        name = units[0].name if len(units) == 1 else f"{folder}/*"
        path_ids = tuple(map(self._path_id, units))
        n_more = f", {len(units)} files" if len(units) > 1 else ""
        self._say(f"{name}{n_more}: no mapping reads it, looking at it")
        try:
            found = self._proposal(units)
        except AutoLLMError as error:
            return Guess(name, path_ids, str(error))
        guess = Guess(name, path_ids, _problem(found), found)
        if guess.problem:
            return replace(guess, is_asked=bool(found.questions))
        try:
            text = self._text(found, units, folder)
            mapping, kept_at = keep_mapping(
                self._home, text, name, replace=self._said != Said()
            )
        except MappingError as error:
            return replace(guess, problem=str(error))
        return replace(guess, mapping=mapping, kept_at=kept_at)

    def _path_id(self, unit: Unit) -> str:
        if isinstance(unit, Opened):
            return self._path_ids[unit.name.split("!")[0]]
        return unit.path_id

    def _proposal(self, units: list[Unit]) -> Proposal:
        """What is proposed, once a person has answered what was asked."""
        found = propose(
            look_at_units(units, self._readers), self._said, self._home
        )
        answers = self._ask(found.questions) if found.questions else []
        if not answers:
            return found
        said = replace(
            self._said,
            objective=found.questions[0].column,
            direction=answers[0],
        )
        return propose(look_at_units(units, self._readers), said, self._home)

    def _text(self, found: Proposal, units: list[Unit], folder: str) -> str:
        """The mapping file: the proposal, with a free name, for these files.

        Raises:
            MappingError: the home keeps another mapping of these files that a person
                wrote.
        """
        mapping = found.mapping
        source = mapping.source
        if len(units) > 1:
            source = clean_name(folder).lower().strip("-_.") or "runs"
        files = _patterns(units, mapping.files)
        source = self._free(source, files)
        lines = []
        for line in found.toml.split("\n"):
            if line.startswith("source = "):
                line = f"source = {toml_value(source)}"
            if line.startswith("files = "):
                line = f"files = {toml_value(files)}"
            lines.append(line)
        text = "\n".join(lines[1:])  # the first one speaks of `sources add`
        return f"{MARK}{content_hash(text)}.\n{text}"

    def _free(self, source: str, files: list[str]) -> str:
        """A source's name that is free, or its own one of an earlier guess."""
        own = own_mappings(self._home)
        for name in _numbered(source):
            if name in builtin_mappings():
                continue
            if name not in own:
                return name
            if not set(own[name].files) & set(files):
                continue
            if not _is_guess(kept_text(self._home, name)):
                raise MappingError(
                    f"this home keeps a mapping of it that a person wrote or corrected "
                    f"(mappings/{name}.toml). Fix: correct that file, or leave "
                    "--objective, --knobs and --fidelity out."
                )
            return name
        raise AssertionError("numbers do not end")


def _problem(found: Proposal) -> str:
    """Why a proposal is not used; empty where it is sound."""
    if found.questions:
        return found.questions[0].text
    return found.problem


def _patterns(units: list[Unit], proposed: Sequence[str]) -> list[str]:
    """Which files the mapping reads: of tables these; of a tool's logs all of their
    kind, so that runs which are still to come land with the others.
    """
    if isinstance(units[0], RunFolder):
        is_one = len(units) == 1
        return [short_name(units[0].name)] if is_one else ["*"]
    names = dict.fromkeys(plain_name(short_name(unit.name)) for unit in units)
    has_pattern = len(units) > 1 and not units[0].name.endswith(_TABLE_SUFFIXES)
    return list(proposed) if has_pattern else list(names)


_TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _is_guess(text: str) -> bool:
    """Whether a kept mapping is a guess that nobody has touched."""
    first, _, rest = text.partition("\n")
    return first == f"{MARK}{content_hash(rest)}."
