"""Landing: raw logs into the lake, once, with nothing lost.

Each file is copied to `<lake>/landing/<sha[:2]>/<sha>/<name>` and read by its format's reader; all files of one call
are written as one bronze batch. A file that has landed (by sha256) is skipped; a run that another file brought first
goes to quarantine; so does every line that cannot be used, with file, line and reason. What does not belong here:
formats, the warehouse, schedules.

Invariant: killed at any moment, the lake holds the batch whole or not at all, and landing again gives the same.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from pathlib import Path

import fsspec

from autollm.errors import RecordError
from autollm.logs.bronze import Batch, Bronze
from autollm.logs.catalog import MappingChoice
from autollm.logs.containers import LogBytes, RawFile, find_files, hash_file, open_logs
from autollm.logs.formats import reader_for
from autollm.logs.ingest_report import SHOWN, IngestReport, Quarantined
from autollm.logs.mapping import Mapping
from autollm.logs.reading import BadLines, Reader, ReadFile, RunRow
from autollm.records import content_hash


def ingest(paths: Iterable[str | Path], lake: str, mapping: Mapping | None = None) -> IngestReport:
    """Land log files, tables, archives, or folders of them in the lake at `lake` (fsspec URL or path).

    With a mapping, files named in `paths` are read as its format and folders are searched for its `files`; without one,
    the built-in mappings are used (run logs by their header's source, tables by file name).

    Raises:
        FileNotFoundError: a path does not exist.
        MappingError: a table that no mapping describes or fits; nothing has been written to bronze then.
        BusyError: another ingest is writing to this lake.
    """
    bronze = Bronze(lake)
    with bronze.writing():
        session = Session(bronze, MappingChoice(mapping))
        for path in paths:
            files, is_folder = find_files(str(path))
            for raw in files:
                session.land(raw, claimed_only=is_folder)
        return session.commit()


def require_bronze(lake: str) -> None:
    """Check that there is something to build tables from.

    Raises:
        RecordError: no batch with a run has landed.
    """
    bronze = Bronze(lake)
    if not any(n_runs for (n_runs,) in bronze.read("files", ["n_runs"])):
        raise RecordError(
            f"no run has landed in {bronze.batches}: there is nothing to build tables from. "
            "Fix: autollm ingest PATH (a log, a table, an archive or a folder)."
        )


def bronze_path(lake: str) -> str:
    """Where bronze lies, as dbt wants it: a plain path for local lakes, a URL for others."""
    bronze = Bronze(lake)
    path = f"{bronze.root}/bronze"
    return path if bronze.is_local else bronze.fs.unstrip_protocol(path)


class Session:
    """One ingest: what the lake held before, and the batch that grows."""

    def __init__(self, bronze: Bronze, choice: MappingChoice):
        self._bronze, self._choice, self._batch = bronze, choice, Batch()
        files = bronze.read("files", ["sha256", "source", "mapping_id"])
        self._landed = {(sha, source) for sha, source, _ in files}
        self._landed_hashes = {sha for sha, _ in self._landed}
        self._stale_sources = stale_sources(files, choice)
        self._runs = dict.fromkeys(bronze.read("runs", ["source", "run_id"]), "an earlier batch")
        self._spaces: set[tuple[str, str, str]] = set()
        self._n_skipped = 0
        self._ignored: list[str] = []

    def land(self, raw: RawFile, claimed_only: bool) -> None:
        """Read one file, or the members of one archive, into the batch."""
        if not raw.is_archive and not self._claims(raw.name, claimed_only):
            self._ignored.append(raw.name)
            return
        sha256, size = hash_file(raw)
        if self._has_landed(sha256):
            self._n_skipped += 1
            return
        self._keep_raw(raw, sha256)
        n_before = len(self._batch.files)
        for log in open_logs(raw, sha256):
            self._land_log(log, sha256, raw.is_archive)
        if raw.is_archive and len(self._batch.files) > n_before:
            self._add_file(raw.name, sha256, sha256, "archive", size, self._choice.named, "", ReadFile(0))

    def _claims(self, name: str, claimed_only: bool) -> bool:
        reader = reader_for(name, self._choice)
        if reader is None:
            return False
        return not claimed_only or self._choice.for_file(name, reader.format) is not None

    def _has_landed(self, sha256: str) -> bool:
        if not sha256:  # a member that could not be read
            return False
        if self._choice.named is not None:
            return (sha256, self._choice.named.source) in self._landed
        return sha256 in self._landed_hashes

    def _keep_raw(self, raw: RawFile, sha256: str) -> None:
        """Copy the bytes as they are, through a temporary name."""
        fs, folder = self._bronze.fs, f"{self._bronze.root}/landing/{sha256[:2]}/{sha256}"
        if fs.exists(folder) and any(not p.endswith(".part") for p in fs.ls(folder, detail=False)):
            return
        fs.makedirs(folder, exist_ok=True)
        with fsspec.open(raw.url, "rb") as source, fs.open(f"{folder}/{raw.name}.part", "wb") as target:
            while chunk := source.read(2**20):
                target.write(chunk)
        fs.mv(f"{folder}/{raw.name}.part", f"{folder}/{raw.name}")

    def _land_log(self, log: LogBytes, raw_sha256: str, is_member: bool) -> None:
        member = log.name.rsplit("!", 1)[-1]
        if is_member and not log.problem and not self._claims(member, claimed_only=True):
            self._ignored.append(log.name)
            return
        if is_member and self._has_landed(log.sha256):
            self._n_skipped += 1
            return
        reader = reader_for(member, self._choice)
        found = _problem(log) if log.problem or reader is None else reader.read(log, self._choice)
        self._first_runs_only(log, found)
        self._add_found(log, raw_sha256, found)
        kind = "member" if is_member else "file"
        self._add_file(
            log.name, raw_sha256, log.sha256, kind, len(log.data), self._choice.named, _format(reader), found
        )

    def _first_runs_only(self, log: LogBytes, found: ReadFile) -> None:
        """Keep the first of every (source, run_id); later ones become bad lines."""
        kept = []
        for run in found.runs:
            other = self._runs.setdefault(run.key, log.name)
            if other is log.name:
                kept.append(run)
            else:
                reason = f"the run {run.key[1]!r} of {run.key[0]!r} came first from {other}; this one is kept raw only"
                found.bad.append(BadLines(run.line, run.n_lines, reason, run.text))
        found.runs = kept

    def _add_found(self, log: LogBytes, raw_sha256: str, found: ReadFile) -> None:
        for run in found.runs:
            self._batch.runs.append({**run.row, "raw_file": log.name, "raw_sha256": raw_sha256})
            self._add_space(run)
            name = {"source": run.row["source"], "run_id": run.row["run_id"]}
            self._batch.run_metrics += [{**name, **point} for point in run.points]
        self._batch.quarantine += [
            {"file": log.name, "sha256": log.sha256, **dataclasses.asdict(bad)}
            for bad in sorted(found.bad, key=lambda b: b.line)
        ]

    def _add_space(self, run: RunRow) -> None:
        key = (run.row["source"], run.row["space_id"], run.row["ladder_id"])
        if key in self._spaces:
            return
        self._spaces.add(key)
        mapping = self._choice.for_source(run.row["source"])
        self._batch.spaces.append(
            {
                "source": mapping.source,
                "family": mapping.family,
                "space_id": mapping.space_id,
                "space_json": mapping.space_json,
                "ladder_id": mapping.ladder_id,
                "ladder_json": mapping.ladder_json,
            }
        )

    def _add_file(
        self,
        name: str,
        raw_sha256: str,
        sha256: str,
        kind: str,
        size: int,
        named: Mapping | None,
        file_format: str,
        found: ReadFile,
    ) -> None:
        source = found.source or (named.source if named else "")
        self._landed.add((sha256, source))
        self._landed_hashes.add(sha256)
        self._batch.files.append(
            {
                "source": source,
                "file": name,
                "raw_sha256": raw_sha256,
                "sha256": sha256,
                "kind": kind,
                "bytes": size,
                "mapping_id": found.mapping_id or (named.mapping_id if named else ""),
                "format": file_format,
                "n_lines": found.n_lines,
                "n_lines_read": found.n_lines - found.n_lines_quarantined,
                "n_lines_quarantined": found.n_lines_quarantined,
                "n_runs": len(found.runs),
            }
        )

    def commit(self) -> IngestReport:
        """Write the batch, if there is anything in it."""
        files = self._batch.files
        keys = sorted(f"{f['sha256']} {f['source']} {f['file']}" for f in files)
        batch_id = content_hash("\n".join(keys)) if files else None
        if batch_id is not None:
            self._bronze.write(batch_id, self._batch)
        total = {n: sum(f[n] for f in files) for n in ("n_lines", "n_lines_read", "n_lines_quarantined")}
        shown = itertools.islice(self._batch.quarantine, SHOWN)
        return IngestReport(
            batch_id=batch_id,
            n_files_new=sum(f["kind"] != "archive" for f in files),
            n_files_skipped=self._n_skipped,
            n_runs=len(self._batch.runs),
            n_metric_points=len(self._batch.run_metrics),
            **total,
            quarantined=tuple(Quarantined(q["file"], q["line"], q["n_lines"], q["reason"]) for q in shown),
            n_ignored=len(self._ignored),
            ignored=tuple(self._ignored[:SHOWN]),
            stale_sources=self._stale_sources,
        )


def stale_sources(files: Iterable[tuple[str, str, str]], choice: MappingChoice) -> tuple[str, ...]:
    """Sources among (sha256, source, mapping_id) whose mapping has changed since; those of unknown mappings are not."""
    landed = {(source, mapping_id) for _, source, mapping_id in files if mapping_id}
    now = {m.source: m.mapping_id for m in choice.candidates}
    return tuple(sorted({source for source, mapping_id in landed if now.get(source, mapping_id) != mapping_id}))


def _problem(log: LogBytes) -> ReadFile:
    """A file that could not even be opened: no lines are known of it."""
    return ReadFile(0, bad=[BadLines(0, 0, log.problem or "no reader for this file", "")])


def _format(reader: Reader | None) -> str:
    return reader.format if reader else ""
