"""Run folders: configuration files, and what the job wrote beside them.

    config.yaml, args.json, params.toml ...     -> config.*
    metrics.csv, history.jsonl, event files ... -> the history
    results.json, summary.json ...              -> metrics.*

Rules
- A file is a metrics file when it is called metrics, results, history, log, progress,
  eval or summary, and ends in .csv, .jsonl or .json. Beside a configuration one curve
  may have any name, and one YAML or TOML file of any name is a configuration.
- Of several histories the first by name is the run's; the others are kept raw only.
- Of Hydra's jobs, `.hydra/config.yaml` is the configuration and metrics files stand
  anywhere below; without any, the job's own text log is the history. `${...}` stands as
  written: resolving it would need the job's code.
- A folder whose only log is a curve of a name that any run has (`metrics.csv`) is a run
  without a configuration; where it stands deeper (`logs/version_0/metrics.csv`), one
  elsewhere in the folder is its own (litgpt).
- Text logs beside one configuration are a run of its settings each.
- A file that cannot be read costs itself, with its reason.

Invariant: every claimed file's lines are counted once, read or set aside, but for those of
a second history.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import Cells, flat_cells, number
from autollm.logs.readers.curve_files import (
    CurveCsvReader,
    CurveJsonlReader,
    read_curve,
)
from autollm.logs.readers.documents import parse_any_yaml, parse_config
from autollm.logs.readers.paths import last_part, plain_stem, run_of_folder
from autollm.logs.readers.rows import RelationBuilder, count_lines, read_whole
from autollm.logs.readers.texts.text_log import read_text
from autollm.logs.readers.texts.text_patterns import TextFormat, shipped_formats
from autollm.logs.readers.tools.tensorboard import events_of, read_events
from autollm.logs.readers.words import pattern
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation

CONFIG_NAME = pattern("configuration")
_ANY_CONFIG = pattern("any_configuration")
_WORDS = (
    r"(metrics?|((all|eval|test|train|final)[-_])?results?|history"
    r"|(train(?:ing)?_)?(?:logs?|metrics)|progress|eval\w*|summary)"
)
_HISTORY = re.compile(rf"(^|/){_WORDS}\.(csv|jsonl)$")
_RESULT = re.compile(rf"(^|/){_WORDS}([-_.][\dT:._-]+)?\.(json|ya?ml)$")
_CURVE = re.compile(
    r"(metrics?|history|progress|(train(ing)?_)?(log|metrics))\.(csv|jsonl)"
)
"""No results.csv: beside a configuration that is a sweep's table of runs often."""
_OF_TRAINER = re.compile(r"(all|eval|train)_results\.json")
"""Written into a run's folder by the Trainer's scripts: needs no configuration beside."""
_OF_ANY_RUN = re.compile(
    r"(metrics?|history|progress|losses|loss|curves?|results?|stats"
    r"|(train(ing)?_)?(log|logs|metrics|history))\.(csv|tsv|jsonl)"
)
_CURVE_FILE = re.compile(r"[^/]+\.(csv|tsv|jsonl)")
_TEXT_LOG = re.compile(r"[^/]+\.(log|out|txt)")
_LOG_OF_A_RUN = re.compile(
    r"(train(ing)?|run|main|job|log|logs|output|stdout|console|slurm[-_]?\d*)\.(log|out|txt)"
)
"""Names that say nothing of their run: the folder does."""
_TABLE = re.compile(r"\.(csv|tsv|jsonl|ndjson|parquet|db|wandb)(\.gz|\.zst)?$")
_OTHER_LOGS = re.compile(rf"{_TABLE.pattern}|\.(json|ya?ml)$|tfevents")
_HYDRA = ".hydra/config.yaml"
_OVERRIDES = ".hydra/overrides.yaml"
STATES = ("status", "state")
"""What a results file calls how its run ended."""


def is_config(path: str) -> bool:
    """Whether a file is called as a run's configuration is."""
    name = last_part(path)
    is_adapter = name == "adapter_config.json"
    return is_adapter or CONFIG_NAME.fullmatch(name) is not None


