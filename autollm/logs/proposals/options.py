"""What a person said on the command line, which is never guessed over.

Invariant: every column that is said exists in the table, else it is an error that names
the nearest one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from autollm.core.errors import MappingError
from autollm.core.mappings.mapping import Mapping

DIRECTIONS = {
    "min": "min",
    "minimize": "min",
    "minimise": "min",
    "lower": "min",
    "max": "max",
    "maximize": "max",
    "maximise": "max",
    "higher": "max",
}
"""Words for which way is better."""


@dataclass(frozen=True)
class TableOptions:
    """`--objective`, `--knobs`, `--fidelity`, `--as`.

    Attributes:
        objective: Column of the objective; None when nothing was said.
        direction: `min` or `max`; empty when nothing was said.
        knobs: The columns that were chosen, all of them; empty when nothing was said.
        fidelity: Coordinate (`params`, `tokens` ...) to column.
        mapping: What is taken as it stands.
    """

    objective: str | None = None
    direction: str = ""
    knobs: tuple[str, ...] = ()
    fidelity: dict[str, str] = field(default_factory=dict)
    mapping: Mapping | None = None

    @classmethod
    def parse(
        cls,
        objective: str | None = None,
        knobs: str | None = None,
        fidelity: str | None = None,
        mapping: Mapping | None = None,
    ) -> TableOptions:
        """From the words of the command line: `NAME[:min|max]`, `A,B`,
        `params=COLUMN,tokens=COLUMN`.

        Raises:
            MappingError: an entry of --fidelity without `=`, or a direction that is
                none.
        """
        name, direction = _objective(objective)
        chosen = tuple(k.strip() for k in (knobs or "").split(",") if k.strip())
        coordinates = {}
        for part in (fidelity or "").split(","):
            if not part.strip():
                continue
            coordinate, mark, column = part.partition("=")
            if not mark or not coordinate.strip() or not column.strip():
                raise MappingError(
                    f"--fidelity {part!r}: expected COORDINATE=COLUMN, such as "
                    "params=n_params,tokens=train_tokens"
                )
            coordinates[coordinate.strip()] = column.strip()
        return cls(name, direction, chosen, coordinates, mapping)

    @property
    def columns(self) -> frozenset[str]:
        """All columns that were named."""
        named = {*self.knobs, *self.fidelity.values()}
        return frozenset(
            named | ({self.objective} if self.objective else set())
        )

    def check(self, columns: Iterable[str]) -> None:
        """Whether the columns exist.

        Raises:
            MappingError: one does not.
        """
        columns = list(columns)
        options = [("--objective", self.objective)] if self.objective else []
        options += [("--knobs", name) for name in self.knobs]
        options += [("--fidelity", name) for name in self.fidelity.values()]
        for option, name in options:
            if name not in columns:
                close = difflib.get_close_matches(
                    name, columns, n=1, cutoff=0.0
                )
                hint = f" Did you mean {close[0]!r}?" if close else ""
                ending = ""
                if option == "--objective":
                    ending = ", NAME:min or NAME:max"
                raise MappingError(
                    f"{option} {name!r}: expected a column that varies{ending}.{hint} "
                    f"Columns: {', '.join(columns)}."
                )


def _objective(text: str | None) -> tuple[str | None, str]:
    if not text:
        return None, ""
    head, mark, tail = text.rpartition(":")
    if mark and tail.strip().lower() in DIRECTIONS:
        return head, DIRECTIONS[tail.strip().lower()]
    return text, ""
