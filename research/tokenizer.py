"""The tokenizer and chat template of models that are built here from scratch.

Byte-level BPE, so any knob name can be written; every quarter number that the gym says,
every count, known quoted names and the boilerplate of a call are one token each. The
template renders the tools that it is handed as their names; hub models keep their own
tokenizer and template. Built once by `python -m research.pretrain`, shipped with
the base checkpoint.

Invariant: decode(encode(text)) == text for any text.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from autollm.agent.landscape_names import FAMILIES, FIDELITY_NAMES, KNOB_NAMES
from autollm.agent.practice import N_NUMBERS
from autollm.agent.transcript import END, TOOLS
from autollm.gym.environments.text import LIMIT, QUARTERS, numbers

VOCABULARY = 1024
PAD = "<|pad|>"
ROLES = ("<|user|>", "<|assistant|>", "<|tool|>", "<|tools|>")
RUN_OPEN = (
    '<tool_call>{"name": "run_experiment", "arguments": '
    '{"experiment": "target", "configuration": {'
)
SUBMIT_OPEN = '<tool_call>{"name": "submit", "arguments": {"configuration": {'
CALL_CLOSE = "}}}</tool_call>"
PATTERN = (
    r'"[A-Za-z0-9_]+"| ?-?\d+\.\d+| ?[A-Za-z0-9_]+|[^\sA-Za-z0-9_"]+ ?(?=")'
    r'| ?[^\sA-Za-z0-9_"]+|"|\s+'
)
"""A quoted name is a piece of its own, so that a known one is the same single token in
the prompt and in a call.
"""

CHAT_TEMPLATE = """\
{%- macro calls(message) %}
{%- for call in message.tool_calls or [] %}{% set function = call.function or call -%}
<tool_call>{"name": "{{ function.name }}", "arguments": \
{% if function.arguments is string %}{{ function.arguments }}\
{% else %}{{ function.arguments | tojson }}{% endif %}}</tool_call>
{%- endfor %}
{%- endmacro %}
{%- if tools %}<|tools|>{% for tool in tools %} \
{{ (tool.function or tool).name }}{% endfor %}{% endif %}
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{%- if message.given %}<|assistant|>{{ message.content }}{{ calls(message) }}<|im_end|>
{%- else %}<|assistant|>{% generation %}\
{{ message.content }}{{ calls(message) }}<|im_end|>{% endgeneration %}
{%- endif %}
{%- elif message.role == 'tool' %}<|tool|>{{ message.content }}<|im_end|>
{%- else %}<|user|>{{ message.content }}<|im_end|>
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}"""
"""`given` turns carry no loss. Prefix-preserving, with generation marks: one template
for SFT, GRPO and serving.
"""

RESPONSE_TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {
        "tool_calls": {
            "open": "<tool_call>",
            "close_pattern": r"</tool_call>\s*",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close_pattern": r"<\|im_end\|>\s*", "content": "text"},
    },
}
"""How transformers (and so TRL) read a turn back into a message; transcript.parse_turn
reads the same.
"""


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train on rendered transcripts. Deterministic for equal texts."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            split,
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    boilerplate = [RUN_OPEN, SUBMIT_OPEN, CALL_CLOSE]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(boilerplate),
        special_tokens=[PAD, END, *ROLES],
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator([*_always(), *texts], trainer)
    tokenizer.add_tokens(
        [AddedToken(text, normalized=False) for text in boilerplate]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        extra_special_tokens=list(ROLES),
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.response_template = RESPONSE_TEMPLATE
    return fast


def quarter_ids(tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """Token ids of the quarter numbers (with their leading space), ascending from
    -LIMIT, int64 [n_quarters].
    """
    return np.array(
        [
            tokenizer.encode(f" {text}", add_special_tokens=False)[0]
            for text in _quarters()
        ]
    )


def value_ids(tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """Token ids of what a model chooses between (autollm/agent/practice.py): the quarter numbers,
    then the numbers of candidates from 0.
    """
    numbered = [
        tokenizer.encode(f" {n}", add_special_tokens=False)[0]
        for n in range(N_NUMBERS)
    ]
    return np.concatenate([quarter_ids(tokenizer), numbered])


def _quarters() -> list[str]:
    n = int(LIMIT * QUARTERS)
    return [numbers(np.array(q / QUARTERS)) for q in range(-n, n + 1)]


def _always() -> list[str]:
    """Text that makes numbers, counts and known names whole tokens, however rare they
    are in the transcripts.
    """
    known = [
        name
        for group in (
            *KNOB_NAMES.values(),
            ("k1", "k2", "k3", "k4"),
            ("candidate",),
        )
        for name in group
    ]
    coordinates = [
        name
        for group in (*FIDELITY_NAMES.values(), ("f1", "f2", "f3"))
        for name in group
    ]
    words = [
        *_quarters(),
        *(str(n) for n in range(100)),
        *TOOLS,
        *coordinates,
        "surface",
        "candidate",
        "centre",
    ]
    return [
        " ".join(["", *words]),
        " ".join(f'"{name}"' for name in known),
        " ".join(FAMILIES),
        "\n".join([*FAMILIES, "surface"]),
    ] * 3000