def _configs_of(listing: Sequence[str]) -> list[str]:
    """The configuration files in a folder: by their names, else the one YAML or TOML
    file that it holds.
    """
    here = [p for p in listing if "/" not in p and not _RESULT.search(p)]
    named = list(filter(is_config, here))
    others = [p for p in here if _ANY_CONFIG.fullmatch(p)]
    return named or (others if len(others) == 1 else [])


def read_config(builder: RelationBuilder, opened: OpenedFile) -> Cells:
    """A configuration file as it stands; empty, and set aside, where it is unreadable."""
    return builder.document(opened, parse_config)


def add_settings(
    builder: RelationBuilder,
    cells: Cells,
    opened: OpenedFile,
    prefix: str,
) -> None:
    """A configuration file's settings into a run's cells under `prefix`."""
    values = read_config(builder, opened)
    try:
        builder.put(cells, flat_cells(values), "setting", prefix)
    except RecordError as error:
        builder.note(f"{opened.name}: {error}")


def add_results(
    builder: RelationBuilder, cells: Cells, opened: OpenedFile
) -> None:
    """Numbers that a run ended with, as `metrics.<name>`, and the word for how it ended,
    as `state`: a results file is written by many jobs as they go on.
    """
    values = read_config(builder, opened)
    measured = values.get("results")  # lm-eval: beside it its own settings
    if isinstance(measured, Mapping) and measured:
        values = measured
    for name, value in flat_cells(values).items():
        if name in STATES and isinstance(value, str):
            builder.put(cells, {"state": value}, "status")
        as_number = number(value)
        if as_number is not None:
            builder.put_results(cells, {name: as_number})


def add_curve(
    builder: RelationBuilder,
    opened: OpenedFile,
    run: str,
    settings: Cells,
) -> Cells | None:
    """A metrics file as a run's row and history; gives its last row. None, and the file
    is set aside, where it is no curve.
    """
    before = builder.n_lines
    try:
        return read_curve(builder, opened, run, settings)
    except RecordError as error:
        data = read_whole(opened)
        n_lines = count_lines(data)
        builder.n_lines = before + n_lines
        builder.drop_bad(opened.name)
        first = min(1, n_lines)
        builder.add_bad(first, str(error), data[:2000], n_lines, opened.name)
        return None


class JobFolderReader:
    """A folder with a configuration and metrics. `own`: text formats that go before the
    shipped ones.
    """

    format = "run-folder"
    prefix = "config."

    def __init__(self, own: Sequence[TextFormat] = ()) -> None:
        self._formats = (*own, *shipped_formats())

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        here = [path for path in listing if "/" not in path]
        configs = _configs_of(listing)
        metrics = [p for p in here if _CURVE.fullmatch(p) or _RESULT.search(p)]
        is_trainers = any(map(_OF_TRAINER.fullmatch, metrics))
        metrics += events_of(listing)
        is_run = metrics and (configs or is_trainers)
        return (*configs, *metrics) if is_run else ()

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        builder = RelationBuilder(self.format, "run")
        run = run_of_folder(opened.name)
        cells: Cells = {}
        results: Cells = {}
        histories = []
        events = events_of(list(opened.files))
        configs = _configs_of(list(opened.files))
        for path, file in sorted(opened.files.items()):
            if path == _OVERRIDES:
                said = {"overrides": builder.document(file, _overrides) or None}
                builder.put(cells, said, "label")
            elif path == _HYDRA or path in configs or is_config(path):
                add_settings(builder, cells, file, self.prefix)
            elif _RESULT.search(path):
                add_results(builder, results, file)
            elif path not in events:
                histories.append(file)
        has_history = False
        for file in histories:
            if has_history:
                builder.note(
                    f"{run}: {file.name} is a second history: kept raw only"
                )
            elif _TEXT_LOG.fullmatch(file.name):
                formats = self._formats
                has_history = read_text(builder, file, formats, run, cells)
            else:
                has_history = add_curve(builder, file, run, cells) is not None
        if not has_history:
            files = [opened.files[path] for path in events]
            if files:
                read_events(builder, files, run, cells)
            else:
                first = next(iter(opened.files), "")
                builder.add_run({"run": run, **cells}, first)
        builder.amend_run(results)
        return [builder.relation()]


