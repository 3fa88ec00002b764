"""Runs the dbt project on a lake of its own, in a child process, as the pipelines do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

PROJECT = Path(__file__).parents[2] / "dbt_project"


@dataclass(frozen=True)
class Home:
    """A state folder with a lake, a warehouse and exported marts."""

    folder: Path

    @property
    def lake(self) -> str:
        return str(self.folder)

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse.duckdb"

    def dbt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One dbt command, from a working directory that is not the project's."""
        (self.folder / "marts").mkdir(parents=True, exist_ok=True)
        env = os.environ | {
            "AUTOLLM_WAREHOUSE": str(self.warehouse),
            "AUTOLLM_BRONZE": str(self.folder / "bronze"),
            "AUTOLLM_MARTS": str(self.folder / "marts"),
            "DBT_TARGET_PATH": str(self.folder / "target"),
            "DBT_LOG_PATH": str(self.folder / "logs"),
        }
        command = [
            sys.executable,
            "-m",
            "dbt.cli.main",
            "--no-use-colors",
            *arguments,
        ]
        places = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
        return subprocess.run(
            [*command, *places],
            env=env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def build(self, *arguments: str) -> None:
        """`dbt build`, which must pass."""
        done = self.dbt("build", *arguments)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]

    def results(self) -> dict[str, str]:
        """Status of every node of the last command, by its short name."""
        raw = json.loads(
            (self.folder / "target" / "run_results.json").read_text()
        )
        return {
            r["unique_id"].split(".")[2]: r["status"] for r in raw["results"]
        }

    def mart(self, name: str) -> list[dict]:
        return pq.read_table(
            self.folder / "marts" / f"{name}.parquet"
        ).to_pylist()

    def mart_bytes(self) -> dict[str, bytes]:
        return {
            p.name: p.read_bytes()
            for p in sorted((self.folder / "marts").glob("*.parquet"))
        }
