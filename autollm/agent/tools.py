"""The schema of the text view's tools, generated from the very methods that TRL hands
to a chat template.

SFT data, GRPO prompts and servers must carry the same schema: with another one, a
trained model calls nothing. Invariant: equal to what GRPOTrainer renders for
`environment_factory=TextEnv`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from transformers.utils import get_json_schema

from autollm.gym.environments.text import tools


@cache
def tool_schemas() -> tuple[dict[str, Any], ...]:
    """JSON schemas of the tools, in the order in which TRL lists them."""
    return tuple(map(get_json_schema, tools().values()))
