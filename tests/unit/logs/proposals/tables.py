"""Small tables as people keep them, written by hand for the tests of proposals."""

from __future__ import annotations

import csv
import io
import itertools
import math
from pathlib import Path
from typing import Any

from autollm.logs.proposals import Proposal, TableOptions, propose
from tests.unit.logs.raw_logs import write

SIZES = (
    (50_000_000, 10**9),
    (125_000_000, 25 * 10**8),
    (350_000_000, 7 * 10**9),
)
RATES = (0.0003, 0.001, 0.003)
BATCHES = (32, 64, 128)


def loss(params: float, rate: float, batch: float = 64) -> float:
    """A loss that falls with size and has its best rate at 0.001."""
    bowl = (
        0.05 * math.log2(rate / 1e-3) ** 2 + 0.02 * math.log2(batch / 64) ** 2
    )
    return round(1.7 + 400 / params**0.34 + bowl, 4)


def sweep(**more: Any) -> list[dict[str, Any]]:
    """27 runs: three sizes, rates and batches. `more`: further columns; a callable gets
    the row's number.
    """
    rows = []
    for i, ((params, tokens), rate, batch) in enumerate(
        itertools.product(SIZES, RATES, BATCHES)
    ):
        row = {"run": f"r{i}", "params": params, "tokens": tokens, "lr": rate}
        row |= {"batch_size": batch, "val_loss": loss(params, rate, batch)}
        for name, value in more.items():
            row[name] = value(i) if callable(value) else value
        rows.append(row)
    return rows


def renamed(rows: list[dict[str, Any]], **names: str) -> list[dict[str, Any]]:
    """Rows with other column names."""
    return [{names.get(k, k): v for k, v in row.items()} for row in rows]


def proposed(folder: Path, rows: list[dict[str, Any]], **said: str) -> Proposal:
    """What is proposed for rows in a CSV file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path = write(folder, "table.csv", text.getvalue().encode())
    return propose(path, TableOptions.parse(**said))


def roles(found: Proposal) -> dict[str, str]:
    """Column to role."""
    return {entry["name"]: entry["role"] for entry in found.columns}


def codes(found: Proposal) -> set[str]:
    """The codes of its notes and questions."""
    return {n.code for n in found.notes} | {q.code for q in found.questions}


def knobs(found: Proposal) -> dict[str, Any]:
    """Name to knob of its mapping."""
    return {knob.name: knob for knob in found.mapping.knobs}
