"""What knobs, fidelity coordinates and families of generated landscapes are called."""

from __future__ import annotations

import numpy as np

KNOB_NAMES = {
    "rate": ("learning_rate", "lr", "peak_lr", "step_size", "max_lr", "eta"),
    "size": (
        "batch_size",
        "batch_tokens",
        "bs",
        "batch_sequences",
        "global_batch",
        "tokens_per_step",
    ),
    "other": (
        "weight_decay",
        "warmup",
        "beta2",
        "clip_range",
        "kl_coef",
        "temperature",
        "group_size",
        "depth",
        "width",
        "mlp_ratio",
        "dropout",
        "label_smoothing",
        "lora_rank",
        "alpha",
        "gamma",
        "w1",
        "w2",
        "w3",
    ),
}
FIDELITY_NAMES = {
    "model": ("params", "width", "n_params"),
    "data": ("tokens", "steps", "data", "updates"),
    "any": ("flops", "scale"),
}
INVENTED = 1 / 4
"""Share of names that no list holds: half of them random letters, half known words in
another order.
"""
WORDS = (
    "learning",
    "rate",
    "batch",
    "size",
    "weight",
    "decay",
    "model",
    "params",
    "tokens",
    "steps",
    "effective",
    "total",
    "max",
    "min",
    "num",
    "init",
    "final",
    "peak",
    "base",
    "hidden",
    "layers",
    "heads",
    "width",
    "depth",
    "lora",
    "rank",
    "alpha",
    "beta",
    "log",
    "data",
    "train",
    "epochs",
    "ratio",
    "scale",
    "factor",
    "warmup",
    "clip",
    "kl",
    "coef",
    "global",
    "micro",
    "per",
    "device",
    "seq",
    "length",
    "compute",
)
FAMILIES = ("pretraining", "rl_tuning", "finetuning", "architecture")


def invented(rng: np.random.Generator) -> str:
    """A name that no list holds, so that a model learns to copy names piece by piece."""
    if rng.random() < 0.5:
        return "_".join(
            rng.choice(WORDS, int(rng.integers(2, 4)), replace=False)
        )
    return "x" + "".join(
        rng.choice(
            list("abcdefghijklmnopqrstuvwxyz_0123456789"),
            int(rng.integers(3, 10)),
        )
    )
