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

from autollm.core.errors import AutoLLMError, MappingError
from autollm.core.mapping import RUN_LOG, Mapping
from autollm.core.mapping_checks import TABLES
from autollm.logs.choosing.catalog import (
    MappingChoice,
    builtin_mappings,
    keep_mapping,
    kept_text,
    own_mappings,
)
from autollm.logs.choosing.claims import Claims, is_guess, marked
from autollm.logs.choosing.formats import readers_of
from autollm.logs.opening import archives
from autollm.logs.opening.found import Found, find_files
from autollm.logs.opening.opened import Opened
from autollm.logs.opening.run_folders import RunFolder, claimed_folders
from autollm.logs.proposals import Proposal, Question, Said, propose
from autollm.logs.proposals.looking import (
    held_units,
    look_at_units,
    parts_of_file,
    read_unit,
    reader_of,
    shown_name,
    tables_of_runs,
)
from autollm.logs.proposals.table_names import Unit, names_of
from autollm.logs.proposals.toml_text import toml_value
from autollm.logs.relation import OWN_COLUMNS
from autollm.logs.units import member_path_id

Claimed = tuple[Mapping | None, list[Unit], str]
"""The mapping that claims a table, what it consists of, and where that was found."""
LEFT_OUT = ("constant", "fixed", "label", "measured", "ignored")
"""Roles of columns that a mapping does not read."""


