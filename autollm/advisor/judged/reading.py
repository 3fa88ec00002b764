"""Reading and deciding apart: does the same advice come out of other people's files?

The reference is a clean table of settings and outcome with its objective, knobs and
sizes said by hand. Of every other file nothing is said. The same advice names the same
knobs and the same first configuration.

Invariant: of a question that is not answered the same way, the reason is told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autollm.advisor.evidence.evidence import LogOptions
from autollm.advisor.judged.questions import (
    DrawnQuestion,
    HiddenExperiment,
    draw,
)
from autollm.advisor.judged.records import Records, made_by
from autollm.advisor.judged.rewriting import (
    FORMATS,
    LOSS,
    SCORE,
    Book,
    flat,
    peoples,
    runs_of,
    write_clean,
)
from autollm.advisor.recommend import recommend
from autollm.core.errors import AdviceError, AutoLLMError
from autollm.core.files import scratch_folder
from autollm.core.progress import Progress

OPTUNA = "Optuna dataframe"
NOTHING = 1e-6
"""Share of a mixture that is none: columns hold four digits."""
MOST_QUESTIONS = 3
"""Of a source: its files are read alike whichever experiment is hidden."""
SAME = 0.01
"""Relative difference of a setting below which it is the same."""


@dataclass(frozen=True)
class Reading:
    """One question from one file. why: empty where the advice is the same."""

    source: str
    question: str
    format: str
    why: str

    @property
    def same(self) -> bool:
        return not self.why


def read_all(
    questions: Sequence[HiddenExperiment],
    records: Records,
) -> list[Reading]:
    """At most MOST_QUESTIONS of a source from every format; a source of which a table
    has no columns, as its choices are lists, is left out.
    """
    asked = few_of_each(questions)
    progress = Progress("reading", len(asked))
    found: list[Reading] = []
    for i, hidden in enumerate(asked, 1):
        found += _read(hidden, records)
        progress.reach(i, hidden.question_id)
    progress.close()
    return found


def few_of_each(
    questions: Sequence[HiddenExperiment],
) -> list[HiddenExperiment]:
    """MOST_QUESTIONS of a source, of different groups before more of one group: the first
    of every source, then the second ones.
    """
    by_source: dict[str, list[tuple[int, int, HiddenExperiment]]] = {}
    groups: dict[str, int] = {}
    for i, hidden in enumerate(questions):
        if _has_list(hidden):
            continue
        group = hidden.table.group
        groups[group] = groups.get(group, 0) + 1
        mine = by_source.setdefault(hidden.table.source, [])
        mine.append((groups[group], i, hidden))
    rounds: list[list[HiddenExperiment]] = [[] for _ in range(MOST_QUESTIONS)]
    for mine in by_source.values():
        mine.sort(key=lambda entry: entry[:2])
        for asked, (_, _, hidden) in zip(rounds, mine, strict=False):
            asked.append(hidden)
    return [hidden for asked in rounds for hidden in asked]


def _has_list(hidden: HiddenExperiment) -> bool:
    knobs = hidden.experiments[hidden.target].space.knobs
    return any(knob.scale == "list" for knob in knobs)


def _read(
    hidden: HiddenExperiment,
    records: Records,
) -> list[Reading]:
    identity = made_by(__name__, hidden.table.whole.table_id)
    known = records.known(
        "reading",
        hidden.question_id,
        identity,
        lambda: {"why": readings(draw(hidden, 0))},
    )
    source = hidden.table.source
    return [
        Reading(source, hidden.question_id, name, why)
        for name, why in known["why"].items()
    ]


def readings(drawn: DrawnQuestion) -> dict[str, str]:
    """Format -> why its advice is not that of the clean table; empty: it is."""
    book = book_of(drawn)
    with scratch_folder("reading") as folder:
        path = write_clean(book, folder)
        try:
            wanted = _configuration(path, drawn, _said(book))
        except AutoLLMError as error:
            return dict.fromkeys(FORMATS, f"the clean table: {error}")
    return {name: _why(name, book, drawn, wanted) for name in FORMATS}


def book_of(drawn: DrawnQuestion) -> Book:
    """The evidence's runs under the names that people give."""
    direction = drawn.hidden.experiments[drawn.hidden.target].direction
    objective = SCORE if direction == "max" else LOSS
    sizes = tuple(peoples(drawn.hidden.fidelity))
    return Book(runs_of(drawn.evidence.runs), objective, sizes)


def _said(book: Book) -> LogOptions:
    direction = "max" if book.objective == SCORE else "min"
    settings = flat(book.runs[0].settings)
    knobs = [n for n in settings if n not in (*book.sizes, "seed")]
    return LogOptions(
        f"{book.objective}:{direction}",
        tuple(knobs),
        {name: name for name in book.sizes},
    )


def _why(
    name: str,
    book: Book,
    drawn: DrawnQuestion,
    wanted: Mapping[str, Any],
) -> str:
    with scratch_folder("reading") as folder:
        path = FORMATS[name](book, folder)
        try:
            found = _configuration(path, drawn, _unsaid(name, book))
        except AdviceError as error:
            return f"{error.code}: {error.text}"
        except AutoLLMError as error:
            return str(error)
    return difference(wanted, found)


def _unsaid(
    name: str,
    book: Book,
) -> LogOptions:
    """Nothing; the direction alone where the format calls every objective `value`."""
    if name != OPTUNA:
        return LogOptions()
    return LogOptions(f"value:{'max' if book.objective == SCORE else 'min'}")


def _configuration(
    path: Path,
    drawn: DrawnQuestion,
    said: LogOptions,
) -> dict[str, Any]:
    target = peoples(drawn.hidden.fidelity)
    advice = recommend(path, target, trials=1, said=said)
    return dict(advice.recommendations[0].configuration)


def difference(
    wanted: Mapping[str, Any],
    found: Mapping[str, Any],
) -> str:
    """How a configuration differs from the wanted one; empty: it does not."""
    theirs = {own(name, wanted): value for name, value in found.items()}
    missing = sorted(set(wanted) - set(theirs))
    if missing:
        return f"no knob: {', '.join(missing[:3])}"
    added = sorted(set(theirs) - set(wanted))
    if added:
        return f"taken for a knob: {', '.join(added[:3])}"
    for name, value in wanted.items():
        if not _same(value, theirs[name]):
            return f"{name} {theirs[name]} instead of {value}"
    return ""


def own(
    name: str,
    known: Iterable[str],
) -> str:
    """The one of the `known` names that a column has behind its tool's prefixes, the parts of
    mixtures joined alike; its whole name where it has none.
    """
    plain = name.replace("mixture.", "mixture_")
    ends = [
        k for k in known if re.fullmatch(f"(.*[._/])?{re.escape(k)}", plain)
    ]
    return max(ends, key=len, default=name)


def _same(
    a: Any,
    b: Any,
) -> bool:
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    if numbers:
        return math.isclose(a, b, rel_tol=SAME, abs_tol=NOTHING)
    return str(a).lower() == str(b).lower()
