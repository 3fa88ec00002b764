"""Train runs of `optimizer`: as `pretraining`, with the rest of the recipe."""

from __future__ import annotations

import math

from autollm.core.records import Record
from autollm.lab.corpus import Corpus, load
from autollm.lab.families.optimizer import OPTIMIZER
from autollm.lab.spec import Run
from autollm.lab.trainers.pretraining import train_as

__all__ = ["load", "train"]


def train(
    runs: list[Run], data: Corpus, max_seconds: float = math.inf
) -> dict[str, list[Record]]:
    """Records of every run by run_id. All runs share level and batch size."""
    return train_as(OPTIMIZER, runs, data, max_seconds)
