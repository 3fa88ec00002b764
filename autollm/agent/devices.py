"""Which device and number type a configuration means on this machine."""

from __future__ import annotations

import torch

from autollm.agent.profiles import TrainConfig
from autollm.core.errors import CheckpointError


def device_of(config: TrainConfig) -> str:
    """`cpu` or `cuda`.

    Raises:
        CheckpointError: CUDA was asked for by name and is not there.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise CheckpointError(
            "device = cuda, but torch sees no CUDA device. Fix: device = auto, or a "
            "machine with a GPU."
        )
    return (
        "cuda"
        if config.device != "cpu" and torch.cuda.is_available()
        else "cpu"
    )


def dtype_of(config: TrainConfig) -> torch.dtype:
    """Type of the weights in memory: bfloat16 on a GPU when `bf16`, else float32 (a CPU
    only computes in bfloat16).
    """
    return (
        torch.bfloat16
        if config.bf16 and device_of(config) == "cuda"
        else torch.float32
    )
