"""What the readers of run folders share: configuration files beside a run's metrics, and
which of its files is which.

A file that cannot be read costs itself, with its reason; the folder goes on without it.

Invariant: every claimed file's lines are counted once, read or set aside.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.readers.curve_files import read_csv_curve
from autollm.logs.readers.curve_jsonl import read_jsonl_curve
from autollm.logs.readers.documents import (
    MAX_YAML_BYTES,
    parse_literal,
    parse_object,
    parse_yaml,
)
from autollm.logs.readers.rows import (
    RelationBuilder,
    count_lines,
    flat_cells,
    metric_role,
    number,
    read_whole,
)
from autollm.logs.reading import iter_lines
from autollm.logs.relation import OpenedFile, Role

CONFIG_NAME = re.compile(
    r"((train|run|training|experiment)_?)?(config|cfg|args|params|hparams|hyper_?parameters"
    r"|settings|options|opts|flags)\.(json|ya?ml|toml|py)"
)
"""What people call the configuration file of a run."""
MAX_CONFIG_BYTES = 16 * 2**20
"""Of a configuration file: people's are a few kB, tools dump up to some hundred."""


def parse_config(data: bytes, name: str) -> dict[str, Any]:
    """A configuration file by its suffix: JSON, YAML, TOML, or Python whose lines are
    `name = literal`, which is parsed and never run.

    Raises:
        RecordError: it is not what its suffix says.
    """
    if len(data) > MAX_CONFIG_BYTES:
        raise RecordError(
            f"{len(data)} bytes, expected at most {MAX_CONFIG_BYTES}"
        )
    suffix = name.rsplit(".", 1)[-1].lower()
    parse = _PARSERS.get(suffix)
    if parse is None:
        known = ", ".join(f".{ending}" for ending in _PARSERS)
        raise RecordError(f"no configuration file by its name. Known: {known}")
    return parse(data, name)


def _parse_toml(data: bytes, name: str) -> dict[str, Any]:
    if len(data) > MAX_YAML_BYTES:
        raise RecordError(
            f"{len(data)} bytes, expected at most {MAX_YAML_BYTES}"
        )
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RecordError(f"{name} is not UTF-8: {error.reason}") from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise RecordError(f"{name} is not TOML: {error}") from None


def _parse_assignments(data: bytes, name: str) -> dict[str, Any]:
    """nanoGPT's configuration: Python assignments of literals, from the text alone."""
    if len(data) > MAX_YAML_BYTES:
        raise RecordError(
            f"{len(data)} bytes, expected at most {MAX_YAML_BYTES}"
        )
    out: dict[str, Any] = {}
    try:
        statements = ast.parse(data.decode("utf-8-sig")).body
        for statement in statements:
            if (
                not isinstance(statement, ast.Assign)
                or len(statement.targets) != 1
            ):
                continue
            target = statement.targets[0]
            if isinstance(target, ast.Name):
                out[target.id] = parse_literal(ast.unparse(statement.value))
    except UnicodeDecodeError as error:
        raise RecordError(f"{name} is not UTF-8: {error.reason}") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RecordError(f"{name} is not Python: {error}") from None
    return out


_OF_CARD = re.compile(r"^[-*] (\w+): (.+)$")


def _parse_card(data: bytes, name: str) -> dict[str, Any]:
    """The hyperparameters that the Trainer writes into a model's card, a line each."""
    found: dict[str, Any] = {}
    is_inside = False
    for line in data.decode("utf-8", "replace").splitlines():
        if line.startswith("#"):
            is_inside = "hyperparameters" in line.lower()
        match = _OF_CARD.match(line) if is_inside else None
        if match:
            found[match[1]] = match[2].strip()
    return found


_PARSERS: dict[str, Callable[[bytes, str], dict[str, Any]]] = {
    "json": parse_object,
    "yaml": parse_yaml,
    "yml": parse_yaml,
    "toml": _parse_toml,
    "py": _parse_assignments,
    "md": _parse_card,
}


def add_settings(
    builder: RelationBuilder,
    cells: dict[str, Any],
    opened: OpenedFile,
    prefix: str,
    role: Role = "setting",
) -> dict[str, Any]:
    """A configuration file's settings into a run's cells under `prefix`; gives them as
    they stand. What cannot be read is set aside.
    """
    values = read_config(builder, opened)
    try:
        found = flat_cells(values, prefix)
    except RecordError as error:
        builder.note(f"{opened.name}: {error}")
        return {}
    for column, content in found.items():
        cells[column] = content
        builder.roles[column] = role
    return values


def read_config(builder: RelationBuilder, opened: OpenedFile) -> dict[str, Any]:
    """A configuration file as it stands; empty, and set aside, where it is unreadable."""
    try:
        data = read_whole(opened, MAX_CONFIG_BYTES)
    except RecordError as error:
        builder.n_lines += 1
        builder.add_bad(1, str(error), b"", file=opened.name)
        return {}
    n_lines = count_lines(data)
    builder.n_lines += n_lines
    try:
        return parse_config(data, opened.name)
    except RecordError as error:
        builder.add_bad(
            min(1, n_lines), str(error), data[:2000], n_lines, opened.name
        )
        return {}


STATES = ("status", "state")
"""What a results file calls how its run ended."""


def add_results(
    builder: RelationBuilder, cells: dict[str, Any], values: Mapping[str, Any]
) -> None:
    """Numbers that a run ended with, as `metrics.<name>`, and the word for how it ended,
    as `state`: a results file is written by many jobs as they go on.
    """
    measured = values.get("results")  # lm-eval: beside it its own settings
    if isinstance(measured, Mapping) and measured:
        values = measured
    for name, value in flat_cells(values).items():
        if name in STATES and isinstance(value, str):
            cells["state"] = value
            builder.roles["state"] = "status"
        as_number = number(value)
        if as_number is not None:
            cells[f"metrics.{name}"] = as_number
            builder.roles[f"metrics.{name}"] = metric_role(name)


def add_curve(
    builder: RelationBuilder,
    opened: OpenedFile,
    run: str,
    settings: Mapping[str, Any],
) -> dict[str, Any] | None:
    """A metrics file as a run's row and history; gives its last row. None, and the file
    is set aside, where it is no curve.
    """
    before = builder.n_lines
    name = opened.name
    try:
        with opened.open() as stream:
            if name.endswith((".csv", ".tsv")):
                lines = iter_lines(stream)
                return read_csv_curve(builder, lines, name, run, settings, name)
            lines = iter_lines(stream)
            return read_jsonl_curve(builder, lines, name, run, settings, name)
    except RecordError as error:
        data = read_whole(opened)
        builder.n_lines = before + count_lines(data)
        n_unread = builder.n_lines - before
        builder.drop_bad(name)
        builder.add_bad(
            min(1, n_unread), str(error), data[:2000], n_unread, name
        )
        return None
