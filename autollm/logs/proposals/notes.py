"""What a proposal tells a person beside the mapping: notes and questions, each with a
code that docs/warnings.md explains.

Invariant: a code that is not in CODES does not exist; docs/warnings.md has each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

CODES = frozenset(
    {
        "built-in-mapping",
        "changed-together",
        "confounded-context",
        "computed",
        "context",
        "cost-guessed",
        "curve",
        "decimal-guessed",
        "direction-unknown",
        "groups",
        "label-as-knob",
        "measured-or-chosen",
        "missing-values",
        "mixed-units",
        "name-parts",
        "near-constant-ladder",
        "no-fidelity",
        "no-knob",
        "not-finished",
        "objective-guessed",
        "odd-cells",
        "percent",
        "reader",
        "repeated-rows",
        "rows-set-aside",
        "sampled",
        "sentinel",
        "size-words",
        "status-words",
        "thin-experiments",
        "unit-guessed",
    }
)


@dataclass(frozen=True)
class Note:
    """One thing that a person should know. `columns` are those it speaks of."""

    code: str
    text: str
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(
                f"no code {self.code!r}. Known: {', '.join(sorted(CODES))}"
            )

    def __str__(self) -> str:
        return f"{self.text} [{self.code}]"


@dataclass(frozen=True)
class Question:
    """What nobody but a person can answer, before anything lands."""

    code: str
    column: str
    text: str
    answers: tuple[str, ...]


@dataclass
class Notebook:
    """Notes and questions as they are found."""

    notes: list[Note] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    def say(self, code: str, text: str, *columns: str) -> None:
        """Take down a note."""
        self.notes.append(Note(code, text, columns))
