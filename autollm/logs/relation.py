"""What every reader gives: a relation, which is the table of runs and the histories of
one file or folder, before any mapping.

    opened (one file, or the files of one run folder) -> reader -> Relation -> mapped

Columns are named as the tool spells them, nesting joined by dots ("config.optimizer.lr",
"summary.val/loss"). Nothing is renamed, rescaled, averaged or re-indexed here: steps,
tokens and wall times stand as logged. What a column means is the mapping's business; a
reader only hands on, as roles, what the tool itself says of it.

Invariant: `n_lines` counts everything that the file holds, and what is not in `bad` was
read; `read + sum(bad.n_lines) == n_lines`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, Literal, Protocol

import pyarrow as pa

Role = Literal[
    "setting",  # chosen before the run: `config.`, `params.`
    "result",  # what the run gave: `summary.`, `metrics.`, `value`
    "status",  # how it ended, in the tool's own word (autollm.core.statuses)
    "key",  # names a run
    "label",  # for people: names, notes, tags, users, hosts
    "time",  # a moment: started, ended, created
    "cost",  # what it took: runtime, FLOPs
    "seed",
    "measured",  # neither chosen nor wanted: system metrics, the last step reached
    "trunk",  # key of the run that this one was forked or resumed from
    "group",  # the search that a run belongs to, of several in one log
]
FILE_COLUMN = "_file"
LINE_COLUMN = "_line"
OWN_COLUMNS = frozenset(
    {FILE_COLUMN, LINE_COLUMN, "_raw", "_n_lines", "_reading", "_key"}
)
"""What readers and the landing add to a table; any other name is the log's own, `_step`
and `_runtime` of W&B included.
"""
POINTS_SCHEMA = pa.schema(
    [
        ("run_key", pa.string()),
        ("metric", pa.string()),
        ("step", pa.int64()),
        ("tokens", pa.float64()),
        ("wall_time_s", pa.float64()),
        ("value", pa.float64()),
        ("line", pa.int64()),
    ]
)
"""Of `Relation.points`. `step` is null where the tool logged none; `wall_time_s` counts
from the run's own start where the tool tells one, else from its first point; `line` is
the physical line or the record's number, 0 where there is none.
"""
_CODE = pa.dictionary(pa.int32(), pa.string())
CODED_POINTS = pa.schema(
    [("run_key", _CODE), ("metric", _CODE), *list(POINTS_SCHEMA)[2:]]
)
"""POINTS_SCHEMA with its texts as codes: how points wait, and how a reader of long
histories may give them.
"""


@dataclass(frozen=True)
class BadLines:
    """Lines (or records) that could not be used: from `line` (1-based; 0: not known by
    lines), `n_lines` of them. `file` is the path inside a run folder, "" for a file.
    """

    line: int
    n_lines: int
    reason: str
    text: str
    file: str = ""


@dataclass(frozen=True)
class Relation:
    """What a reader makes of one file or folder, before any mapping.

    Attributes:
        format: The reader's name: "wandb-offline", "mlflow", "csv" ...
        runs: One row a run; cells are text or numbers as logged. `_file` (text) and
            `_line` (int64, 0 = no line) say where each row stands. Where the file is
            one run's curve and no table of runs, it has one row.
        points: Histories in POINTS_SCHEMA or CODED_POINTS, one row a point, in the
            order logged; None when the format has none.
        key: The column of `runs` that names a run; "" when none does.
        roles: What the tool itself says of a column; columns it says nothing of are
            absent.
        bad: What could not be read.
        n_lines: Physical lines (records of a binary file) read and set aside.
        notes: What a person should know: resumed, sampled, forked, restarted.
        directions: "min" or "max" of a result, where the tool itself says it.
    """

    format: str
    runs: pa.Table
    points: pa.Table | None = None
    key: str = ""
    roles: Mapping[str, Role] = field(default_factory=dict)
    bad: tuple[BadLines, ...] = ()
    n_lines: int = 0
    notes: tuple[str, ...] = ()
    directions: Mapping[str, Literal["min", "max"]] = field(
        default_factory=dict
    )

    @property
    def n_lines_bad(self) -> int:
        """Lines set aside."""
        return sum(part.n_lines for part in self.bad)


class OpenedFile(Protocol):
    """One log as it was when it was opened, decompressed."""

    @property
    def name(self) -> str:
        """`file` or `archive!member`; inside a run folder the path from there."""
        ...

    @property
    def n_bytes(self) -> int:
        """Size after decompression."""
        ...

    def open(self) -> AbstractContextManager[IO[bytes]]:
        """The bytes from their beginning."""
        ...


@dataclass(frozen=True)
class OpenedFolder:
    """The claimed files of one run folder, by their path from the folder (POSIX).

    `name` is the folder's path from what was given, that included: "sweep/version_0".
    Its last parts name a run where nothing else does.
    """

    name: str
    files: Mapping[str, OpenedFile]


class FileReader(Protocol):
    """Reads one file. Registered by its `format` in `autollm.logs.choosing.formats`.

    A reader may have a method `parts(opened)`: names of tables in one file that are read
    one by one, as `opened.part` says; none where the file is one table.
    """

    format: str

    def matches(self, name: str, head: bytes) -> bool:
        """Whether a file of this name that begins with these bytes (up to 64 KiB) is of
        this format. Reads nothing else.
        """
        ...

    def read(self, opened: OpenedFile) -> Iterable[Relation]:
        """The file as one relation, or as several chunks with the same columns' roles.

        Raises:
            RecordError: nothing of the file can be used; the whole of it is set aside.
        """
        ...


class FolderReader(Protocol):
    """Reads a folder that is one run, or one sweep."""

    format: str

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """The files of a folder that make its runs, of all paths below it (POSIX,
        hidden ones included, sorted); empty when it is no run folder of this format.
        Asked from the outermost folder inwards. Files that are not claimed are looked
        at one by one, as ever.
        """
        ...

    # `confirms(paths, head)`, where a reader has it, is asked before its claim counts:
    # names alone may mean another thing. `head(path)` gives a file's first bytes

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FileReader.read`; `_file` and `BadLines.file` are paths in the folder."""
        ...
