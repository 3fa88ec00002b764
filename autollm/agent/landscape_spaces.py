"""Spaces of generated landscapes, and which of their configurations an experiment has
rows for.

Invariant: what is drawn, and in which order, decides every landscape of a seed.
"""

from __future__ import annotations

import itertools

import numpy as np

from autollm.agent.landscape_names import INVENTED, KNOB_NAMES, invented
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space

LEVELS = {1: (5, 14), 2: (5, 14), 3: (4, 7), 4: (3, 5)}
"""Number of levels per knob, by the number of knobs."""
MAX_CELLS = 3000
"""Most cells of a wide grid."""
SCALES = ["log", "ordinal", "linear", "categorical"]
SCALE_CHANCES = [0.5, 0.25, 0.15, 0.1]
"""Scales of a wide landscape's knobs, and how often each is drawn."""


def small_space(rng: np.random.Generator) -> tuple[list[str], Space]:
    """Kinds of the knobs, and the space: grids in half or whole octaves."""
    d = int(rng.choice([1, 2, 3, 4], p=[0.08, 0.66, 0.2, 0.06]))
    kinds = ["rate", "size"]
    if d != 2 or rng.random() < 0.5:
        drawn = rng.permutation(["rate", "size", "other", "other"])
        kinds = drawn[:d].tolist()
    names: list[str] = []
    for kind in kinds:
        free = [n for n in KNOB_NAMES[kind] if n not in names]
        if rng.random() < INVENTED:
            names.append(invented(rng))
        else:
            names.append(free[int(rng.integers(len(free)))])
    knobs = []
    for name in names:
        step = float(rng.choice([0.5, 1.0]))
        low = float(rng.integers(-14, 8))
        levels = 2.0 ** (low + step * np.arange(int(rng.integers(*LEVELS[d]))))
        knobs.append(Knob(name, "log", tuple(levels.tolist()), step=step))
    return kinds, Space(tuple(knobs))


def wide_space(rng: np.random.Generator) -> tuple[list[str], Space]:
    """Kinds of the coordinates, and a space whose configurations have numbers: a
    mixture, or many knobs.
    """
    names = _wide_names(rng)
    if rng.random() < 0.4:
        parts = tuple(names[: int(rng.integers(3, 8))])
        knob = Knob(names[-1], "simplex", parts)
        return ["other"] * knob.width, Space((knob,))
    knobs: list[Knob] = []
    kinds: list[str] = []
    cells = 1
    for name in names[: int(rng.integers(5, 8))]:
        n = int(min(rng.integers(2, 6), max(2, MAX_CELLS // (cells * 2))))
        cells *= n
        scale = str(rng.choice(SCALES, p=SCALE_CHANCES))
        knob = _wide_knob(rng, name, scale, n)
        kind = "other"
        if scale == "log":
            kind = str(rng.choice(["rate", "size", "other"]))
        kinds += [kind] * knob.width
        knobs.append(knob)
    return kinds, Space(tuple(knobs))


def _wide_names(rng: np.random.Generator) -> list[str]:
    """Up to eight names, some of them invented."""
    known = rng.permutation(list(itertools.chain(*KNOB_NAMES.values())))
    names = []
    for name in known[:12]:
        is_invented = rng.random() < INVENTED
        names.append(invented(rng) if is_invented else str(name))
    return list(dict.fromkeys(names))[:8]


def _wide_knob(rng: np.random.Generator, name: str, scale: str, n: int) -> Knob:
    if scale == "categorical":
        return Knob(name, scale, tuple("abcde"[:n]))
    if scale == "log":
        levels = 2.0 ** (float(rng.integers(-14, 8)) + np.arange(n))
        return Knob(name, scale, tuple(levels.tolist()), step=1.0)
    steps = tuple(np.arange(1.0, n + 1).tolist())
    return Knob(name, scale, steps, step=1.0 if scale == "linear" else 0.0)


def draw_design(rng: np.random.Generator, space: Space) -> np.ndarray:
    """Configurations that the experiments of a wide landscape share, [n,
    n_coordinates].
    """
    n = int(rng.integers(24, 65))
    if space.grid is not None:
        n_cells = len(space.grid)
        return space.grid[rng.choice(n_cells, min(n, n_cells), replace=False)]
    mixture = space.knobs[0]
    evenness = np.full(len(mixture.levels), float(rng.uniform(0.5, 2.0)))
    points = []
    for shares in rng.dirichlet(evenness, n).tolist():
        configuration = dict(zip(mixture.levels, shares, strict=True))
        points.append(space.encode({mixture.name: configuration}))
    return np.array(points)


def draw_part(rng: np.random.Generator, design: np.ndarray) -> np.ndarray:
    """Three fifths of a design or more."""
    n = int(np.ceil(len(design) * rng.uniform(0.6, 1.0)))
    return design[np.sort(rng.choice(len(design), n, replace=False))]


def draw_recorded(
    rng: np.random.Generator, space: Space, target: bool
) -> np.ndarray:
    """Points of the declared grid that an experiment has rows for, [n, d]."""
    points = space.grid
    n = len(points)
    pick = rng.random()
    if target and pick < 1 / 3:  # a checkerboard
        places = [range(len(knob.levels)) for knob in space.knobs]
        keep = np.array(list(map(sum, itertools.product(*places)))) % 2 == 0
    elif not target and pick < 1 / 6:
        few = min(n, int(rng.integers(6, 16)))
        keep = np.zeros(n, dtype=bool)
        keep[rng.choice(n, few, replace=False)] = True
    else:
        keep = rng.random(n) < rng.uniform(0.5, 1.0)
    return points[keep] if keep.sum() >= 5 else points
