"""Hydra job folders, of a single run or a multirun: `.hydra/config.yaml`, the overrides,
and what the job itself wrote beside them.

    .hydra/config.yaml -> config.*       .hydra/overrides.yaml -> overrides (a label)
    metrics.csv, history.jsonl ... -> the history       results.json ... -> metrics.*

Rules
- Hydra logs no metrics: a file below the job's folder counts when it is called metrics,
  results, history, log, progress, eval or summary, and ends in .csv, .jsonl or .json.
- Of several histories the first by name is the run's; the others are set aside. Without
  any, the job's own text log is.
- `${...}` stands as written: resolving it would need the job's code.
- Hydra says nothing of how a job ended.

Invariant: one job folder, one run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.readers.documents import parse_yaml_list
from autollm.logs.readers.lightning import run_of_folder
from autollm.logs.readers.rows import RelationBuilder, count_lines, read_whole
from autollm.logs.readers.run_folders import (
    MAX_CONFIG_BYTES,
    add_curve,
    add_results,
    add_settings,
    read_config,
)
from autollm.logs.readers.text_log import read_text
from autollm.logs.readers.text_patterns import TextFormat, shipped_formats
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation

_CONFIG = ".hydra/config.yaml"
_OVERRIDES = ".hydra/overrides.yaml"
_WORDS = (
    r"(metrics?|((all|eval|test|train|final)[-_])?results?|history"
    r"|(train(?:ing)?_)?(?:logs?|metrics)|progress|eval\w*|summary)"
)
HISTORY = re.compile(rf"(^|/){_WORDS}\.(csv|jsonl)$")
RESULT = re.compile(rf"(^|/){_WORDS}([-_.][\dT:._-]+)?\.(json|ya?ml)$")
_LOG = re.compile(r"[^/]+\.log")


class HydraJobReader:
    """A job's folder."""

    format = "hydra"

    def __init__(self, own: Sequence[TextFormat] = ()) -> None:
        self._formats = (*own, *shipped_formats())

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        if _CONFIG not in listing:
            return ()
        claimed = [path for path in listing if path in (_CONFIG, _OVERRIDES)]
        for path in listing:
            if HISTORY.search(path) or RESULT.search(path):
                claimed.append(path)
        if not any(HISTORY.search(path) for path in claimed):
            claimed += [path for path in listing if _LOG.fullmatch(path)]
        return tuple(claimed)

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        builder = RelationBuilder(self.format, "run")
        builder.roles.update({"run": "key", "overrides": "label"})
        cells: dict[str, Any] = {}
        add_settings(builder, cells, opened.files[_CONFIG], "config.")
        if _OVERRIDES in opened.files:
            cells["overrides"] = _overrides(builder, opened.files[_OVERRIDES])
        run = run_of_folder(opened.name)
        add_metrics(builder, opened.files, run, cells, self._formats)
        return [builder.relation()]


def _overrides(builder: RelationBuilder, opened: OpenedFile) -> str | None:
    data = b""
    try:
        data = read_whole(opened, MAX_CONFIG_BYTES)
        words = parse_yaml_list(data, opened.name)
        return ", ".join(str(word) for word in words)
    except RecordError as error:
        n_lines = count_lines(data)
        builder.add_bad(
            min(1, n_lines), str(error), data[:2000], n_lines, opened.name
        )
        return None
    finally:
        builder.n_lines += count_lines(data)


def add_metrics(
    builder: RelationBuilder,
    files: Mapping[str, OpenedFile],
    run: str,
    cells: dict[str, Any],
    formats: Sequence[TextFormat] = (),
) -> None:
    """A run's row, history and results from the files of its folder that hold them."""
    results: dict[str, Any] = {}
    histories = []
    for path, opened in sorted(files.items()):
        if HISTORY.search(path) or _LOG.fullmatch(path):
            histories.append(opened)
        elif RESULT.search(path):
            add_results(builder, results, read_config(builder, opened))
    has_history = False
    for opened in histories:
        if has_history:
            builder.note(
                f"{run}: {opened.name} is a second history: kept raw only"
            )
            _set_aside(builder, opened)
        else:
            has_history = (
                read_text(builder, opened, formats, run, cells)
                if _LOG.fullmatch(opened.name)
                else add_curve(builder, opened, run, cells) is not None
            )
    if not has_history:
        builder.add_run({"run": run, **cells}, next(iter(files), ""))
    builder.amend_run(results)


def _set_aside(builder: RelationBuilder, opened: OpenedFile) -> None:
    n_lines = count_lines(read_whole(opened))
    builder.n_lines += n_lines
    reason = "a second history of one run: the first by name counts"
    builder.add_bad(min(1, n_lines), reason, b"", n_lines, opened.name)
