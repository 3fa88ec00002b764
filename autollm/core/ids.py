"""Ids that name things by their content: one function each, everywhere."""

from __future__ import annotations

from typing import Any, NamedTuple

from autollm.core.records import canonical_json, content_hash


def config_id(config: dict[str, Any]) -> str:
    """First 16 hex digits of the sha256 of the canonical JSON: equal configurations
    have equal ids.
    """
    return content_hash(canonical_json(config))


class Origin(NamedTuple):
    """What outcomes may be compared within: a mapping's source, and the group where its
    table holds several such sets (empty: it does not).
    """

    source: str
    group: str = ""

    @property
    def name(self) -> str:
        """`source/group`, for people and for ids. It is never taken apart again."""
        return f"{self.source}/{self.group}" if self.group else self.source


def experiment_id(
    origin: Origin, fidelity: dict[str, float], context_json: str = ""
) -> str:
    """`<name of the origin>:<8 hex>` of the canonical fidelity.

    `context_json`, canonical JSON of what outcomes must share to be compared
    (optimizer, schedule, tokenizer ...), is appended before hashing; empty where nothing
    is known.
    """
    digest = content_hash(canonical_json(fidelity) + context_json, 8)
    return f"{origin.name}:{digest}"


def player_name(policy_id: str, training: int) -> str:
    """A policy's id, with the number of its training where there are several."""
    return f"{policy_id}#{training}" if training else policy_id
