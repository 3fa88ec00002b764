"""Whether a mapping that a home keeps is meant for what lies at a path.

A mapping claims files by name, and other people's sweeps have the same names. It is meant
where it reads at least half of the rows, where their runs are not others of the same
names and, if nobody but a guess wrote it, where nothing varies that it does not know.
What a person wrote decides for the files that have landed with it, whatever they hold.

Invariant: nothing is written; what cannot be read at all is left to the landing, which
says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cached_property

from autollm.core.errors import AutoLLMError, MappingError
from autollm.core.mappings.mapping import Mapping
from autollm.core.records import content_hash
from autollm.logs.choosing.catalog import kept_text, own_mappings
from autollm.logs.choosing.formats import Readers
from autollm.logs.lake.bronze import Bronze
from autollm.logs.opening.opened import Opened, RawFile
from autollm.logs.opening.run_folders import RunFolder
from autollm.logs.proposals import TableOptions, propose
from autollm.logs.proposals.looking import Looked, look_at_logs
from autollm.logs.proposals.summary import LEAST_SHARE, try_mapping
from autollm.logs.proposals.table_names import Log

MARK = "# Guessed by `autollm ingest` as "
"""Begins a mapping that a guess keeps; the hash of what follows comes next, so that one
which a person has corrected is known.
"""
TOLD = ", as it was told."
"""Ends that line where a person said what is a knob, a size or the objective."""
_CHOSEN = ("knob", "simplex", "context")


def marked(text: str, was_told: bool) -> str:
    """The text of a guess's mapping file."""
    return f"{MARK}{content_hash(text)}{TOLD if was_told else '.'}\n{text}"


def is_guess(text: str, may_be_told: bool = True) -> bool:
    """Whether a kept mapping is a guess that nobody has touched."""
    first, _, rest = text.partition("\n")
    ends = (".", TOLD) if may_be_told else (".",)
    return first in [f"{MARK}{content_hash(rest)}{end}" for end in ends]


class Claims:
    """What a home's mappings and landed files say of logs that a mapping claims."""

    def __init__(self, home: str, readers: Readers):
        self._home, self._readers = home, readers

    @cached_property
    def _files(self) -> set[tuple[str, ...]]:
        """(source, path id) and (source, hash) of what has landed."""
        found: set[tuple[str, ...]] = set()
        columns = ["source", "path_id", "sha256"]
        for source, path_id, sha256 in Bronze(self._home).read(
            "files", columns
        ):
            outer = "-".join(path_id.split("-")[:2])
            found |= {(source, outer), (source, path_id), (source, sha256)}
        return found

    @cached_property
    def _mapped(self) -> set[str]:
        """Hashes of what has been read with a mapping that the home still keeps."""
        columns = ["sha256", "source", "mapping_id", "n_lines"]
        kept = own_mappings(self._home)
        found = set()
        for sha256, source, mapping_id, n_lines in Bronze(self._home).read(
            "files", columns
        ):
            if mapping_id and n_lines and source in kept:
                found.add(sha256)
        return found

    @cached_property
    def _configs(self) -> dict[tuple[str, str], str]:
        """The configuration of each landed run, by source and run."""
        columns = ["source", "run_id", "config_json"]
        found = {}
        for source, run_id, config in Bronze(self._home).read("runs", columns):
            found[source, run_id] = config
        return found

    def is_same_place(self, source: str, path_ids: Sequence[str]) -> bool:
        """Whether some of the paths have landed as a source, or nothing has."""
        has_landed = any(name == source for name, _ in self._files)
        here = any((source, path_id) in self._files for path_id in path_ids)
        return here or not has_landed

    def is_kept_guess(self, source: str) -> bool:
        """Whether the mapping of a source may be guessed anew."""
        return is_guess(kept_text(self._home, source), may_be_told=False)

    def is_meant(
        self,
        mapping: Mapping,
        logs: Sequence[Log],
        path_ids: Sequence[str],
        folder: str,
    ) -> bool:
        """Whether a kept mapping is meant for logs that it claims by name."""
        source = mapping.source
        is_old = all((source, path_id) in self._files for path_id in path_ids)
        may_change = self.is_kept_guess(source)
        if is_old and (not may_change or self._has_landed(source, logs)):
            return True
        try:
            looked = look_at_logs(logs, self._readers, folder)
        except MappingError:
            return True
        if not is_old and not self._reads(mapping, looked):
            return False
        return not may_change or self._knows_all(mapping, looked)

    def _has_landed(self, source: str, logs: Sequence[Log]) -> bool:
        """Whether logs whose paths have landed hold nothing new: a run that went on has
        the settings that it had.
        """
        files = [log for log in logs if not isinstance(log, RunFolder)]
        try:
            return all((source, _sha256(log)) in self._files for log in files)
        except OSError:
            return True

    def are_copies(self, logs: Sequence[Log]) -> bool:
        """Whether all of it has landed byte for byte, wherever that lay."""
        try:
            copies = [_sha256(log) in self._mapped for log in logs]
        except OSError:
            return False
        return all(copies) and bool(copies)

    def _reads(self, mapping: Mapping, looked: Looked) -> bool:
        """Whether enough rows land, as runs of their own."""
        try:
            trial = try_mapping(looked.relations, mapping, looked.name)
        except MappingError:
            return False
        n_others = 0  # than those which landed under their names
        for run in trial.runs:
            config = run["config_json"]
            key = (mapping.source, run["run_id"])
            n_others += self._configs.get(key, config) != config
        return trial.share >= LEAST_SHARE and n_others <= trial.n_land / 2

    def _knows_all(self, mapping: Mapping, looked: Looked) -> bool:
        """Whether a mapping reads every column that a proposal takes for a choice."""
        try:
            found = propose(looked, TableOptions(), self._home)
        except AutoLLMError:
            return True
        known = {*mapping.needed_columns(), *mapping.name_parts_of}
        patterns = [p for knob in mapping.knobs for p in knob.columns]
        for column in found.columns:
            name = column["name"]
            is_known = name in known or any(
                fnmatchcase(name, p) for p in patterns
            )
            if column["role"] in _CHOSEN and not is_known:
                return False
        return True


def _sha256(log: Log) -> str:
    """Of a log's bytes."""
    if isinstance(log, RunFolder):
        return log.opened()[0].sha256
    return log.sha256 if isinstance(log, Opened) else RawFile(log).sha256
