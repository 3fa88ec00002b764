"""Practice examples as arrays of fixed shapes, for pre-training: tokens, where the loss
is, and the teacher's distributions.

Examples of a chunk are sorted by length and padded to multiples of PAD_TO: a new shape
in every batch makes the CPU kernels compile anew. Invariant: a chunk is determined by
its index and the tokenizer.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerFast

from autollm.agent.transcript import TOOLS
from research.practice import Example, practice_example
from research.tokenizer import CALL_CLOSE, RUN_OPEN, value_ids

PAD_TO = 64
MAX_TOKENS = 512
"""Longer examples (about one in a thousand) are left out."""
CHUNK = 256
TOOL_STUBS = [
    {"type": "function", "function": {"name": name}} for name in TOOLS
]
"""The scratch template renders names alone, so these stand for the whole schemas."""


@dataclass(frozen=True)
class Batch:
    """Padded on the right. Positions index the flattened [n, length] tokens and name
    the *predicted* token.

    Attributes:
        tokens: int64 [n, length]. text: int64 [a], positions with ordinary loss.
        values: int64 [b], positions of values; targets: float32 [b, n_values];
            importance: float32 [b].
    """

    tokens: np.ndarray
    text: np.ndarray
    values: np.ndarray
    targets: np.ndarray
    importance: np.ndarray


class Encoder:
    """Examples to token arrays."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        self.tokenizer = tokenizer
        self.is_value = np.zeros(len(tokenizer), dtype=bool)
        self.is_value[value_ids(tokenizer)] = True
        marks = (
            RUN_OPEN,
            CALL_CLOSE,
            "<|assistant|>",
            tokenizer.eos_token,
            tokenizer.pad_token,
        )
        self.open, self.close, self.assistant, self.end, self.pad = (
            tokenizer.convert_tokens_to_ids(list(marks))
        )

    def encode(
        self, example: Example
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(tokens, positions of text with loss, positions of values in the order of the
        example's decisions).
        """
        text = self.tokenizer.apply_chat_template(
            example.messages, tools=TOOL_STUBS, tokenize=False
        )
        tokens = np.array(
            self.tokenizer(text, add_special_tokens=False)["input_ids"]
        )
        said = _between(
            tokens == self.assistant, tokens == self.end, inclusive=True
        )
        called = _between(
            tokens == self.open, tokens == self.close, inclusive=False
        )
        values = np.flatnonzero(called & self.is_value[tokens])
        said[values] = False
        return tokens, np.flatnonzero(said), values

    def chunk(self, index: int, batch_size: int) -> list[Batch]:
        """Batches of CHUNK seeds, in an order drawn from the index."""
        examples = [practice_example(index * CHUNK + i) for i in range(CHUNK)]
        encoded = [(*self.encode(e), e) for e in examples]
        encoded = sorted(
            (e for e in encoded if len(e[0]) <= MAX_TOKENS),
            key=lambda e: len(e[0]),
        )
        batches = [
            self._batch(encoded[i : i + batch_size])
            for i in range(0, len(encoded), batch_size)
        ]
        order = np.random.default_rng([29, index]).permutation(len(batches))
        return [batches[i] for i in order]

    def _batch(
        self, encoded: list[tuple[np.ndarray, np.ndarray, np.ndarray, Example]]
    ) -> Batch:
        length = -(-max(len(e[0]) for e in encoded) // PAD_TO) * PAD_TO
        tokens = np.full((len(encoded), length), self.pad, dtype=np.int64)
        for row, (ids, *_) in zip(tokens, encoded, strict=True):
            row[: len(ids)] = ids
        text = np.concatenate(
            [e[1] + i * length for i, e in enumerate(encoded)]
        )
        values = np.concatenate(
            [e[2] + i * length for i, e in enumerate(encoded)]
        )
        targets = np.concatenate(
            [np.concatenate(e[3].decisions) for e in encoded]
        )
        weight = [
            np.repeat(e[3].importance, e[3].decisions[0].shape[0])
            for e in encoded
        ]
        return Batch(
            tokens,
            text,
            values,
            targets,
            np.concatenate(weight).astype(np.float32),
        )


def _between(
    opens: np.ndarray, closes: np.ndarray, inclusive: bool
) -> np.ndarray:
    """Positions after an opening token and before (or on) the closing one that follows
    it.
    """
    inside, out = False, np.zeros(len(opens), dtype=bool)
    for i, (a, b) in enumerate(zip(opens, closes, strict=True)):
        out[i] = inside and (inclusive or not b)
        inside = (inside or a) and not b
    return out


def stream(
    tokenizer: PreTrainedTokenizerFast,
    first_chunk: int,
    batch_size: int,
    n_workers: int = 1,
) -> Iterator[tuple[int, list[Batch]]]:
    """(index, batches) of chunk after chunk, made ahead by `n_workers` processes; 0
    makes them in this one.
    """
    if n_workers == 0:
        encoder = Encoder(tokenizer)
        for index in itertools.count(first_chunk):
            yield index, encoder.chunk(index, batch_size)
    with multiprocessing.get_context("spawn").Pool(
        n_workers, _begin_worker, (tokenizer, batch_size)
    ) as pool:
        ahead = [
            (i, pool.apply_async(_make_chunk, (i,)))
            for i in range(first_chunk, first_chunk + 4 * n_workers)
        ]
        for index in itertools.count(first_chunk + len(ahead)):
            done, result = ahead.pop(0)
            yield done, result.get()
            ahead.append((index, pool.apply_async(_make_chunk, (index,))))


_worker: tuple[Encoder, int] | None = None


def _begin_worker(tokenizer: PreTrainedTokenizerFast, batch_size: int) -> None:
    global _worker
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _worker = Encoder(tokenizer), batch_size


def _make_chunk(index: int) -> list[Batch]:
    encoder, batch_size = _worker
    return encoder.chunk(index, batch_size)