def _overrides(data: bytes, name: str) -> str:
    """Hydra's list of overrides as text."""
    words = parse_any_yaml(data, name) or []
    if not isinstance(words, list):
        raise RecordError(f"{name} holds no list")
    return ", ".join(map(str, words))


class HydraJobReader(JobFolderReader):
    """A job's folder, of a single run or a multirun."""

    format = "hydra"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        if _HYDRA not in listing:
            return ()
        configs = [path for path in listing if path in (_HYDRA, _OVERRIDES)]
        histories = [path for path in listing if _HISTORY.search(path)]
        results = [path for path in listing if _RESULT.search(path)]
        histories += events_of(listing)
        if not histories:
            histories = [p for p in listing if _TEXT_LOG.fullmatch(p)]
        return (*configs, *results, *histories)


class LightningFolderReader(JobFolderReader):
    """A `version_<n>` folder of Lightning's CSVLogger."""

    format = "lightning"
    prefix = "hparams."

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        both = ("metrics.csv", "hparams.yaml")
        is_both = set(both) <= set(listing)
        return (*both, *events_of(listing)) if is_both else ()


class BareCurveReader(JobFolderReader):
    """A folder with one metrics file: its name is the run's."""

    format = "bare-curve"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        logs = [
            path
            for path in listing
            if _TABLE.search(path) or path.endswith((".log", ".out"))
        ]
        configs = _configs_of(listing)
        here = [path for path in listing if _CURVE_FILE.fullmatch(path)]
        if configs and len(here) == 1 and not _CURVE.fullmatch(here[0]):
            return (*here, *configs, *filter(_RESULT.fullmatch, listing))
        folder, _, name = logs[0].rpartition("/") if logs else ("", "", "")
        if len(logs) != 1 or not _OF_ANY_RUN.fullmatch(name):
            return ()
        if not folder:
            return () if configs else (logs[0],)
        configs = [path for path in listing if is_config(path)]
        is_beside = any(p.rpartition("/")[0] == folder for p in configs)
        if is_beside or not configs:
            return ()  # the inner folder is the run
        return (logs[0], min(configs, key=lambda p: (p.count("/"), p)))

    def confirms(
        self, paths: Sequence[str], head: Callable[[str], bytes]
    ) -> bool:
        """Whether the first file, as the folder's reader claims them, is one run's curve;
        by its name it may be a table of runs.
        """
        curves = (CurveCsvReader(), CurveJsonlReader())
        data = head(paths[0])
        return any(reader.matches(paths[0], data) for reader in curves)


class TextLogFolderReader(JobFolderReader):
    """Text logs beside one configuration file: each log is a run of its settings. One log
    that is called as in any run's folder (`log.txt`) needs none: it is the folder's run.
    """

    format = "text-log"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        configs = _configs_of(listing)
        logs = [path for path in listing if _TEXT_LOG.fullmatch(path)]
        deep = [p for p in listing if _TEXT_LOG.fullmatch(last_part(p))]
        has_inner = any(is_config(path) and "/" in path for path in listing)
        if len(deep) == 1 and not has_inner:
            logs = deep  # `logs/log_1749.txt`
        is_alone = not configs and not any(map(_OTHER_LOGS.search, listing))
        if len(logs) == 1 and _LOG_OF_A_RUN.fullmatch(logs[0]) and is_alone:
            return (*logs,)
        return (*configs, *logs) if len(configs) == 1 and logs else ()

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`.

        Raises:
            RecordError: none of the logs is of a known format.
        """
        builder = RelationBuilder(self.format, "run")
        cells: Cells = {}
        logs = []
        for path, file in sorted(opened.files.items()):
            if _TEXT_LOG.fullmatch(last_part(path)):
                logs.append(file)
            else:
                add_settings(builder, cells, file, self.prefix)
        folder = last_part(opened.name)
        n_read = 0
        for file in logs:
            inner = "" if len(logs) == 1 else f"/{plain_stem(file.name)}"
            run = folder + inner
            n_read += read_text(builder, file, self._formats, run, cells)
        if not n_read:
            raise RecordError(
                f"{opened.name}: no log in it is of a known text format"
            )
        return [builder.relation()]
