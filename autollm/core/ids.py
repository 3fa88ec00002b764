"""Ids that name things by their content: one function each, everywhere."""

from __future__ import annotations

from typing import Any

from autollm.core.records import canonical_json, content_hash


def config_id(config: dict[str, Any]) -> str:
    """First 16 hex digits of the sha256 of the canonical JSON: equal configurations
    have equal ids.
    """
    return content_hash(canonical_json(config))


def source_name(source: str, group: str) -> str:
    """What outcomes may be compared within: a mapping's source, with the group where its
    table holds several such sets.
    """
    return f"{source}/{group}" if group else source


def experiment_id(
    source: str, fidelity: dict[str, float], context_json: str = ""
) -> str:
    """`<source>:<8 hex>` of the canonical fidelity; `source` as `source_name` gives it.

    `context_json`, canonical JSON of what outcomes must share to be compared
    (optimizer, schedule, tokenizer ...), is appended before hashing; empty where nothing
    is known.
    """
    return (
        f"{source}:{content_hash(canonical_json(fidelity) + context_json, 8)}"
    )


def player_name(policy_id: str, training: int) -> str:
    """A policy's id, with the number of its training where there are several."""
    return f"{policy_id}#{training}" if training else policy_id
