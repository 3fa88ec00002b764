"""A checkpoint whose weights are the mean of several: `python -m
research.averaging A B C --out FOLDER`.

Lessons that start from each other differ in what each happened to forget; their mean
forgets less than any of them (Wortsman et al. 2022, "Model soups"; Izmailov et al.
2018). The first checkpoint gives the vocabulary, in which tokens of the others are
found by name. Invariant: the mean of one checkpoint with itself is that checkpoint.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

import torch

from autollm.agent.checkpoints import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from autollm.agent.provenance import training_targets
from autollm.core.identity import checkpoint_digest
from research.pretrain import adopt


@torch.no_grad()
def average(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Save the mean of checkpoints of one architecture as `out`.

    Raises:
        CheckpointError: one of them cannot be loaded. RuntimeError: their shapes
            differ.
    """
    mean = load_checkpoint(folders[0])
    other, metadata, digests = (
        copy.deepcopy(mean.model),
        [mean.metadata],
        [checkpoint_digest(f) for f in folders],
    )
    for n, folder in enumerate(folders[1:], start=2):
        one = load_checkpoint(folder)
        adopt(other, mean.tokenizer, one)
        metadata.append(one.metadata)
        for weight, value in zip(
            mean.model.parameters(), other.parameters(), strict=True
        ):
            weight.lerp_(value, 1 / n)
    joined = {
        "experiments": sorted(
            {e for m in metadata for e in training_targets(m)}
        ),
        "averaged": digests,
        "parents": sorted(
            {*(p for m in metadata for p in m.get("parents", [])), *digests}
        ),
    }
    return save_checkpoint(
        Checkpoint(mean.model, mean.tokenizer, mean.metadata | joined), out
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    print(average(arguments.checkpoints, arguments.out))


if __name__ == "__main__":
    main()
