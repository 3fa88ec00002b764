"""Pack recorded logs into the archive that ships with the project, and read it back.

The archive is deterministic: the same logs give the same bytes. Invariant:
`manifest.json` beside it names every archive's sha256, runs and the commands that made
it.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

from autollm.core.errors import RecordError
from autollm.core.records import Record, parse_record
from autollm.lab.families import load_family

ROOT = Path(__file__).parents[2] / "data" / "lab"
SCHEMA = 1


def archive_path(family_name: str, root: Path = ROOT) -> Path:
    """Where the recorded runs of a family's present version ship."""
    return root / f"{family_name}-v{load_family(family_name).version}.tar.xz"


def shipped(family_name: str, root: Path = ROOT) -> Path:
    """The same, when it is there.

    Raises:
        RecordError: it is not.
    """
    path = archive_path(family_name, root)
    if not path.exists():
        raise RecordError(
            f"no recorded runs of {family_name} under {root}. Fix: autollm lab run "
            f"{family_name}; autollm lab pack {family_name}"
        )
    return path


def pack(family_name: str, logs_dir: str | Path, root: Path = ROOT) -> Path:
    """Write the archive of all logs in `logs_dir` and its entry in the manifest;
    returns the archive's path.

    Raises:
        RecordError: there is no log, or one of a run that the family does not declare.
    """
    paths = sorted(Path(logs_dir).glob("*.jsonl"))
    if not paths:
        raise RecordError(
            f"no *.jsonl under {logs_dir}. Fix: autollm lab run {family_name}"
        )
    family = load_family(family_name)
    known = family.known()
    strange = [p.name for p in paths if p.stem not in known]
    if strange:
        raise RecordError(
            f"{len(strange)} logs under {logs_dir} are of no run that {family_name} "
            f"v{family.version} declares, such as "
            f"{strange[0]}. Fix: move them elsewhere, then pack again."
        )
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in paths:
            data = path.read_bytes()
            entry = tarfile.TarInfo(f"{family_name}/{path.name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    target = archive_path(family_name, root)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    _write_manifest(target, family_name, len(paths))
    return target


def read_runs(archive: str | Path) -> dict[str, list[Record]]:
    """Records of every run in an archive, by run_id.

    Raises:
        RecordError: the archive or a line in it cannot be read.
    """
    runs = {}
    try:
        with tarfile.open(archive, "r:xz") as tar:
            for entry in tar:
                member = tar.extractfile(entry)
                if member is not None:
                    lines = member.read().decode().splitlines()
                    runs[Path(entry.name).stem] = [parse_record(line) for line in lines]
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise RecordError(
            f"{archive} cannot be read: {error}. Fix: restore it from version control."
        ) from error
    return runs


def _write_manifest(archive: Path, family_name: str, n_runs: int) -> None:
    path = archive.parent / "manifest.json"
    manifest: dict[str, Any] = (
        json.loads(path.read_text())
        if path.exists()
        else {"schema": SCHEMA, "archives": {}}
    )
    manifest["archives"][archive.name] = {
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "runs": n_runs,
        "commands": [
            f"autollm lab run {family_name}",
            f"autollm lab pack {family_name}",
        ],
    }
    path.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
