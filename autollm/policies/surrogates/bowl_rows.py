"""The evidence of a view as one table of rows, as the bowl is fitted to them.

Invariant: a row weighs by how near its experiment lies, and never by its own loss.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from autollm.gym.tables.squashing import log_above_one, squash
from autollm.gym.tasks.view import TaskView

FAR = 1.6
"""Rows with a larger u lie on the cliff, which is no part of a bowl."""
DROP_FAR = 0.7
"""Share of those rows that a fit leaves out."""
MAX_ROWS = 4000
"""Rows that a fit uses at most, drawn at random."""
REACH = 1.5
"""Octaves of fidelity, see Rows.nearness."""
FEW_ROWS = 6
"""An experiment of fewer rows borrows the unit of its losses, median - best, from the
nearest one that has as many: its own best row need not be good, ..."""
FREE_FLOOR_SD = 3.0
"""... so that its floor is free; one run alone then says nothing of where the optimum
lies, two say on which side."""
FLOOR_SD = 0.3
"""Prior standard deviation of an experiment's floor that has enough rows."""


@dataclass(frozen=True)
class Rows:
    """Evidence rows side by side. x [n, d], z [n, f], u [n], c [n] (experiment number),
    n_experiments; few, narrow: numbers of those that borrow their unit, and of those
    that held a knob which others tried.
    """

    x: np.ndarray
    z: np.ndarray
    u: np.ndarray
    c: np.ndarray
    n_experiments: int
    few: tuple[int, ...] = ()
    narrow: tuple[int, ...] = ()

    def without(self, experiment: int) -> Rows:
        return self.at(self.c != experiment)

    def only(self, experiment: int) -> Rows:
        return self.at(self.c == experiment)

    def at(self, keep: np.ndarray) -> Rows:
        """Rows by number, or by a mask."""
        return replace(
            self,
            x=self.x[keep],
            z=self.z[keep],
            u=self.u[keep],
            c=self.c[keep],
        )

    @cached_property
    def nearness(self) -> np.ndarray:
        """Weight [n] of each row's experiment: 1 for the nearest to the target that has
        enough rows of all knobs (and for nearer ones), one half where it lies REACH
        further away.

        Laws bend over many octaves; what is near says more about the slope at the
        target.
        """
        distance = np.linalg.norm(self.z, axis=1)
        whole = ~np.isin(self.c, (*self.few, *self.narrow))
        nearest = distance[whole].min(initial=np.inf)
        further = np.maximum(distance - nearest, 0.0)
        return 1 / (1 + (further / REACH) ** 2)

    @property
    def floor_sd(self) -> np.ndarray:
        """Prior sd of every experiment's floor [n_experiments]."""
        sd = np.full(self.n_experiments, FLOOR_SD)
        sd[list(self.few)] = FREE_FLOOR_SD
        return sd


def gather_rows(view: TaskView, rng: np.random.Generator) -> Rows:
    """The evidence as one table of at most MAX_ROWS rows; most rows on the cliff are
    left out at random.
    """
    d = len(view.space)
    f = len(view.target_z)
    parts: list[tuple[np.ndarray, ...]] = [
        (
            np.empty((0, d)),
            np.empty((0, f)),
            np.empty(0),
            np.empty(0, dtype=int),
        )
    ]
    few = _few(view)
    for c, e in enumerate(view.evidence):
        u = _borrowed(view, c, few) if c in few else squash(e.loss)
        keep = (u <= FAR) | (rng.random(len(u)) >= DROP_FAR)
        n = int(keep.sum())
        parts.append(
            (
                e.points[keep],
                np.tile(e.z - view.target_z, (n, 1)),
                u[keep],
                np.full(n, c),
            )
        )
    x, z, u, c = (np.concatenate(column) for column in zip(*parts, strict=True))
    rows = Rows(x, z, u, c, len(view.evidence), few, _narrow(view, few))
    if len(u) <= MAX_ROWS:
        return rows
    return rows.at(np.sort(rng.permutation(len(u))[:MAX_ROWS]))


def _few(view: TaskView) -> tuple[int, ...]:
    """Numbers of the experiments that have few rows; none if all of them do."""
    sizes = [len(e.loss) for e in view.evidence]
    few = tuple(c for c, size in enumerate(sizes) if size < FEW_ROWS)
    return few if len(few) < len(sizes) else ()


def _narrow(view: TaskView, few: tuple[int, ...]) -> tuple[int, ...]:
    """Numbers of the experiments with one value of a coordinate of which others tried
    several: how near they are says nothing of it. None if all others have few rows.
    """
    spans = [np.ptp(e.points, axis=0) > 0 for e in view.evidence]
    tried = np.any(spans, axis=0) if spans else np.empty(0)
    found = tuple(c for c, span in enumerate(spans) if np.any(tried & ~span))
    is_all = len({*found, *few}) == len(spans)
    return () if is_all else found


def _borrowed(view: TaskView, c: int, few: tuple[int, ...]) -> np.ndarray:
    """u of experiment `c` in the unit of the nearest experiment that is not of `few`."""
    here = view.evidence[c]
    others = [e for i, e in enumerate(view.evidence) if i not in few]
    away = [float(np.linalg.norm(e.z - here.z)) for e in others]
    nearest = others[int(np.argmin(away))].loss
    unit = float(np.median(nearest) - np.min(nearest))
    if unit <= 0:
        return np.zeros_like(here.loss)
    return log_above_one((here.loss - np.min(here.loss)) / unit)
