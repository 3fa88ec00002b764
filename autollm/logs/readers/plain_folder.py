"""Run folders of no tool's: one configuration file, and the metrics that the job wrote
beside it.

    config.yaml, args.json, params.toml ... -> config.*
    metrics.csv, history.jsonl ...          -> the history
    results.json, summary.json ...          -> metrics.*

A folder whose only log is a curve of a name that any run has (`metrics.csv`) is a run of
the folder's name, too.

The rules are those of Hydra's job folders (autollm.logs.readers.hydra), but that the files
stand in the folder itself, and that one of them must hold metrics.

Invariant: one folder, one run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autollm.logs.readers.curve_files import CurveCsvReader
from autollm.logs.readers.curve_jsonl import CurveJsonlReader
from autollm.logs.readers.hydra import RESULT, add_metrics
from autollm.logs.readers.lightning import run_of_folder
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.run_folders import (
    CONFIG_NAME,
    add_curve,
    add_settings,
)
from autollm.logs.relation import OpenedFolder, Relation

_CURVE = re.compile(
    r"(metrics?|history|progress|(train(ing)?_)?(log|metrics))\.(csv|jsonl)"
)
"""No results.csv: beside a configuration that is a sweep's table of runs often."""


class PlainFolderReader:
    """A folder with one configuration file and metrics."""

    format = "run-folder"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        here = [path for path in listing if "/" not in path]
        configs = [path for path in here if CONFIG_NAME.fullmatch(path)]
        metrics = [p for p in here if _CURVE.fullmatch(p) or RESULT.search(p)]
        if len(configs) != 1 or not metrics:
            return ()
        return (*configs, *metrics)

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        builder = RelationBuilder(self.format, "run")
        builder.roles["run"] = "key"
        cells: dict[str, Any] = {}
        for path, file in opened.files.items():
            if CONFIG_NAME.fullmatch(path):
                add_settings(builder, cells, file, "config.")
        add_metrics(builder, opened.files, run_of_folder(opened.name), cells)
        return [builder.relation()]


_OF_ANY_RUN = re.compile(
    r"(metrics?|history|progress|losses|loss|curves?|results?|stats"
    r"|(train(ing)?_)?(log|logs|metrics|history))\.(csv|tsv|jsonl)"
)
_ANY_LOG = re.compile(
    r"\.(csv|tsv|jsonl|ndjson|parquet|log|out|db|wandb)(\.gz|\.zst)?$"
)


class BareCurveReader:
    """A folder with one metrics file and no configuration: its name is the run's."""

    format = "bare-curve"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        logs = [path for path in listing if _ANY_LOG.search(path)]
        is_one = len(logs) == 1 and _OF_ANY_RUN.fullmatch(logs[0]) is not None
        return (logs[0],) if is_one else ()

    def confirms(self, heads: Mapping[str, bytes]) -> bool:
        """Whether the file is one run's curve; by its name it may be a table of runs."""
        ((name, head),) = heads.items()
        curves = (CurveCsvReader(), CurveJsonlReader())
        return any(reader.matches(name, head) for reader in curves)

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        builder = RelationBuilder(self.format, "run")
        ((_, file),) = opened.files.items()
        add_curve(builder, file, run_of_folder(opened.name), {})
        return [builder.relation()]
