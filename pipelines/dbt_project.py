"""The dbt project as Dagster sees it: its manifest is made by `dbt parse` under the home
and made again when a file of the project changed.

Invariant: a manifest is read only when the digest beside it is the project's, and two
processes never parse at once.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from dagster_dbt import DbtCliResource, DbtProject
from dagster_dbt.errors import DagsterDbtError

from autollm.core.errors import SetupError
from autollm.core.locks import hold
from autollm.core.places import DBT_PROJECT, Places

SOURCES = (".sql", ".yml", ".csv")
WAIT_S = 120.0
"""Parsing takes seconds; a busy machine may need ten times that."""


def dbt_executable() -> str:
    """dbt of this environment, whether it is activated or not."""
    beside = Path(sys.executable).with_name("dbt")
    return str(beside) if beside.exists() else "dbt"


def project_digest(project: Path = DBT_PROJECT) -> str:
    """16 hex digits over the project's models, tests, macros and settings."""
    digest = hashlib.sha256()
    for path in sorted(project.rglob("*")):
        name = path.relative_to(project)
        if path.suffix in SOURCES and name.parts[0] not in ("target", "logs"):
            digest.update(name.as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def incremental_digest(project: Path = DBT_PROJECT) -> str:
    """16 hex digits over the incremental models, which keep rows from build to build.
    When they change, a table that an older version made has other columns or rules.
    """
    digest = hashlib.sha256()
    for path in sorted((project / "models").rglob("*.sql")):
        text = path.read_text(encoding="utf-8")
        if "materialized='incremental'" in text:
            digest.update(text.encode() + path.with_suffix(".yml").read_bytes())
    return digest.hexdigest()[:16]


def prepared_project(places: Places, folder: Path = DBT_PROJECT) -> DbtProject:
    """The project with an up-to-date manifest.

    Raises:
        SetupError: dbt cannot parse the project. BusyError: another process still
            parses it after WAIT_S.
    """
    places.dbt_target.mkdir(parents=True, exist_ok=True)
    project = DbtProject(
        folder, target_path=places.dbt_target, profiles_dir=folder
    )
    stamp = places.dbt_target / "manifest.digest"
    with hold(places.locks / "dbt-manifest.lock", "the dbt manifest", WAIT_S):
        digest = project_digest(folder)
        known = stamp.read_text() if stamp.exists() else ""
        if known != digest or not project.manifest_path.exists():
            stamp.unlink(missing_ok=True)
            _parse(project)
            stamp.write_text(digest)
    return project


def _parse(project: DbtProject) -> None:
    dbt = DbtCliResource(project_dir=project, dbt_executable=dbt_executable())
    parsing = dbt.cli(
        ["--quiet", "parse"],
        raise_on_error=False,
        target_path=project.target_path,
    )
    try:
        parsed = parsing.wait().is_successful()
    except DagsterDbtError:
        parsed = False
    if not parsed:
        output = "\n".join(str(event) for event in parsing.stream_raw_events())
        raise SetupError(
            f"dbt cannot parse {project.project_dir}: {output[-1500:] or 'no word of it'}. "
            "Fix: restore the folder from version control, or mend what dbt names."
        )
