"""Readers of other tools' logs: each turns bytes into a relation (autollm.logs.relation)
and knows nothing of mappings.

All have one shape. `matches` or `matches_folder` says whether a file, or which files of a
folder, are its own; `read` makes a builder (rows.py), goes through the file's lines or
records, of which each is taken or set aside with its reason, and gives the builder's
relation. Values become cells by cells.py, documents plain data by documents.py; what
names and lines mean stands in words.toml, tool_tables.toml and text_formats/.

    one curve or several     curve_files, json_records -> curves
    run folders              run_folders (nobody's own), trainer_state, ray_tune
    text                     text_log -> text_patterns, printed_log; log_ends
    binary                   tensorboard, wandb_offline -> protobuf
    stores                   sqlite_stores, optuna_journal, mlflow_store, what was fetched
    tables of people         text_tables; tool_tables -> merged_cells, wide_tables

What is recognized, and the rule for each case, is told in docs/your-logs.md. Readers are
asked in the order below: the first whose `matches` says yes reads the file. Run folders
are asked before files, from the outermost folder inwards.

Invariant: bytes in, relation or RecordError out; nothing that the bytes say is executed.
No two file readers, and no two folder readers, have one format.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autollm.logs.readers.curve_files import CurveCsvReader, CurveJsonlReader
from autollm.logs.readers.json_records import JsonRecordsReader
from autollm.logs.readers.run_folders import (
    BareCurveReader,
    HydraJobReader,
    JobFolderReader,
    LightningFolderReader,
    TextLogFolderReader,
)
from autollm.logs.readers.texts.text_log import TextLogReader
from autollm.logs.readers.texts.text_patterns import TextFormat, own_formats
from autollm.logs.readers.texts.text_tables import (
    MarkdownReader,
    TextTableReader,
)
from autollm.logs.readers.tools.mlflow_store import (
    MlflowFetchedReader,
    MlflowFolderReader,
)
from autollm.logs.readers.tools.optuna_journal import OptunaJournalReader
from autollm.logs.readers.tools.ray_tune import RayTuneReader
from autollm.logs.readers.tools.sqlite_stores import SqliteStoreReader
from autollm.logs.readers.tools.tensorboard import (
    TensorboardFileReader,
    TensorboardFolderReader,
)
from autollm.logs.readers.tools.trainer_state import (
    TrainerFolderReader,
    TrainerStateReader,
)
from autollm.logs.readers.tools.wandb_api import WandbFetchedReader
from autollm.logs.readers.tools.wandb_offline import (
    WandbFolderReader,
    WandbOfflineReader,
)
from autollm.logs.relation import FileReader, FolderReader


def folder_readers(own: Sequence[TextFormat] = ()) -> tuple[FolderReader, ...]:
    """Readers of run folders. `own`: a user's text formats (`own_formats`)."""
    return (
        WandbFetchedReader(),
        MlflowFetchedReader(),
        MlflowFolderReader(),
        WandbFolderReader(),
        TrainerFolderReader(),
        RayTuneReader(),
        HydraJobReader(own),
        LightningFolderReader(own),
        BareCurveReader(own),
        JobFolderReader(own),
        TensorboardFolderReader(),
        TextLogFolderReader(own),
    )


def file_readers(own: Sequence[TextFormat] = ()) -> tuple[FileReader, ...]:
    """Readers of single files; tables of runs (CSV, JSON lines, Parquet) come after
    them. `own`: a user's text formats.
    """
    return (
        WandbOfflineReader(),
        SqliteStoreReader(),
        TensorboardFileReader(),
        TrainerStateReader(),
        OptunaJournalReader(),
        CurveJsonlReader(),
        CurveCsvReader(),
        JsonRecordsReader(),
        MarkdownReader(),
        TextLogReader(own),
        TextTableReader(),
    )


def home_formats(home: Path) -> tuple[TextFormat, ...]:
    """A home's own text formats, `<home>/readers/*.toml`.

    Raises:
        RecordError: one of them is wrong.
    """
    return own_formats(home / "readers")
