"""Studies of generated sweeps, for tests of single parts."""

from __future__ import annotations

from pathlib import Path

from autollm.advisor.deciding.study import Study, study
from autollm.advisor.evidence.evidence import LogOptions, read_evidence
from tests.unit.advisor.sweeps import rows_of, write_csv

TARGET = {"params": 7e9, "tokens": 1.4e11}


def study_of(
    folder: Path, rows: list[dict] | None = None, **target: float
) -> Study:
    """The study of rows written as `runs.csv`, without backtests."""
    path = write_csv(
        folder / "runs.csv", rows if rows is not None else rows_of()
    )
    evidence = read_evidence([path], LogOptions(objective="val_loss:min"))
    return study(evidence, target or TARGET, with_backtests=False)
