"""The dbt manifest that dagster-dbt needs: made by `dbt parse`, kept beside the
project, made again when the project changed.

`python -m pipelines.manifest` prepares it. What does not belong here: running models.
Invariant: the manifest is replaced in one step, and two processes never parse at once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from autollm.core.errors import SetupError
from autollm.core.locks import hold
from autollm.core.places import DBT_PROJECT, TELEMETRY_OFF

SOURCES = ("*.sql", "*.yml", "*.csv")
WAIT_S = 120.0


def dbt_executable() -> str:
    """dbt of this environment, whether it is activated or not."""
    beside = Path(sys.executable).with_name("dbt")
    return str(beside) if beside.exists() else "dbt"


def project_digest(project: Path = DBT_PROJECT) -> str:
    """16 hex digits over the project's models, tests, macros and settings."""
    digest = hashlib.sha256()
    files = (p for pattern in SOURCES for p in project.rglob(pattern))
    for path in sorted(
        p for p in files if not {"target", "logs"} & set(p.relative_to(project).parts)
    ):
        digest.update(path.relative_to(project).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def manifest_path(project: Path = DBT_PROJECT) -> Path:
    return project / "target" / "manifest.json"


def prepare(project: Path = DBT_PROJECT) -> Path:
    """The manifest's path, after parsing the project if it changed since.

    Raises:
        SetupError: dbt cannot parse the project; the message ends with dbt's own words.
    """
    manifest, stamp = manifest_path(project), project / "target" / "manifest.digest"
    with hold(project / "target" / ".lock", "the dbt manifest", WAIT_S):
        digest = project_digest(project)
        if not manifest.exists() or not stamp.exists() or stamp.read_text() != digest:
            _parse(project, manifest)
            stamp.write_text(digest)
    return manifest


def require(project: Path = DBT_PROJECT) -> Path:
    """The manifest's path.

    Raises:
        SetupError: it is missing.
    """
    path = manifest_path(project)
    if not path.exists():
        raise SetupError(
            f"the dbt manifest {path} is missing: Dagster cannot know the models "
            "without it. "
            "Fix: python -m pipelines.manifest (`make run` and `make dev` do it "
            "themselves)."
        )
    return path


def _parse(project: Path, manifest: Path) -> None:
    """Into a folder of its own, which a killed parse may have left: the lock is held
    here.
    """
    folder = manifest.parent / "parsing"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    places = [
        "--project-dir",
        str(project),
        "--profiles-dir",
        str(project),
        "--target-path",
        str(folder),
        "--log-path",
        str(folder),
    ]
    done = subprocess.run(
        [dbt_executable(), "--no-use-colors", "parse", *places],
        env=os.environ | TELEMETRY_OFF,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SetupError(
            f"dbt cannot parse {project}: "
            f"{done.stdout.strip()[-1500:] or done.stderr.strip()[-1500:]}"
        )
    os.replace(folder / "manifest.json", manifest)
    shutil.rmtree(folder)


if __name__ == "__main__":
    print(prepare())
