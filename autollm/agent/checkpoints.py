"""Checkpoints: a folder of safetensors, tokenizer and `autollm.json` (what it is and
what it was trained on).

Written beside its place and renamed into it, so that a folder either is whole or is not
there. Invariant: a loaded checkpoint computes what the saved one did, and no pickle is
ever read.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from autollm.agent.checkpoint_files import (
    check_files,
    read_metadata,
    write_metadata,
)
from autollm.core.errors import CheckpointError


@dataclass
class Checkpoint:
    """A model, its tokenizer and its metadata.

    `metadata`: profile, stage (base, sft, rl, sft-rl), trained_on (words), experiments
    (ids of recorded targets that were seen in training), table_id, parents (digests of
    the checkpoints before it), and further facts of its stage.
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
        write_metadata(temporary, checkpoint.metadata)
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
        CheckpointError: nothing there, a broken or altered file, or a schema of another
            version.
    """
    metadata = read_metadata(folder)
    check_files(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} cannot be loaded: {error}. Expected a folder with config.json, "
            "*.safetensors and a "
            "tokenizer. Fix: train it again, or name another checkpoint."
        ) from error
    return Checkpoint(model.to(device), tokenizer, metadata)
