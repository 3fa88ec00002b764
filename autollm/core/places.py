"""Where state lives: one home (AUTOLLM_HOME, default ./var), and named URLs below it.

A home may be any fsspec URL. What needs a real disk (the DuckDB file, exported marts,
checkpoints, Dagster's and MLflow's stores) then lies under AUTOLLM_LOCAL_HOME, default
./var. Invariant: nobody else spells a folder's name.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from autollm.core.errors import SetupError
from autollm.core.files import exists, is_local, join, local_path
from autollm.core.sealed import read_sealed, write_sealed

_SHIPPED = Path(__file__).parents[1] / "_shipped"
HOME_SCHEMA = 2
"""Schema of a home as a whole. 1: no note of it; table_ids, trainings and episodes of
such a home are made again. 2: bronze 2, work by meaning of code.
"""
PROJECT = _SHIPPED if _SHIPPED.is_dir() else Path(__file__).parents[2]
"""What lies beside the package: the checkout, or the copy in a wheel (setup.py)."""
DBT_PROJECT = PROJECT / "dbt_project"
EMBEDDED = PROJECT / "data" / "lab"
SHIPPED_GYM = PROJECT / "data" / "gym"
"""A home that holds one snapshot: of the embedded lab runs, arrays alone."""
TELEMETRY_OFF = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Places:
    """`home`: URL or absolute path of the state; `local`: absolute folder for what
    needs a disk.
    """

    home: str
    local: Path

    @property
    def landing(self) -> str:
        return join(self.home, "landing")

    @property
    def bronze(self) -> str:
        return join(self.home, "bronze")

    @property
    def snapshots(self) -> str:
        return join(self.home, "snapshots")

    @property
    def reports(self) -> str:
        return join(self.home, "reports")

    @property
    def episodes(self) -> str:
        """Judged episodes, one folder a snapshot."""
        return join(self.home, "reports", "episodes")

    @property
    def inbox(self) -> Path:
        """Files dropped here are ingested by the sensor and by every run."""
        return self.local / "inbox"

    @property
    def sources(self) -> Path:
        """Public tables that `autollm sources fetch` brought."""
        return self.local / "sources"

    @property
    def fetched(self) -> Path:
        """Runs that were fetched from trackers' addresses, before they land."""
        return self.local / "fetched"

    @property
    def lab(self) -> Path:
        return self.local / "lab"

    @property
    def marts(self) -> Path:
        return self.local / "marts"

    @property
    def warehouse(self) -> Path:
        return self.local / "warehouse.duckdb"

    @property
    def dbt_target(self) -> Path:
        return self.local / "dbt"

    @property
    def checkpoints(self) -> Path:
        return self.local / "checkpoints"

    @property
    def dagster(self) -> Path:
        return self.local / "dagster"

    @property
    def mlflow(self) -> Path:
        return self.local / "mlflow"

    @property
    def locks(self) -> Path:
        return self.local / "locks"

    def prepare(self) -> Places:
        """Make the local folders, and note which version of autollm they are of;
        returns itself.

        Raises:
            SetupError: a newer version wrote this home.
        """
        for folder in (
            self.marts,
            self.checkpoints,
            self.dagster,
            self.mlflow,
            self.locks,
            self.inbox,
            self.dbt_target,
        ):
            folder.mkdir(parents=True, exist_ok=True)
        if not exists(_schema_url(self.home)):
            write_sealed(_schema_url(self.home), {"schema": HOME_SCHEMA})
        check_schema(self.home)
        return self

    def environment(self) -> dict[str, str]:
        """Variables for child processes: this home, dbt's places, telemetry off."""
        return {
            "AUTOLLM_HOME": self.home,
            "AUTOLLM_LOCAL_HOME": str(self.local),
            "AUTOLLM_WAREHOUSE": str(self.warehouse),
            "AUTOLLM_BRONZE": self.bronze,
            "AUTOLLM_MARTS": str(self.marts),
            "DAGSTER_HOME": str(self.dagster),
            "DBT_LOG_PATH": str(self.dbt_target / "logs"),
            **TELEMETRY_OFF,
        }


def resolve(home: str | Path | None = None) -> Places:
    """The places of a home: the argument, else AUTOLLM_HOME, else ./var.

    Raises:
        SetupError: a name under which not every store can live, or a home that a newer
            version wrote.
    """
    chosen = str(home or os.environ.get("AUTOLLM_HOME") or "var")
    _check_name(chosen)
    if is_local(chosen):
        folder = Path(local_path(chosen)).expanduser().resolve()
        check_schema(str(folder))
        return Places(str(folder), folder)
    return Places(
        chosen.rstrip("/"),
        Path(os.environ.get("AUTOLLM_LOCAL_HOME") or "var")
        .expanduser()
        .resolve(),
    )


def check_schema(home: str) -> None:
    """Check that this version reads a home; one without a note is older, or new.

    Raises:
        SetupError: a newer version wrote it, or the note is damaged.
    """
    url = _schema_url(home)
    if exists(url):
        read_sealed(
            url,
            SetupError,
            "remove this file; it is written anew.",
            HOME_SCHEMA,
        )


def _schema_url(home: str) -> str:
    return join(home, "home.json")


ENDS_ADDRESS = "?#;"
"""Where Dagster's and dbt's addresses of their databases end, so that a file would be
made in another place.
"""


def _check_name(home: str) -> None:
    """Check that every store can live under this name.

    Raises:
        SetupError: a character of ENDS_ADDRESS, one that no screen shows, or bytes that
            are no UTF-8.
    """
    for character in home:
        if character in ENDS_ADDRESS or not character.isprintable():
            raise SetupError(
                f"the home {home!r} holds {character!r}, which a database's address "
                "cannot hold. Fix: choose a name without it (AUTOLLM_HOME, --home)."
            )


def silence_telemetry(
    environment: MutableMapping[str, str] | None = None,
) -> None:
    """Switch telemetry of all parts off, unless the user set a variable otherwise."""
    target = os.environ if environment is None else environment
    for name, value in TELEMETRY_OFF.items():
        target.setdefault(name, value)


def embedded_archives() -> list[Path]:
    """The recorded lab runs that ship with the project."""
    return sorted(EMBEDDED.glob("*.tar.xz"))


def mirror() -> Path | None:
    """The folder that AUTOLLM_DATA_DIR names: a local copy of the public tables."""
    root = os.environ.get("AUTOLLM_DATA_DIR")
    return Path(root).expanduser() if root else None
