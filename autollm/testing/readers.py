"""What every reader of a log format keeps: each line is read or set aside, and whatever
is damaged ends in the house's errors.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, get_args

import pytest

from autollm.core.errors import AutoLLMError
from autollm.logs.relation import (
    CODED_POINTS,
    FILE_COLUMN,
    LINE_COLUMN,
    POINTS_SCHEMA,
    Relation,
    Role,
)

HEAD_BYTES = 2**16
"""What `matches` is shown of a file."""


@dataclass(frozen=True)
class Bytes:
    """A file in memory, as landing hands one to a reader."""

    name: str
    data: bytes

    @property
    def n_bytes(self) -> int:
        return len(self.data)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        yield io.BytesIO(self.data)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[:-20],
    "cut in half": lambda data: data[: len(data) // 2],
    "windows": lambda data: data.replace(b"\n", b"\r\n"),
    "blank lines": lambda data: data.replace(b"\n", b"\n\n"),
    "junk in the middle": lambda data: data.replace(
        b"\n", b"\n\xff{junk,\n", 2
    ),
    "twice": lambda data: data + data,
    "binary": lambda data: data[:100] + b"\x00\x01\n" + data[100:],
    "empty": lambda data: b"",
}


class ReaderContract:
    """Subclass it, with the fixtures `reader` and `sample`: a file's name and bytes,
    whole and of this format.
    """

    @pytest.fixture
    def reader(self) -> Any:
        raise NotImplementedError("define the fixture reader in the subclass")

    @pytest.fixture
    def sample(self) -> tuple[str, bytes]:
        raise NotImplementedError("define the fixture sample in the subclass")

    def test_reader__its_own_file__is_recognized_and_holds_a_run(
        self, reader, sample
    ):
        name, data = sample
        assert reader.format and reader.matches(name, data[:HEAD_BYTES]) is True
        relations = list(reader.read(Bytes(name, data)))
        assert sum(relation.runs.num_rows for relation in relations) > 0
        for relation in relations:
            assert relation.format == reader.format
            assert not check_relation(relation)

    def test_reader__read_twice__gives_the_same(self, reader, sample):
        first, second = (list(reader.read(Bytes(*sample))) for _ in range(2))
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            # As text: NaN is not equal to itself.
            assert str(one.runs.to_pylist()) == str(other.runs.to_pylist())

    @pytest.mark.parametrize("damage", sorted(DAMAGES))
    def test_reader__damaged_file__is_accounted_for_or_refused(
        self, reader, sample, damage
    ):
        name, data = sample
        damaged = DAMAGES[damage](data)
        reader.matches(name, damaged[:HEAD_BYTES])
        try:
            relations = list(reader.read(Bytes(name, damaged)))
        except AutoLLMError:
            return
        for relation in relations:
            assert not check_relation(relation)


def check_relation(relation: Relation) -> list[str]:
    """What is wrong with a relation; empty when it keeps all that landing relies on."""
    problems: list[str] = []
    columns = relation.runs.column_names
    if not relation.n_lines >= relation.n_lines_bad >= 0:
        problems.append(
            f"{relation.n_lines_bad} of {relation.n_lines} lines are bad"
        )
    problems += _unknown("a role", relation.roles, columns)
    strange = set(relation.roles.values()) - set(get_args(Role))
    if strange:
        problems.append(f"roles {sorted(strange)} are none of {get_args(Role)}")
    if relation.runs.num_rows:
        problems += [f"no column {c}" for c in _lacking(columns)]
        if relation.key and relation.key not in columns:
            problems.append(f"the key {relation.key!r} is no column")
    if relation.points is not None:
        schema = relation.points.schema
        if schema not in (POINTS_SCHEMA, CODED_POINTS):
            problems.append(f"points have the schema {schema}")
        relation.points.validate(full=True)
    relation.runs.validate(full=True)
    return problems


def _lacking(columns: Sequence[str]) -> list[str]:
    return [name for name in (FILE_COLUMN, LINE_COLUMN) if name not in columns]


def _unknown(what: str, named: Any, columns: Sequence[str]) -> list[str]:
    return [
        f"{what} of {name!r}, no column"
        for name in named
        if name not in columns
    ]
