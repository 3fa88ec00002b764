"""Run folders of no tool's: configuration files, and the metrics that the job wrote
beside them.

    config.yaml, args.json, params.toml ... -> config.*
    metrics.csv, history.jsonl ...          -> the history
    results.json, summary.json ...          -> metrics.*

A folder whose only log is a curve of a name that any run has (`metrics.csv`) is a run of
the folder's name, too; where the curve stands deeper (`logs/version_0/metrics.csv`), a
configuration elsewhere in the folder makes it one (litgpt).

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


_OF_TRAINER = re.compile(r"(all|eval|train)_results\.json")
"""Written into a run's folder by the Trainer's scripts: needs no configuration beside."""


def _is_config(path: str) -> bool:
    name = path.rpartition("/")[2]
    is_adapter = name == "adapter_config.json"
    return is_adapter or CONFIG_NAME.fullmatch(name) is not None


class PlainFolderReader:
    """A folder with a configuration and metrics."""

    format = "run-folder"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        here = [path for path in listing if "/" not in path]
        configs = [path for path in here if _is_config(path)]
        metrics = [p for p in here if _CURVE.fullmatch(p) or RESULT.search(p)]
        is_trainers = any(map(_OF_TRAINER.fullmatch, metrics))
        if not metrics or not (configs or is_trainers):
            return ()
        return (*configs, *metrics)

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        builder = RelationBuilder(self.format, "run")
        builder.roles["run"] = "key"
        cells: dict[str, Any] = {}
        for path, file in opened.files.items():
            if _is_config(path):
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
        folder, _, name = logs[0].rpartition("/") if logs else ("", "", "")
        if len(logs) != 1 or not _OF_ANY_RUN.fullmatch(name):
            return ()
        if not folder:
            return (logs[0],)
        configs = [path for path in listing if _is_config(path)]
        is_beside = any(p.rpartition("/")[0] == folder for p in configs)
        if is_beside or not configs:
            return ()  # the inner folder is the run
        return (logs[0], min(configs, key=lambda p: (p.count("/"), p)))

    def confirms(self, heads: Mapping[str, bytes]) -> bool:
        """Whether the file is one run's curve; by its name it may be a table of runs."""
        name, head = next((n, h) for n, h in heads.items() if not _is_config(n))
        curves = (CurveCsvReader(), CurveJsonlReader())
        return any(reader.matches(name, head) for reader in curves)

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        builder = RelationBuilder(self.format, "run")
        cells: dict[str, Any] = {}
        for path, file in sorted(
            opened.files.items(), key=lambda pair: not _is_config(pair[0])
        ):
            if _is_config(path):
                add_settings(builder, cells, file, "config.")
            else:
                add_curve(builder, file, run_of_folder(opened.name), cells)
        return [builder.relation()]
