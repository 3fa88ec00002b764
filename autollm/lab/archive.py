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
from autollm.core.places import EMBEDDED
from autollm.core.records import Record, parse_record
from autollm.core.sealed import file_sha256
from autollm.lab.families import load_family
from autollm.lab.spec import LADDER, SWEEPS

ROOT = EMBEDDED
SCHEMA = 1
ADDED_VERSION = 1
"""Version of the archives beside a family's ladder."""


def archive_path(
    family_name: str, root: Path = ROOT, sweep: str = LADDER
) -> Path:
    """Where the recorded runs of a family's present version ship: its ladder's, or a
    sweep's.
    """
    family = load_family(family_name)
    if sweep == LADDER:
        return root / f"{family_name}-v{family.version}.tar.xz"
    return root / f"{family_name}-{sweep}-v{ADDED_VERSION}.tar.xz"


def shipped(family_name: str, root: Path = ROOT, sweep: str = LADDER) -> Path:
    """As `archive_path`, when the archive is there.

    Raises:
        RecordError: it is not.
    """
    path = archive_path(family_name, root, sweep)
    if not path.exists():
        runs, packs = commands(family_name, sweep)
        raise RecordError(
            f"no recorded runs of {family_name} ({sweep}) under {root}. Fix: {runs}; "
            f"{packs}"
        )
    return path


def archives(family_name: str, root: Path = ROOT) -> list[Path]:
    """Those of a family's archives that are there, the ladder's first."""
    paths = [archive_path(family_name, root, sweep) for sweep in SWEEPS]
    return [path for path in paths if path.exists()]


def commands(family_name: str, sweep: str = LADDER) -> list[str]:
    """The commands that make an archive: the sweeps of its levels, then packing."""
    if sweep == LADDER:
        return [
            f"autollm lab run {family_name}",
            f"autollm lab pack {family_name}",
        ]
    levels = [
        level.name for level in load_family(family_name).sweep_levels(sweep)
    ]
    runs = "; ".join(
        f"autollm lab run {family_name} --level {name}" for name in levels
    )
    return [runs, f"autollm lab pack {family_name} --sweep {sweep}"]


def pack(
    family_name: str,
    logs_dir: str | Path,
    root: Path = ROOT,
    sweep: str = LADDER,
) -> Path:
    """Write the archive of a sweep's logs in `logs_dir` and its manifest entry; returns
    its path.

    Logs of the family's other sweeps may lie beside them. A far or fresh sweep is
    packed whole.

    Raises:
        RecordError: there is no log, or one of a run that the family does not declare,
            or a run of a far or fresh sweep is missing.
    """
    family, every = (
        load_family(family_name),
        sorted(Path(logs_dir).glob("*.jsonl")),
    )
    known = family.known()
    paths = [
        p
        for p in every
        if p.stem not in known or known[p.stem].level.sweep == sweep
    ]
    if not paths:
        raise RecordError(
            f"no *.jsonl under {logs_dir}. Fix: {commands(family_name, sweep)[0]}"
        )
    strange = [p.name for p in paths if p.stem not in known]
    if strange:
        raise RecordError(
            f"{len(strange)} logs under {logs_dir} are of no run that {family_name} "
            f"v{family.version} declares, such as "
            f"{strange[0]}. Fix: move them elsewhere, then pack again."
        )
    n_declared = sum(map(family.n_runs, family.sweep_levels(sweep)))
    if sweep != LADDER and len(paths) < n_declared:
        raise RecordError(
            f"{logs_dir} holds {len(paths)} of the {n_declared} runs of {family_name} "
            f"({sweep}), and "
            f"such a level ships whole. Fix: {commands(family_name, sweep)[0]}"
        )
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT
    ) as tar:
        for path in paths:
            data = path.read_bytes()
            entry = tarfile.TarInfo(f"{family_name}/{path.name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    target = archive_path(family_name, root, sweep)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(
        lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    )
    _write_manifest(target, commands(family_name, sweep), len(paths))
    return target


def read_runs(archive: str | Path) -> dict[str, list[Record]]:
    """Records of every run in an archive, by run_id.

    Raises:
        RecordError: the archive or a line in it cannot be read, or the archive is not
            the one that was packed.
    """
    _check_digest(Path(archive))
    runs = {}
    try:
        with tarfile.open(archive, "r:xz") as tar:
            for entry in tar:
                member = tar.extractfile(entry)
                if member is not None:
                    lines = member.read().decode().splitlines()
                    runs[Path(entry.name).stem] = [
                        parse_record(line) for line in lines
                    ]
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise RecordError(
            f"{archive} cannot be read: {error}. Fix: restore it from version control."
        ) from error
    return runs


def _check_digest(archive: Path) -> None:
    """Check that an archive is the one that the manifest beside it names; one without
    an entry passes.

    Raises:
        RecordError: it is another.
    """
    manifest = archive.parent / "manifest.json"
    if not manifest.exists():
        return
    try:
        entry = json.loads(manifest.read_text())["archives"].get(archive.name)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise RecordError(
            f"{manifest} is damaged: {error}. Fix: restore it from version control."
        ) from None
    if (
        entry
        and archive.exists()
        and file_sha256(str(archive)) != entry["sha256"]
    ):
        raise RecordError(
            f"{archive} was altered: its sha256 begins with "
            f"{file_sha256(str(archive))[:16]}, it was packed with "
            f"{entry['sha256'][:16]}. Fix: restore it from version control."
        )


def _write_manifest(archive: Path, made_by: list[str], n_runs: int) -> None:
    path = archive.parent / "manifest.json"
    manifest: dict[str, Any] = (
        json.loads(path.read_text())
        if path.exists()
        else {"schema": SCHEMA, "archives": {}}
    )
    manifest["archives"][archive.name] = {
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "runs": n_runs,
        "commands": made_by,
    }
    path.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
