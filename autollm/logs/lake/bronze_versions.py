"""Older versions of bronze, brought to today's.

    autollm.bronze/1   no `schema` in the files; the group stands in `source` behind a
                       slash, the experiment's id is made by dbt, a run without an end
                       record is `failed`

Invariant: nothing that a row says is changed, but for a status that is said better now.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from autollm.core.errors import RecordError
from autollm.core.records import content_hash
from autollm.core.statuses import OUTCOMES
from autollm.logs.lake.bronze_tables import QUARANTINE, SCHEMA, SCHEMAS

Row = dict[str, Any]
_FIRST = "autollm.bronze/1"
_NO_END = "no end record"
"""How the first version began the reason of a run whose log had no end."""


def version_of(metadata: dict[bytes, bytes] | None, path: str) -> str:
    """The version of a file.

    Raises:
        RecordError: it is newer than this one.
    """
    said = (metadata or {}).get(b"schema", _FIRST.encode()).decode()
    if said not in (_FIRST, SCHEMA):
        raise RecordError(
            f"{path} is {said!r}, this version knows {SCHEMA!r} and older: the home was "
            "written by a newer autollm. Fix: update it, or use another AUTOLLM_HOME."
        )
    return said


def migrated(name: str, rows: pa.Table) -> pa.Table:
    """Rows of a table as the present version has them."""
    schema = QUARANTINE if name == "quarantine" else SCHEMAS[name]
    if rows.schema.names == schema.names:
        return rows
    plain = [_MIGRATIONS[name](row) for row in rows.to_pylist()]
    return pa.Table.from_pylist(plain, schema=schema)


def _run(row: Row) -> Row:
    source, _, group = row["source"].partition("/")
    is_open = row["status_reason"].startswith(_NO_END)
    status = "running" if is_open else row["status"]
    context = "{}"
    return row | {
        "schema": SCHEMA,
        "source": source,
        "group": group,
        "file_version": 1,
        "experiment_id": f"{row['source']}:{content_hash(row['fidelity_json'], 8)}",
        "path_id": "",
        "line": 0,
        "mapping_id": "",
        "context_json": context,
        "context_id": content_hash(context),
        "trunk_id": "",
        "status": status,
        "is_outcome": status in OUTCOMES,
        "n_points": 0,
        "points_digest": "",
    }


def _with_group(row: Row) -> Row:
    source, _, group = row["source"].partition("/")
    return row | {"source": source, "group": group, "file_version": 1}


def _file(row: Row) -> Row:
    return row | {"path_id": "", "file_version": 1}


def _quarantined(row: Row) -> Row:
    return row | {"source": ""}


_MIGRATIONS = {
    "runs": _run,
    "run_metrics": _with_group,
    "spaces": _with_group,
    "files": _file,
    "quarantine": _quarantined,
}
