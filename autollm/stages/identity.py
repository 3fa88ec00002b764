"""Identity of a training: equal identities mean equal work, which is then skipped. No
torch is imported for it.

Parts: the stage's own part of the resolved configuration, the checkpoint it starts
from, the snapshot, the seed, the versions of torch and trl, and the code of agent/ and
gym/. Invariant: whatever could change the weights changes the identity.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import autollm
from autollm.agent.profiles import TrainConfig
from autollm.core.records import canonical_json, content_hash

PACKAGE = Path(autollm.__file__).parent
PARTS_OF = {
    "trajectories": ("sft",),
    "sft": ("sft",),
    "sft-rl": ("sft", "grpo"),
    "rl": ("grpo",),
}
"""Sections of a configuration that a stage depends on; those that all depend on are
kept anyway.
"""
SECTIONS = ("sft", "grpo", "generation")


def identity(stage: str, config: TrainConfig, table_id: str, base_digest: str) -> str:
    """16 hex digits that name the work of one stage."""
    parts: dict[str, Any] = {
        "stage": stage,
        "config": resolved(stage, config),
        "base": base_digest,
        "table_id": table_id,
        "torch": version("torch"),
        "trl": version("trl"),
        "code": code_digest(),
    }
    return content_hash(canonical_json(parts, digits=9))


def resolved(stage: str, config: TrainConfig) -> dict[str, Any]:
    """The part of a configuration that decides a stage's outcome (its seed included)."""
    left_out = set(SECTIONS) - set(PARTS_OF[stage])
    return {
        k: v for k, v in config.model_dump(mode="json").items() if k not in left_out
    }


@cache
def code_digest() -> str:
    """16 hex digits over the code of agent/, core/ and gym/."""
    digest = hashlib.sha256()
    for part in ("agent", "core", "gym"):
        for path in sorted((PACKAGE / part).rglob("*.py")):
            digest.update(
                path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes()
            )
    return digest.hexdigest()[:16]


def folder_digest(folder: str | Path) -> str:
    """16 hex digits over weights, configuration, tokenizer and metadata of a
    checkpoint; of the name alone for a hub id.
    """
    digest = hashlib.sha256()
    names = ("config.json", "tokenizer.json", "autollm.json")
    files = sorted(
        p
        for p in Path(folder).glob("*")
        if p.suffix == ".safetensors" or p.name in names
    )
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return (digest if files else hashlib.sha256(str(folder).encode())).hexdigest()[:16]
