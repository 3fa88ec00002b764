"""The small checkpoints of the agent's tests."""

from tests.unit.agent.conftest import (  # noqa: F401
    generated_table,
    random_base,
    small_config,
    tokenizer,
)
