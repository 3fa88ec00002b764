"""Words of numbers as people write them: what stands for nothing, powers, units, nouns."""

from __future__ import annotations

import math

_DASHES = ("-", "--", "–", "—")
_WORDS = (
    "none",
    "null",
    "nil",
    "na",
    "n/a",
    "n.a.",
    "n.a",
    "tba",
    "tbd",
    "<na>",
    "#n/a",
    "undefined",
    "missing",
)
NOTHING = frozenset(("", "(empty)", *_DASHES, *_WORDS))
"""Spellings, in lower case, of a value that is not there."""
NOT_FINITE = {
    "nan": math.nan,
    "inf": math.inf,
    "infinity": math.inf,
    "∞": math.inf,
    "1.#inf": math.inf,
    "1.#qnan": math.nan,
    "1.#ind": math.nan,
    "nan(ind)": math.nan,
}
"""Numbers without a value, by their spellings."""
POWERS = {
    "k": 1e3,
    "m": 1e6,
    "b": 1e9,
    "bn": 1e9,
    "g": 1e9,
    "t": 1e12,
    "p": 1e15,
    "mm": 1e6,
    "mio": 1e6,
    "mrd": 1e9,
    "mn": 1e6,
    "mil": 1e6,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
    "thousand": 1e3,
}
"""Letters and words behind a number."""
BINARY_POWERS = {"ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30, "ti": 2.0**40}
SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "msec": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "secs": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "min": 60.0,
    "mins": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hrs": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "days": 86400.0,
}
"""Of a unit of time."""
NOUNS = {
    "tokens": "tokens",
    "token": "tokens",
    "tok": "tokens",
    "toks": "tokens",
    "params": "params",
    "param": "params",
    "parameters": "params",
    "parameter": "params",
    "steps": "steps",
    "step": "steps",
    "iters": "steps",
    "iterations": "steps",
    "epochs": "epochs",
    "epoch": "epochs",
    "flops": "flops",
    "flop": "flops",
    "bytes": "bytes",
    "byte": "bytes",
    "samples": "samples",
    "examples": "samples",
    "sequences": "samples",
    "seqs": "samples",
    "nats": "nats",
    "nat": "nats",
    "bits": "bits",
    "ppl": "ppl",
}
"""What is counted, by its spellings."""
