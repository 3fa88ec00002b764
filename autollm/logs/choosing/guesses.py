"""What an ingest meets that no mapping reads: a proposal for each table, kept in the
home where it is sound.

    path -> files and run folders without a mapping -> tables -> proposal -> kept

Invariant: what is kept reads at least half of its rows and leaves no question open; a
mapping that a person wrote or corrected is never replaced by a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autollm.core.errors import AutoLLMError, MappingError
from autollm.core.mappings.mapping import Mapping
from autollm.logs.choosing.catalog import (
    MappingChoice,
    builtin_mappings,
    keep_mapping,
    kept_text,
    own_mappings,
)
from autollm.logs.choosing.claims import Claims, is_guess, marked
from autollm.logs.choosing.formats import readers_of
from autollm.logs.proposals import Proposal, Question, TableOptions, propose
from autollm.logs.proposals.looking import (
    LogTable,
    Walk,
    look_at_logs,
    shown_name,
)
from autollm.logs.proposals.table_names import names_of
from autollm.logs.proposals.toml_text import toml_value

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
        said: TableOptions,
        ask: Callable[[Sequence[Question]], list[str]],
        say: Callable[[str], None],
    ):
        self._home, self._said, self._ask, self._say = home, said, ask, say
        self._readers = readers_of(home)
        self._claims = Claims(home, self._readers)
        self._walk = Walk(self._readers)

    @property
    def known(self) -> set[str]:
        """Paths that hold something which is read without a guess."""
        return self._walk.known

    def guess(self, paths: Sequence[str]) -> list[Guess]:
        """A guess for each table at some paths for which no mapping is meant; with
        something said, for each table.

        Raises:
            FileNotFoundError: nothing there.
        """
        own = tuple(own_mappings(self._home).values())
        choice = MappingChoice(own=() if self._said != TableOptions() else own)
        self._walk = Walk(self._readers, choice)
        found = []
        for table in self._walk.tables(paths):
            guess = self._guess_of(table)
            if guess is None:
                self.known.update(map(self._walk.path_of, table.logs))
            else:
                found.append(guess)
        return found

    def _guess_of(self, table: LogTable) -> Guess | None:
        """A guess for a table that a mapping claims, or none; None where it is meant, or
        nothing better is found.
        """
        path_ids = tuple(map(self._walk.path_id, table.logs))
        mapping = table.mapping
        if mapping is None:
            is_new = (
                self._said != TableOptions()
                or not self._claims.are_copies(table.logs)
            )
            return self._guess(table, path_ids, self._said) if is_new else None
        if self._claims.is_meant(mapping, table.logs, path_ids, table.folder):
            return None
        if not self._may_replace(mapping.source, path_ids):
            return self._guess(table, path_ids, self._said)
        goal = mapping.objective  # a direction that was asked for stays
        said = TableOptions(objective=goal.column, direction=goal.direction)
        guess = self._guess(table, path_ids, said, is_again=True)
        return None if guess.problem else guess

    def _guess(
        self,
        table: LogTable,
        path_ids: tuple[str, ...],
        said: TableOptions,
        is_again: bool = False,
    ) -> Guess:
        """A guess for a table; `is_again` where it replaces an earlier one."""
        logs = table.logs
        name = shown_name(logs, table.folder)
        paths = tuple(dict.fromkeys(map(self._walk.path_of, logs)))
        n_more = f", {len(logs)} files" if len(logs) > 1 else ""
        how = (
            "again, since it has changed" if is_again else "for the first time"
        )
        self._say(f"{name}{n_more}: looking at it {how}")
        try:
            found = self._proposal(table, said)
        except AutoLLMError as error:
            return Guess(name, path_ids, paths, str(error))
        guess = Guess(name, path_ids, paths, found.problem, found)
        if found.questions:
            problem = found.questions[0].text
            return replace(guess, problem=problem, is_asked=True)
        if guess.problem:
            return guess
        try:
            text = self._text(found, table, path_ids)
            mapping, kept_at = keep_mapping(
                self._home, text, name, is_again or said != TableOptions()
            )
        except MappingError as error:
            return replace(guess, problem=str(error))
        return replace(guess, mapping=mapping, kept_at=kept_at)

    def _may_replace(self, source: str, path_ids: Sequence[str]) -> bool:
        """Whether the mapping of a source is a guess about these very files."""
        is_theirs = self._claims.is_same_place(source, path_ids)
        return is_theirs and self._claims.is_kept_guess(source)

    def _proposal(self, table: LogTable, said: TableOptions) -> Proposal:
        """What is proposed, once a person has answered what was asked."""
        looked = look_at_logs(table.logs, self._readers, table.folder)
        found = propose(looked, said, self._home)
        answers = self._ask(found.questions) if found.questions else []
        if not answers:
            return found
        asked = found.questions[0].column
        said = replace(said, objective=asked, direction=answers[0])
        return propose(looked, said, self._home)

    def _text(
        self, found: Proposal, table: LogTable, path_ids: tuple[str, ...]
    ) -> str:
        """The mapping file: the proposal, with a free name, for these files.

        Raises:
            MappingError: the home keeps another mapping of these files that a person
                wrote.
        """
        source, files = self._free(table, path_ids)
        lines = []
        for line in found.toml.split("\n"):
            if line.startswith("source = "):
                line = f"source = {toml_value(source)}"
            if line.startswith("files = "):
                line = f"files = {toml_value(files)}"
            lines.append(line)
        text = "\n".join(lines[1:])  # the first one speaks of `sources add`
        return marked(text, was_told=self._said != TableOptions())

    def _free(
        self, table: LogTable, path_ids: tuple[str, ...]
    ) -> tuple[str, list[str]]:
        """A source's name and patterns that are free, or those of an earlier guess of
        these files.
        """
        own = own_mappings(self._home)
        for source, files in names_of(table.logs, table.folder):
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
