"""Which size and how many tokens the target's compute is best spent on.

Along equal compute C = 6 N D, parameters times 2^t go with tokens times 2^-t:

    loss(t) = E + A 2^(-a t) + B 2^(b t),   lowest at t = log2(a A / (b B)) / (a + b)

with A, B the law's terms at the target and a, b its exponents. The interval comes from
draws of all of them. Invariant: no allocation without a term each. Source: J. Hoffmann
et al. (2022), equation 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autollm.advisor.asking.question import Question, flops_per_product
from autollm.advisor.statistics.loss_law import LossLaw

LEVEL = 0.9
WASTE = 0.01
"""Of compute, that a flat range may cost."""
FARTHEST = 12.0
"""Octaves of a split that are looked at on either side."""


@dataclass(frozen=True)
class Split:
    """By coordinate (mean, low, high); `flat_within`: parameters may be that factor off,
    either way, for WASTE of the compute; `octaves`: mean, low and high of t.
    """

    params: tuple[float, float, float]
    tokens: tuple[float, float, float]
    flat_within: float
    octaves: tuple[float, float, float]


def split_of(question: Question, law: LossLaw | None) -> Split | None:
    """The best split of the target's compute; None where the law has no term each, or
    compute is not proportional to parameters times tokens.
    """
    experiments = [question.table.experiments[e] for e in question.levels]
    is_product = flops_per_product(experiments) is not None
    if law is None or law.draws is None or not is_product:
        return None
    order = [list(law.names).index(name) for name in ("params", "tokens")]
    a, b = law.draws.exponents[:, order].T
    terms = law.draws.coefficients[:, 1:][:, order]
    t = np.log2(a * terms[:, 0] / (b * terms[:, 1])) / (a + b)
    t = np.clip(t, -FARTHEST, FARTHEST)
    tails = np.quantile(t, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = (float(v) for v in tails)
    middle = float(np.median(t))
    params, tokens = (question.fidelity[name] for name in ("params", "tokens"))
    return Split(
        (params * 2.0**middle, params * 2.0**low, params * 2.0**high),
        (tokens * 2.0**-middle, tokens * 2.0**-high, tokens * 2.0**-low),
        _flat_within(a, b, terms),
        (middle, low, high),
    )


def _flat_within(a: np.ndarray, b: np.ndarray, terms: np.ndarray) -> float:
    """Factor of parameters, of the mean loss over draws: the smaller of both sides, up
    to where the same loss would take 1 + WASTE of the compute.
    """
    t = np.linspace(-FARTHEST, FARTHEST, 2401)
    upper = terms[:, :1]
    lower = terms[:, 1:]
    loss = upper * np.exp2(-a[:, None] * t) + lower * np.exp2(b[:, None] * t)
    mean = loss.mean(axis=0)
    best = int(np.argmin(mean))
    more = np.log2(1 + WASTE) / 2  # octaves of both coordinates
    bought = upper[:, 0] * 2.0 ** (-a * (t[best] + more))
    bought = bought + lower[:, 0] * 2.0 ** (b * (t[best] - more))
    allowed = 2 * mean[best] - bought.mean()
    flat = np.flatnonzero(mean <= allowed)
    return float(2.0 ** min(t[best] - t[flat[0]], t[flat[-1]] - t[best]))
