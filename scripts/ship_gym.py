"""Build the snapshot that ships with the project, from the embedded lab runs.

    python scripts/ship_gym.py

Runs the main job up to the snapshot in a home of its own, keeps the arrays (a player
needs no marts) and replaces data/gym with them. It is committed, so that installing the
wheel needs neither dbt nor DuckDB, and its files are mapped into memory where they lie;
tests/dbt/test_shipped_gym.py holds it to what the project builds today.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from autollm.core.places import PROJECT, SHIPPED_GYM
from autollm.gym.tables.snapshot import open_snapshot
from autollm.snapshots.building import freeze, publish


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        built = build(Path(home))
        shutil.rmtree(SHIPPED_GYM, ignore_errors=True)
        freeze(built, str(SHIPPED_GYM))
    publish(str(SHIPPED_GYM), built.table_id)
    print(f"data/gym holds snapshot {built.table_id}")


def build(home: Path):
    """The published table of a home that holds the embedded runs alone."""
    environment = {
        k: v for k, v in os.environ.items() if k != "AUTOLLM_DATA_DIR"
    }
    command = [
        "-m",
        "pipelines.run",
        "--home",
        str(home),
        "--to",
        "published_snapshot",
    ]
    subprocess.run(
        [sys.executable, *command], check=True, env=environment, cwd=PROJECT
    )
    return open_snapshot(str(home))


if __name__ == "__main__":
    main()
