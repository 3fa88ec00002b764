"""Patterns of names; goes with this folder."""

import re

LOWER = re.compile(r"loss|nll|perplex|\bppl|error|\bbpb|bits", re.IGNORECASE)
HIGHER = re.compile(
    r"acc(uracy)?\b|score|reward|\bf1\b|bleu|success|win.?rate", re.IGNORECASE
)
