"""What is known of the loss that no scale gets below, by evaluation set: where the runs'
prior of E comes from.

Nats a token, which hang on the tokenizer, too: hence the width. Sets without a
published fit take a share of the lowest loss (loss_law.FLOOR_SHARE). Invariant: a set
is recognized by its name as a word, never guessed from losses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

FLOORS = {
    "c4": 1.87,  # N. Muennighoff et al., arXiv 2305.16264
    "massivetext": 1.82,  # T. Besiroglu et al., arXiv 2404.10102, of Chinchilla's data
}
FLOOR_SD = 0.2
"""Nats: Chinchilla's own fit of the same data said 1.69, and tokenizers differ."""


def floor_of(
    context: Mapping[str, str], objective: str
) -> tuple[float, float] | None:
    """Mean and sd of E of the evaluation set that a context or the objective names; None
    where it is not known, or the loss is no nats a token (bits, perplexity).
    """
    if re.search(r"ppl|perplexity|bpb|bits", objective.lower()):
        return None
    texts = [objective, *context.values()]
    words = {
        w for text in texts for w in re.findall(r"[a-z0-9]+", text.lower())
    }
    known = sorted(words & FLOORS.keys())
    return (FLOORS[known[0]], FLOOR_SD) if len(known) == 1 else None
