"""Rows of an experiment as the response reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rows:
    """One experiment's evidence: z [f], points [n, d] in natural units, loss [n].

    bounds: stopped runs, as points [m, d], the loss that their ends would not have
    crossed [m], and sides [m]: 1 at least, -1 at most.
    """

    label: str
    z: np.ndarray
    points: np.ndarray
    loss: np.ndarray
    diverged: np.ndarray
    bounds: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None


def common_scale(experiments: Sequence[Rows]) -> float:
    """Loss units of one u: the geometric mean over experiments of median - best; 1
    where all are equal. One unit for all, since an experiment's own median tells where
    its rows lie around its optimum, not how curved its loss is.
    """
    spreads = np.array(
        [float(np.median(e.loss) - np.min(e.loss)) for e in experiments]
    )
    positive = spreads[spreads > 0]
    return float(np.exp(np.log(positive).mean())) if len(positive) else 1.0
