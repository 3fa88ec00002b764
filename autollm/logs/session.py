"""One landing: files into the batch that grows, runs told apart from those that came
before.

What does not belong here: which files (`landing.py`), formats, writing Parquet
(`bronze.py`). Invariant: raw bytes are kept before anything is read; of every run the
first one stays, any other is set aside with the reason.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import fsspec

from autollm.core.records import content_hash
from autollm.logs.bronze import Batch, Bronze
from autollm.logs.catalog import MappingChoice
from autollm.logs.containers import (
    LogBytes,
    LogFile,
    RawFile,
    hash_file,
    open_logs,
    open_table,
)
from autollm.logs.formats import reader_for
from autollm.logs.ingest_report import SHOWN, IngestReport, Quarantined
from autollm.logs.landing_checks import EarlierRuns, SourceChecks, source_warnings
from autollm.logs.mapping import Mapping
from autollm.logs.pairs import Held, Waiting, hold
from autollm.logs.reading import BadLines, ReadFile

SAY_EVERY_S = 10.0
"""How often a long file says how far it is."""


@dataclass
class _Account:
    """Lines and runs of one file, over its chunks."""

    n_lines: int = 0
    n_bad: int = 0
    n_runs: int = 0
    mapping_id: str = ""
    source: str = ""

    def add(self, found: ReadFile) -> None:
        self.n_lines += found.n_lines
        self.n_bad += found.n_lines_quarantined
        self.n_runs += len(found.runs)
        self.mapping_id, self.source = (
            found.mapping_id or self.mapping_id,
            found.source or self.source,
        )


class Session:
    """One ingest: what the lake held before, and the batch that grows. `say` is told
    how far a long file is.
    """

    def __init__(
        self,
        bronze: Bronze,
        choice: MappingChoice,
        batch: Batch,
        say: Callable[[str], None] = lambda text: None,
    ):
        self._bronze, self._choice, self._batch, self._say = bronze, choice, batch, say
        files = bronze.read(
            "files", ["sha256", "source", "mapping_id", "file", "n_lines"]
        )
        self._landed = {(sha, source) for sha, source, *_ in files}
        self._landed_hashes = {sha for sha, _ in self._landed}
        self._landed_names = {
            (sha, source, name) for sha, source, _, name, n_lines in files if n_lines
        }
        self._stale_sources = stale_sources((row[:3] for row in files), choice)
        self._earlier = EarlierRuns(bronze)
        self._names = ["an earlier batch"]
        self._spaces: set[tuple[str, str, str]] = set()
        self._checks: dict[str, SourceChecks] = {}
        self._waiting = Waiting()
        self._shown: list[Quarantined] = []
        self._n_skipped = 0
        self._ignored: list[str] = []

    def land(self, raw: RawFile, claimed_only: bool) -> None:
        """Read one file, or the members of one archive, into the batch."""
        if not raw.is_archive and not self._claims(raw.name, claimed_only):
            self._ignored.append(raw.name)
            return
        if raw.problem:
            name_sha256 = hashlib.sha256(
                f"{raw.name}: {raw.problem}".encode()
            ).hexdigest()
            if not self._has_landed(name_sha256):
                self._land_log(
                    LogBytes(raw.name, b"", name_sha256, raw.problem),
                    name_sha256,
                    is_member=False,
                )
            return
        sha256, size = hash_file(raw)
        reader = None if raw.is_archive else reader_for(raw.name, self._choice)
        if (
            reader is not None
            and reader.streams
            and self._choice.is_of_a_pair(raw.name)
        ):
            self._hold(raw, open_table(raw, sha256, size))
            return
        if self._has_landed(sha256):
            self._n_skipped += 1
            return
        self._keep_raw(raw, sha256)
        if reader is not None and reader.streams:
            self._land_log(open_table(raw, sha256, size), sha256, is_member=False)
            return
        n_before = len(self._batch.files)
        for log in open_logs(raw, sha256):
            self._land_log(log, sha256, raw.is_archive)
        if raw.is_archive and len(self._batch.files) > n_before:
            self._add_file(raw.name, sha256, sha256, "archive", size, "", _Account())

    def _hold(self, raw: RawFile, log: LogFile) -> None:
        """A table of a pair: read when both are there."""
        held = hold(log, log.sha256, False, self._choice)
        if not self._has_landed_as(held):
            self._keep_raw(raw, log.sha256)
        pair = self._waiting.add(held, raw.folder)
        if pair is not None:
            self._land_pair(*pair)

    def land_rest(self) -> None:
        """Files of a pair that waited in vain for a partner in their own folder."""
        for held, other in self._waiting.rest():
            if isinstance(other, Held):
                self._land_pair(held, other)
            elif not self._has_landed_as(held):
                problem = LogBytes(held.log.name, b"", held.log.sha256, other)
                self._land_log(problem, held.raw_sha256, held.is_member, alone=True)
            else:
                self._n_skipped += 1

    def _claims(self, name: str, claimed_only: bool) -> bool:
        reader = reader_for(name, self._choice)
        if reader is None:
            return False
        return not claimed_only or self._choice.claims(name, reader.format)

    def _has_landed(self, sha256: str) -> bool:
        if not sha256:  # a member that could not be read
            return False
        if self._choice.named is not None:
            return (sha256, self._choice.named.source) in self._landed
        return sha256 in self._landed_hashes

    def _has_landed_as(self, held: Held) -> bool:
        """Files of pairs may have equal bytes and different meanings, so that their
        names count too.
        """
        return (
            held.log.sha256,
            held.mapping.source,
            held.log.name,
        ) in self._landed_names

    def _keep_raw(self, raw: RawFile, sha256: str) -> None:
        """Copy the bytes as they are, through a temporary name."""
        fs, folder = (
            self._bronze.fs,
            f"{self._bronze.root}/landing/{sha256[:2]}/{sha256}",
        )
        if fs.exists(f"{folder}/{raw.name}"):
            return
        fs.makedirs(folder, exist_ok=True)
        with (
            fsspec.open(raw.url, "rb") as source,
            fs.open(f"{folder}/{raw.name}.part", "wb") as target,
        ):
            while chunk := source.read(2**20):
                target.write(chunk)
        fs.mv(f"{folder}/{raw.name}.part", f"{folder}/{raw.name}")

    def _land_log(
        self,
        log: LogBytes | LogFile,
        raw_sha256: str,
        is_member: bool,
        alone: bool = False,
    ) -> None:
        member = log.name.rsplit("!", 1)[-1]
        if (
            is_member
            and not log.problem
            and not self._claims(member, claimed_only=True)
        ):
            self._ignored.append(log.name)
            return
        held = (
            None
            if alone or log.problem or not is_member
            else hold(log, raw_sha256, True, self._choice)
        )
        if held is not None:
            pair = self._waiting.add(
                held, log.name.rsplit("/", 1)[0] if "/" in log.name else raw_sha256
            )
            if pair is not None:
                self._land_pair(*pair)
            return
        if is_member and not alone and self._has_landed(log.sha256):
            self._n_skipped += 1
            return
        reader = reader_for(member, self._choice)
        if log.problem or reader is None:
            chunks: Iterable[ReadFile] = [_problem(log)]
        elif reader.streams:
            chunks = reader.chunks(log, self._choice)
        else:
            chunks = [reader.read(log, self._choice)]
        self._land_chunks(
            log, raw_sha256, is_member, reader.format if reader else "", chunks
        )

    def _land_pair(self, main: Held, partner: Held) -> None:
        """Two files that make one table; a pair that has landed is skipped."""
        if self._has_landed_as(main) and self._has_landed_as(partner):
            self._n_skipped += 2
            return
        broken = next((h for h in (main, partner) if h.log.problem), None)
        if broken is not None:
            for held in (main, partner):
                reason = (
                    held.log.problem
                    or f"it belongs to {broken.log.name}, which cannot be read: "
                    f"{broken.log.problem}"
                )
                problem = LogBytes(held.log.name, b"", held.log.sha256, reason)
                self._land_log(problem, held.raw_sha256, held.is_member, alone=True)
            return
        reader = reader_for(main.main, MappingChoice(main.mapping))
        joined = reader.join(partner.log, main.mapping)
        choice = MappingChoice(main.mapping)
        chunks = reader.chunks(main.log, choice, joined)
        self._land_chunks(
            main.log, main.raw_sha256, main.is_member, reader.format, chunks
        )
        report = [joined.report(main.log.name)]
        self._land_chunks(
            partner.log, partner.raw_sha256, partner.is_member, reader.format, report
        )

    def _land_chunks(
        self,
        log: LogBytes | LogFile,
        raw_sha256: str,
        is_member: bool,
        file_format: str,
        chunks: Iterable[ReadFile],
    ) -> None:
        account, begun = _Account(), time.monotonic()
        said = begun
        self._names.append(log.name)
        for found in chunks:
            self._first_runs_only(log, found)
            self._add_found(log, raw_sha256, found)
            account.add(found)
            now = time.monotonic()
            if now - said >= SAY_EVERY_S:
                said = now
                self._say(
                    f"{log.name}: {account.n_lines:,} lines read, "
                    f"{account.n_lines / (now - begun):,.0f} a second"
                )
        kind = "member" if is_member else "file"
        self._add_file(
            log.name, raw_sha256, log.sha256, kind, log.n_bytes, file_format, account
        )

    def _first_runs_only(self, log: LogBytes | LogFile, found: ReadFile) -> None:
        """Keep the first of every (source, run_id), and of every cell where the mapping
        asks for it; others become bad.
        """
        kept, this = [], len(self._names) - 1
        mapping = self._choice.for_source(found.source)
        for run in found.runs:
            source, run_id = run.key
            if source not in self._checks:
                self._earlier.load(
                    source, with_cells=mapping.duplicate_cells == "quarantine"
                )
                self._checks[source] = SourceChecks(
                    mapping,
                    source,
                    source not in self._earlier.sources,
                    self._earlier.cells,
                )
            first = self._earlier.runs.first(f"{source}\0{run_id}", this)
            if first != this:
                reason = f"the run {run_id!r} of {source!r} came first from {self._names[first]}; this one is kept raw only"
            else:
                reason = self._checks[source].add(run, log.name)
            if reason:
                found.bad.append(BadLines(run.line, run.n_lines, reason, run.text))
            else:
                kept.append(run)
        found.runs = kept

    def _add_found(
        self, log: LogBytes | LogFile, raw_sha256: str, found: ReadFile
    ) -> None:
        mapping = self._choice.for_source(found.source)
        self._batch.runs.add(
            {**run.row, "raw_file": log.name, "raw_sha256": raw_sha256}
            for run in found.runs
        )
        for run in found.runs:
            self._add_space(run.row, mapping)
            name = {"source": run.row["source"], "run_id": run.row["run_id"]}
            if run.points:
                self._batch.run_metrics.add({**name, **point} for point in run.points)
        bad = sorted(found.bad, key=lambda b: b.line)
        self._batch.quarantine.add(
            {"file": log.name, "sha256": log.sha256, **dataclasses.asdict(b)}
            for b in bad
        )
        self._shown += [
            Quarantined(log.name, b.line, b.n_lines, b.reason)
            for b in bad[: SHOWN - len(self._shown)]
        ]

    def _add_space(self, row: dict[str, str], mapping: Mapping) -> None:
        key = (row["source"], row["space_id"], row["ladder_id"])
        if key in self._spaces:
            return
        self._spaces.add(key)
        self._batch.spaces.add(
            [
                {
                    "source": row["source"],
                    "family": mapping.family,
                    "space_id": mapping.space_id,
                    "space_json": mapping.space_json,
                    "ladder_id": mapping.ladder_id,
                    "ladder_json": mapping.ladder_json,
                }
            ]
        )

    def _add_file(
        self,
        name: str,
        raw_sha256: str,
        sha256: str,
        kind: str,
        size: int,
        file_format: str,
        account: _Account,
    ) -> None:
        named = self._choice.named
        source = account.source or (named.source if named else "")
        self._landed.add((sha256, source))
        self._landed_hashes.add(sha256)
        if (
            account.n_lines
        ):  # a file that waited in vain for its partner has no lines yet
            self._landed_names.add((sha256, source, name))
        self._batch.files.append(
            {
                "source": source,
                "file": name,
                "raw_sha256": raw_sha256,
                "sha256": sha256,
                "kind": kind,
                "bytes": size,
                "mapping_id": account.mapping_id or (named.mapping_id if named else ""),
                "format": file_format,
                "n_lines": account.n_lines,
                "n_lines_read": account.n_lines - account.n_bad,
                "n_lines_quarantined": account.n_bad,
                "n_runs": account.n_runs,
            }
        )

    def commit(self) -> IngestReport:
        """Write the batch, if there is anything in it."""
        files = self._batch.files
        keys = sorted(f"{f['sha256']} {f['source']} {f['file']}" for f in files)
        batch_id = content_hash("\n".join(keys)) if files else None
        if (
            batch_id in self._bronze.batch_ids()
        ):  # files without their partner, met once more
            batch_id, files = None, []
        if batch_id is not None:
            self._bronze.write(batch_id, self._batch)
        total = {
            n: sum(f[n] for f in files)
            for n in ("n_lines", "n_lines_read", "n_lines_quarantined")
        }
        return IngestReport(
            batch_id=batch_id,
            n_files_new=sum(f["kind"] != "archive" for f in files),
            n_files_skipped=self._n_skipped,
            n_runs=len(self._batch.runs),
            n_metric_points=len(self._batch.run_metrics),
            **total,
            quarantined=tuple(self._shown),
            n_ignored=len(self._ignored),
            ignored=tuple(self._ignored[:SHOWN]),
            stale_sources=self._stale_sources,
            warnings=tuple(source_warnings(self._checks)),
        )


def stale_sources(
    files: Iterable[tuple[str, str, str]], choice: MappingChoice
) -> tuple[str, ...]:
    """Sources among (sha256, source, mapping_id) whose mapping has changed since; those
    of unknown mappings are not.
    """
    landed = {(source, mapping_id) for _, source, mapping_id in files if mapping_id}
    now = {m.source: m.mapping_id for m in choice.candidates}
    return tuple(
        sorted(
            {
                source
                for source, mapping_id in landed
                if now.get(source, mapping_id) != mapping_id
            }
        )
    )


def _problem(log: LogBytes | LogFile) -> ReadFile:
    """A file that could not even be opened: no lines are known of it."""
    return ReadFile(
        0, bad=[BadLines(0, 0, log.problem or "no reader for this file", "")]
    )
