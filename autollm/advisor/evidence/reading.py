"""A user's logs into a lake of their own, and what their cells said.

With evidence.py the only module of the advisor that knows `autollm.logs`. Invariant:
they are read as `autollm ingest` reads them; what the user said is never guessed over,
and an open question is an error, not a guess.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as AnyMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from autollm.advisor.words import several
from autollm.core.errors import AdviceError, AutoLLMError, QuestionError
from autollm.core.files import local_path
from autollm.core.ids import Origin
from autollm.core.mappings.mapping import Mapping, parse_mapping
from autollm.logs import proposals
from autollm.logs.choosing.catalog import (
    load_mapping,
    mappings_folder,
    own_mappings,
)
from autollm.logs.choosing.guesses import Guess, Guesser
from autollm.logs.landing import ingest

Cells = AnyMapping[tuple[Origin, str], tuple[dict[str, Any], int]]
"""Raw cells and line of a run, by origin and run."""
OWN_PARTS = ("mappings", "readers")
"""Folders of a home that say how its logs are read."""
INSPECT = "autollm sources inspect FILE, correct the mapping it proposes, then --as MAPPING."


@dataclass(frozen=True)
class LogOptions:
    """What the user said of the logs; what is said is never guessed over. Empty: not
    said. context: of settings that are never pooled, the value that counts. planned: a
    configuration to be checked, whose own context counts where none is said.
    """

    objective: str = ""
    knobs: tuple[str, ...] = ()
    fidelity: AnyMapping[str, str] = field(default_factory=dict)
    mapping: str = ""
    source: str = ""
    context: AnyMapping[str, str] = field(default_factory=dict)
    planned: AnyMapping[str, Any] = field(default_factory=dict)


def land(
    paths: list[str], lake: str, said: LogOptions, home: str
) -> tuple[tuple[str, str], ...]:
    """Land files in a lake as `autollm ingest` does, with the mappings and readers of a
    home; notes on how they were read, as (code, text).

    Raises:
        AdviceError: nothing could be read, or a question is open that only a person
            answers.
    """
    guesses: list[Guess] = []
    mapping = None
    with _unreadable():
        if home:
            _bring(home, lake)
        if said.mapping:
            mapping = load_mapping(said.mapping, lake)
        else:
            guesser = Guesser(lake, _words(said), _nobody, _nothing)
            guesses = guesser.guess(paths)
    _answered(guesses)
    with _unreadable():
        if not said.mapping and _words(said) != proposals.TableOptions():
            _leave_what_follows(lake, guesses)
        report = ingest(paths, lake, mapping)
    problems = [guess.problem for guess in guesses if guess.problem]
    reasons = problems + [line.reason for line in report.quarantined]
    reason, _, remedy = reasons[0].partition(" Fix: ") if reasons else [""] * 3
    first = f" First problem: {reason}" if reason else ""
    if report.n_runs == 0 and reason.startswith("--"):
        raise QuestionError(reason)  # an option is wrong, the logs are not
    if report.n_runs == 0:
        read = f"no run could be read from {', '.join(paths)}.{first}"
        raise AdviceError("unreadable", read, remedy or INSPECT)
    notes = _notes(guesses)
    if problems:
        notes += (
            (
                "set-aside",
                f"not read: {several(len(problems), 'table')}.{first}",
            ),
        )
    elif report.n_lines_quarantined:
        n_lines = report.n_lines_quarantined
        notes += (("set-aside", f"{n_lines} lines could not be read.{first}"),)
    return notes


def _leave_what_follows(lake: str, guesses: Sequence[Guess]) -> None:
    """Take out the mappings of a lake that were kept before something was said of the
    logs: none of them may answer instead.
    """
    followed = {guess.mapping.source for guess in guesses if guess.mapping}
    for path in Path(local_path(mappings_folder(lake))).glob("*.toml"):
        kept = parse_mapping(path.read_text(encoding="utf-8"), str(path))
        if kept.source not in followed:
            path.unlink()


def check_followed(said: LogOptions, mapping: Mapping) -> None:
    """Whether a mapping that was there before does what is said.

    Raises:
        AdviceError: it has another objective, other knobs or coordinates.
    """
    words = _words(said)
    goal = mapping.objective
    is_other = words.objective not in (None, goal.name, goal.column)
    if is_other or words.direction not in ("", goal.direction):
        _refuse(mapping, "objective", f"{goal.column}:{goal.direction}", said)
    read = set(
        mapping.needed_columns()
    )  # a knob or size may be made of several
    scales = {scale.name: scale.column for scale in mapping.fidelity}
    known = read - {goal.column, *scales.values()}
    chosen = []
    for knob in mapping.knobs:
        known |= {knob.name, *knob.columns}
        chosen += knob.columns or [knob.column or knob.name]
    for name in words.knobs:
        if name not in known and not any(fnmatchcase(name, k) for k in known):
            _refuse(mapping, "knobs", ",".join(chosen), said)
    for name, column in words.fidelity.items():
        if name not in scales or column not in read:
            pairs = [f"{name}={column}" for name, column in scales.items()]
            _refuse(mapping, "fidelity", ",".join(pairs), said)


def _refuse(mapping: Mapping, option: str, has: str, said: LogOptions) -> None:
    asked = getattr(said, option)
    if isinstance(asked, AnyMapping):
        asked = [f"{name}={column}" for name, column in asked.items()]
    if not isinstance(asked, str):
        asked = ",".join(asked)
    raise AdviceError(
        "unreadable",
        f"--{option} {asked!r}: the mapping {mapping.source} reads {has}.",
        f"--{option} {has}, or correct the mapping, or name the table without --as.",
    )


@contextmanager
def _unreadable() -> Iterator[None]:
    """Errors of reading as no answer."""
    try:
        yield
    except AutoLLMError as error:
        raise unreadable(error) from error


def _bring(home: str, lake: str) -> None:
    """Copy mappings and text formats of a home to the lake that is read here.

    Raises:
        MappingError: one of the mappings is wrong.
    """
    own_mappings(home)
    for part in OWN_PARTS:
        own = Path(local_path(home)) / part
        if own.is_dir():
            shutil.copytree(own, Path(lake) / part, dirs_exist_ok=True)


def _words(said: LogOptions) -> proposals.TableOptions:
    pairs = ",".join(
        f"{name}={column}" for name, column in said.fidelity.items()
    )
    return proposals.TableOptions.parse(
        said.objective or None, ",".join(said.knobs), pairs
    )


def _nobody(questions: Sequence[proposals.Question]) -> list[str]:
    """No answer: who asks for advice is asked in its own words."""
    return []


def _nothing(text: str) -> None:
    """No progress."""


def _answered(guesses: Sequence[Guess]) -> None:
    """Raise the first open question as an error."""
    for guess in guesses:
        if guess.is_asked and guess.proposal is not None:
            question = guess.proposal.questions[0]
            name = question.column
            answers = [f"{name}:{answer}" for answer in question.answers]
            said = [f"--objective {shlex.quote(a)}" for a in answers]
            code = question.code.removesuffix("-unknown")
            what = question.text.partition(" Fix: ")[0]
            remedy = f"{' or '.join(said)}."
            raise AdviceError(code, what, remedy, name)


def _notes(guesses: Sequence[Guess]) -> tuple[tuple[str, str], ...]:
    found = []
    for guess in guesses:
        if guess.mapping is not None and guess.proposal is not None:
            found += [(note.code, note.text) for note in guess.proposal.notes]
    return tuple(found)


def unreadable(error: AutoLLMError) -> AdviceError:
    """An error of reading, its remedy apart."""
    text, _, remedy = str(error).partition(" Fix: ")
    return AdviceError("unreadable", text, remedy or INSPECT)


def raw_cells(bronze: str) -> Cells:
    """Raw cells of every run and the line where it stands (0: no line, or not known),
    by origin and run.
    """
    found = {}
    for path in sorted(Path(bronze).glob("batches/*/runs.parquet")):
        names = pq.read_schema(path).names
        wanted = ("source", "group", "run_id", "header_json", "line")
        rows = pq.read_table(path, columns=[n for n in wanted if n in names])
        for row in rows.to_pylist():
            origin = Origin(row["source"], row.get("group") or "")
            cells = json.loads(row["header_json"] or "{}")
            found[origin, row["run_id"]] = cells, row.get("line") or 0
    return found


def columns_of(mapping: Any) -> dict[str, str]:
    """Canonical name -> column of the user's; derived columns have no name of theirs, but
    what stands in the names of runs has: its word there.
    """
    if mapping is None:
        return {}
    quantities = (*mapping.knobs, *mapping.fidelity, mapping.objective)
    derived = {getattr(entry, "name", entry) for entry in mapping.derived}
    made = {*derived, *mapping.lookup_of}
    found = {
        q.name: q.column
        for q in quantities
        if q.column and q.column not in made
    }
    return found | _parts_of(mapping)


def _parts_of(mapping: Any) -> dict[str, str]:
    """`knob.part` -> column, of mixtures whose columns share a prefix."""
    found = {}
    for knob in mapping.knobs:
        if knob.scale == "simplex" and knob.prefix:
            found[f"{knob.name}.*"] = f"{knob.prefix}*"
    return found
