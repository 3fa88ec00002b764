"""`autollm.recommend` and `autollm.plan` in Python: logs, or a table in memory, in;
frozen dataclasses out.

    import autollm
    advice = autollm.recommend("runs.csv", target={"params": 7e9, "tokens": 1.4e11})
    advice.recommendations[0].configuration

Invariant: the same question gives the same advice as `autollm recommend`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autollm.advisor.answer import Advice
from autollm.advisor.evidence.evidence import LogOptions
from autollm.advisor.options import Options
from autollm.advisor.recommend import Runs
from autollm.advisor.recommend import recommend as answer
from autollm.core.files import scratch_folder


def recommend(
    path_or_table: Runs | Any,
    target: str | Mapping[str, float],
    *,
    objective: str = "",
    knobs: Sequence[str] = (),
    fidelity: Mapping[str, str] | None = None,
    mapping: str = "",
    source: str = "",
    context: Mapping[str, str] | None = None,
    **options: Any,
) -> Advice:
    """Advice for the next run at `target`.

    Args:
        path_or_table: a file, a folder or several; or a table in memory: a pyarrow
            Table, or anything that gives one (pandas, polars).
        target: {"params": 7e9, "tokens": 1.4e11}, or "params=7B,tokens=140B".
        objective: a column with its direction, "val_loss:min". knobs: columns that were
            chosen. fidelity: {"params": column, "tokens": column}. mapping: a mapping
            file or a known name. source: where the logs hold several. context: which
            value of a setting that is never pooled, {"tokenizer": "bpe"}. What is not
            said is guessed, and stands in `assumptions`.
        options: fields of autollm.advisor.options.Options: `trials`, `planned` (a
            configuration of your own; `checked` then says what it loses), `constraints`
            ("batch_size * seq_len <= 2e6") ...

    Raises:
        AdviceError: no honest answer. QuestionError: the target lacks a coordinate, or
            a constraint names what nobody knows.
    """
    said = LogOptions(
        objective,
        tuple(knobs),
        dict(fidelity or {}),
        mapping,
        source,
        dict(context or {}),
    )
    asked = Options(said=said, **options)
    table = _table(path_or_table)
    if table is None:
        return answer(path_or_table, target, asked)
    with scratch_folder("table") as folder:
        path = Path(folder) / "table.parquet"
        pq.write_table(table, path)
        return answer(path, target, asked)


def plan(
    path_or_table: Runs | Any,
    target: str | Mapping[str, float],
    budget: str = "",
    **words: Any,
) -> Advice:
    """The advice with its whole `plan`: which cheap runs first.

    Args:
        budget: what they may cost: "200device-hours", "1e19flops", or "5%" of the
            target's cost; default a tenth of it.
        words: as for `recommend`.

    Raises:
        AdviceError: no honest answer. QuestionError: as for `recommend`, or a budget in
            hours where the runs do not say how many they took.
    """
    return recommend(path_or_table, target, plan_budget=budget, **words)


def _table(given: Any) -> pa.Table | None:
    """A table in memory as Arrow; None for paths and evidence."""
    if isinstance(given, pa.Table):
        return given
    if hasattr(given, "__arrow_c_stream__"):
        return pa.table(given)
    return None