@dataclass(frozen=True)
class Guess:
    """What was made of one table, or of the runs of one tool.

    Attributes:
        path_ids: Of its files and run folders.
        paths: Which of the paths that were named hold them.
        problem: Why nothing of it lands, with the remedy; empty where it lands.
        kept_at: Where its mapping lies.
        is_asked: Whether a question is open that a person must answer.
    """

    name: str
    path_ids: tuple[str, ...]
    paths: tuple[str, ...]
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
        self._claims = Claims(home, self._readers)
        self._archives: dict[str, Found] = {}
        self._path_of: dict[str, str] = {}
        self.known: set[str] = set()
        """Paths that hold something which is read without a guess."""

    def guess(self, paths: Sequence[str]) -> list[Guess]:
        """A guess for each table at some paths for which no mapping is meant; with
        something said, for each table. Run folders of several paths are one table where
        their settings are the same.

        Raises:
            FileNotFoundError: nothing there.
        """
        own = tuple(own_mappings(self._home).values())
        choice = MappingChoice(own=() if self._said != Said() else own)
        found = []
        for mapping, units, folder in self._tables(paths, choice):
            guess = self._guess_of(mapping, units, folder)
            if guess is None:
                self.known |= {self._path_of[self._outer(u)] for u in units}
            else:
                found.append(guess)
        return found

    def _guess_of(
        self, mapping: Mapping | None, units: list[Unit], folder: str
    ) -> Guess | None:
        """A guess for a table that a mapping claims, or none; None where it is meant, or
        nothing better is found.
        """
        path_ids = tuple(map(self._path_id, units))
        if mapping is None:
            return self._guess(units, path_ids, folder, self._said, False)
        if self._claims.is_meant(mapping, units, path_ids, folder):
            return None
        if not self._may_replace(mapping.source, path_ids):
            return self._guess(units, path_ids, folder, self._said, False)
        goal = mapping.objective  # a direction that was asked for stays
        said = Said(objective=goal.column, direction=goal.direction)
        guess = self._guess(units, path_ids, folder, said, True)
        return None if guess.problem else guess

    def _tables(
        self, paths: Sequence[str], choice: MappingChoice
    ) -> Iterator[Claimed]:
        """Tables that no built-in mapping reads."""
        roots, folders = [], []
        tables: dict[Any, Claimed] = {}
        for path in paths:
            files, is_folder = find_files(path)
            self._path_of |= {file.path_id: path for file in files}
            root = _root_of(files)
            if is_folder:
                here = claimed_folders(files, self._readers.folders)
                self._path_of |= {folder.path_id: path for folder in here}
                claimed = set().union(*(folder.claimed for folder in here))
                files = [f for f in files if f.inside not in claimed]
                files = [f for f in files if not f.is_hidden]
                folders += here
                roots += [root] * bool(here)
            packed = self._add_files(tables, files, root, choice)
            self._path_of |= {folder.path_id: path for folder in packed}
            folders += packed
            roots += [files[0].path if len(files) == 1 else root] * bool(packed)
        root = roots[0] if len(roots) == 1 else ""
        yield from self._tables_of_runs(folders, root, choice)
        yield from tables.values()

    def _add_files(
        self,
        tables: dict[Any, Claimed],
        files: Sequence[Found],
        root: str,
        choice: MappingChoice,
    ) -> list[RunFolder]:
        """The files below `root`, and members of archives, to those of their table; gives
        the run folders that lie in archives.
        """
        folders = []
        for file in files:
            where = file.name if archives.is_archive(file.name) else root
            for unit in () if file.problem else self._units_of(file):
                if isinstance(unit, RunFolder):
                    folders.append(unit)
                    continue
                found = self._table_of(unit, choice)
                if found is None:
                    continue
                key, mapping = found
                key = (where, mapping.source if mapping else "", *key)
                tables.setdefault(key, (mapping, [], where))[1].append(unit)
        return folders

    def _tables_of_runs(
        self, folders: Sequence[RunFolder], root: str, choice: MappingChoice
    ) -> Iterator[Claimed]:
        """Those of run folders: what one mapping claims, and what none does."""
        by_mapping: dict[str, tuple[Mapping | None, list[RunFolder]]] = {}
        for folder in folders:
            mapping = choice.for_folder(
                folder.place, folder.files, folder.format
            )
            key = mapping.source if mapping else ""
            by_mapping.setdefault(key, (mapping, []))[1].append(folder)
        for mapping, runs in by_mapping.values():
            for table, where in tables_of_runs(runs, root, self._readers):
                yield mapping, list(table), where

    def _units_of(self, file: Found) -> Iterator[Unit]:
        """The file, or what an archive holds."""
        if not archives.is_archive(file.name):
            parts = parts_of_file(file, self._readers)
            if parts:
                self._archives[file.name] = file
            yield from parts or [file]
            return
        self._archives[file.name] = file
        try:
            yield from held_units(file, self._readers)
        except OSError:
            return

    def _table_of(
        self, file: Found | Opened, choice: MappingChoice
    ) -> tuple[tuple[str, ...], Mapping | None] | None:
        """What the file shares with others of its table, and the mapping of the home that
        claims it; None where it is read without one, or can be by nobody.
        """
        reader = reader_of(file, self._readers, choice)
        if reader is None:
            return None
        place = file.name if isinstance(file, Opened) else file.place
        mapping = choice.for_file(place, reader.format)
        is_kept = mapping is not None and mapping in choice.own
        is_claimed = choice.claims(place, reader.format) and not is_kept
        if reader.format == RUN_LOG or is_claimed:
            self.known.add(self._path_of[self._outer(file)])
            return None
        if reader.format not in TABLES:
            part = file.part if isinstance(file, Opened) else ""
            return (reader.format, part), mapping
        try:
            first = next(read_unit(file, self._readers), None)
        except MappingError:
            return (reader.format, file.name), mapping
        columns = first.runs.column_names if first else ()
        return (reader.format, *sorted(set(columns) - OWN_COLUMNS)), mapping

    def _guess(
        self,
        units: list[Unit],
        path_ids: tuple[str, ...],
        folder: str,
        said: Said,
        is_again: bool,
    ) -> Guess:
        """A guess for a table; `is_again` where it replaces an earlier one."""
        name = shown_name(units, folder)
        paths = tuple({self._path_of[self._outer(unit)] for unit in units})
        n_more = f", {len(units)} files" if len(units) > 1 else ""
        how = (
            "again, since it has changed" if is_again else "for the first time"
        )
        self._say(f"{name}{n_more}: looking at it {how}")
        try:
            found = self._proposal(units, folder, said)
        except AutoLLMError as error:
            return Guess(name, path_ids, paths, str(error))
        guess = Guess(name, path_ids, paths, _problem(found), found)
        if guess.problem:
            return replace(guess, is_asked=bool(found.questions))
        try:
            text = self._text(found, units, path_ids, folder)
            mapping, kept_at = keep_mapping(
                self._home, text, name, is_again or said != Said()
            )
        except MappingError as error:
            return replace(guess, problem=str(error))
        return replace(guess, mapping=mapping, kept_at=kept_at)

    def _outer(self, unit: Unit) -> str:
        """The path id of a file, run folder, or of the archive that holds a member."""
        if isinstance(unit, Opened):
            return self._archives[unit.name.split("!")[0]].path_id
        return unit.path_id

    def _path_id(self, unit: Unit) -> str:
        outer = self._outer(unit)
        is_member = isinstance(unit, Opened)
        return member_path_id(outer, unit.name) if is_member else outer

    def _may_replace(self, source: str, path_ids: Sequence[str]) -> bool:
        """Whether the mapping of a source is a guess about these very files."""
        is_theirs = self._claims.is_same_place(source, path_ids)
        return is_theirs and self._claims.is_kept_guess(source)

    def _proposal(self, units: list[Unit], folder: str, said: Said) -> Proposal:
        """What is proposed, once a person has answered what was asked."""
        looked = look_at_units(units, self._readers, folder)
        found = propose(looked, said, self._home)
        answers = self._ask(found.questions) if found.questions else []
        if not answers:
            return found
        said = replace(
            said, objective=found.questions[0].column, direction=answers[0]
        )
        return propose(looked, said, self._home)

    def _text(
        self,
        found: Proposal,
        units: list[Unit],
        path_ids: tuple[str, ...],
        folder: str,
    ) -> str:
        """The mapping file: the proposal, with a free name, for these files.

        Raises:
            MappingError: the home keeps another mapping of these files that a person
                wrote.
        """
        source, files = self._free(units, path_ids, folder)
        lines = []
        for line in found.toml.split("\n"):
            if line.startswith("source = "):
                line = f"source = {toml_value(source)}"
            if line.startswith("files = "):
                line = f"files = {toml_value(files)}"
            lines.append(line)
        text = "\n".join(lines[1:])  # the first one speaks of `sources add`
        return marked(text, was_told=self._said != Said())

    def _free(
        self, units: list[Unit], path_ids: tuple[str, ...], folder: str
    ) -> tuple[str, list[str]]:
        """A source's name and patterns that are free, or those of an earlier guess of
        these files.
        """
        own = own_mappings(self._home)
        for source, files in names_of(units, folder):
            taken = {s for s, m in own.items() if set(m.files) & set(files)}
            if source in builtin_mappings():
                continue
            if source not in own and not taken:
                return source, files
            is_theirs = self._claims.is_same_place(source, path_ids)
            if taken != {source} or not is_theirs:
                continue
            if not is_guess(kept_text(self._home, source)):
                raise MappingError(
                    f"this home keeps a mapping of it that a person wrote or corrected "
                    f"(mappings/{source}.toml). Fix: correct that file, or leave "
                    "--objective, --knobs and --fidelity out."
                )
            return source, files
        raise AssertionError("names do not end")


def _problem(found: Proposal) -> str:
    """Why a proposal is not used; empty where it is sound."""
    if found.questions:
        return found.questions[0].text
    return found.problem


def _root_of(files: Sequence[Found]) -> str:
    """The folder below which files were found."""
    if not files:
        return ""
    return files[0].path.removesuffix(files[0].inside).rstrip("/")
