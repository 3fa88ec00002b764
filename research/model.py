"""Models that are built here from scratch: a small decoder of a standard architecture
(Qwen3), for any tokenizer.

Invariant: equal profile and seed give equal weights.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from autollm.agent.profiles import Architecture


def build_model(
    architecture: Architecture,
    tokenizer: PreTrainedTokenizerFast,
    seed: int = 0,
) -> Qwen3ForCausalLM:
    """Fresh float32 weights."""
    config = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=architecture.width,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.kv_heads,
        head_dim=architecture.width // architecture.heads,
        intermediate_size=architecture.mlp_width,
        max_position_embeddings=architecture.max_tokens,
        tie_word_embeddings=True,
        use_cache=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(config)
    torch.random.set_rng_state(generator_state)
    return model


def n_parameters(model: torch.nn.Module) -> int:
    """Distinct parameters (tied ones once)."""
    return sum(p.numel() for p in model.parameters())
