"""Checkpoints: a folder of safetensors, tokenizer and `autollm.json` (what it is and
what it was trained on).

Written beside its place and renamed into it, so that a folder either is whole or is not
there. What does not belong here: how a model was trained. Invariant: a loaded
checkpoint computes what the saved one did, and no pickle is ever read.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from autollm.core.errors import CheckpointError

SCHEMA = 1
METADATA = "autollm.json"


@dataclass
class Checkpoint:
    """A model, its tokenizer and its metadata.

    `metadata`: profile, stage (base, sft, rl, sft-rl), trained_on (words), experiments
    (ids of recorded targets that were seen in training), table_id, parents (digests of
    the checkpoints before it), and what else its stage wants to say.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    metadata: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, folder: str | Path) -> Path:
    """Write a checkpoint, replacing one of the same name. Weights keep their type."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".tmp-"))
    try:
        checkpoint.model.save_pretrained(temporary)
        checkpoint.tokenizer.save_pretrained(temporary)
        (temporary / METADATA).write_text(
            json.dumps(
                {"schema": SCHEMA, **checkpoint.metadata}, indent=1, sort_keys=True
            )
        )
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return folder


def load_checkpoint(
    folder: str | Path, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Checkpoint:
    """A checkpoint of ours, or a plain model folder (or hub id), which then counts as
    stage `base` of its own name.

    Raises:
        CheckpointError: nothing there, a broken file, or a schema of another version.
    """
    metadata = read_metadata(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder} cannot be loaded: {error}. Expected a folder with config.json, "
            "*.safetensors and a "
            "tokenizer. Fix: train it again, or name another checkpoint."
        ) from error
    return Checkpoint(model.to(device), tokenizer, metadata)


def read_metadata(folder: str | Path) -> dict[str, Any]:
    """The metadata alone; that of an unmarked base model where there is none.

    Raises:
        CheckpointError: unreadable, or of another schema version.
    """
    path = Path(folder) / METADATA
    if not path.exists():
        return {
            "schema": SCHEMA,
            "stage": "base",
            "trained_on": f"unknown to autollm ({folder})",
            "experiments": [],
            "table_id": None,
            "parents": [],
        }
    try:
        metadata = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"{path} is not JSON: {error}. Fix: train the checkpoint again."
        ) from error
    if metadata.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path} has schema {metadata.get('schema')}, this version reads {SCHEMA}. "
            "Fix: train it again."
        )
    return metadata
