"""A home's MLflow database: made whole or not at all, checked, and told where the home
lies now.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from mlflow import MlflowClient

from autollm.core.errors import SetupError
from autollm.core.locks import hold
from autollm.core.places import Places

STORE_WAIT_S = 120.0
"""For another process that makes the store just now, which takes seconds."""


def made_store(places: Places) -> Path:
    """The database, made beside its place and moved into it: MLflow cannot open one
    whose making was cut off.
    """
    path = places.mlflow / "mlflow.db"
    if path.exists() and path.stat().st_size:
        return path
    with hold(
        places.locks / "mlflow-store.lock", "the MLflow store", STORE_WAIT_S
    ):
        if not path.exists() or not path.stat().st_size:
            for left in path.parent.glob("mlflow.db.new*"):
                left.unlink()
            making = path.with_name("mlflow.db.new")
            MlflowClient(store_uri(making)).search_experiments(max_results=1)
            making.replace(path)
    return path


def check_store(database: Path) -> None:
    """Check that the database is whole, which takes a few milliseconds.

    Raises:
        SetupError: it is not.
    """
    try:
        with closing(sqlite3.connect(database, timeout=STORE_WAIT_S)) as store:
            (found,) = store.execute("pragma quick_check(1)").fetchone()
            store.execute("select count(*) from experiments").fetchone()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise SetupError(
            f"{database} is damaged: {found}. Fix: move it away. The next autollm run "
            "makes an empty one; trained and judged work stays done, its curves are "
            "in the old file."
        )


def follow_home(database: Path, artifacts: str) -> None:
    """Turn artifact addresses of a home that was moved to `artifacts`, its address now:
    MLflow stores them whole.
    """
    marker = "/mlflow/artifacts/"
    with (
        closing(sqlite3.connect(database, timeout=STORE_WAIT_S)) as store,
        store,
    ):
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
        ):
            store.execute(
                f"update {table} set {column} = ? || "
                f"substr({column}, instr({column}, ?) + ?) "
                f"where instr({column}, ?) > 0 and instr({column}, ?) <> 1",
                (artifacts, marker, len(marker) - 1, marker, f"{artifacts}/"),
            )


def store_uri(database: Path) -> str:
    """The address of a SQLite store; SQLAlchemy takes `?` and `%` for its own marks."""
    return f"sqlite:///{quote(str(database))}"
