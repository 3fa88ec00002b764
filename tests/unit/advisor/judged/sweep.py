"""A source with a known truth for the judge: six levels, the last three at least eight
times as expensive as two others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autollm.advisor.judged.sources import Table, tables
from tests.unit.advisor.sweeps import rows_of, write_csv

LEVELS = (
    (1e8, 2e9),
    (2e8, 2e9),
    (2e8, 4e9),
    (4e8, 4e9),
    (4e8, 1.6e10),
    (1e9, 2e10),
    (1e9, 4e10),
)
RATES = 2.0 ** np.arange(-13, -6.9, 1.0)
BATCHES = (64, 256, 1024)


def source_of(folder: Path, name: str = "sweep") -> Path:
    """Its CSV."""
    rows = rows_of(LEVELS, rates=RATES, batches=BATCHES, noise=0.002)
    return write_csv(folder / f"{name}.csv", rows)


def table_of(folder: Path) -> Table:
    (found,) = tables("sweep", source_of(folder))
    return found
