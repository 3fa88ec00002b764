"""Procedurally generated experiments to practise on: never scored, never shown as
results.

The prior, written down (docs/experiments.md says when it was changed, and after what
had been seen):

- 1 to 4 knobs, 1 or 2 fidelity coordinates, 1 to 12 cheap experiments, each at most 0.6
of the target's compute; - bowls with shared curvature (widths of 0.8 to 4 natural
units), ridges (correlated knobs), skew, plateaus far out; one in three has a cliff
behind which runs diverge; widths and cliffs vary a little from experiment to
experiment; - the target's optimum is anywhere in the window, edges included; per octave
of a fidelity coordinate it moves by SLOPES (times a lognormal factor) plus noise where
knob and coordinate have telling names (rates fall with size, batches grow with data),
and by that noise alone elsewhere; the noise's sd is one of SLOPE_SDS; one landscape in
ten does not move at all; - every other path bends: it starts up to three times as steep
and flattens with scale, by a factor e every 1 to 6 octaves; - in one landscape of three
the experiments differ in something that is not stated (a depth, a schedule), which
scatters their optima by half an octave; - one in six has cheap evidence that is
uninformative or reversed; - row noise is 1 to 12 % of median - min; cells are missing,
a third of the targets are checkerboards, one cheap experiment in six has 6 to 15 rows;
one landscape in seven hides all names; one knob and one fidelity coordinate in four has
an invented one; - three in ten are wide: a mixture of 3 to 7 parts, or 5 to 7 knobs of
all scales with 2 to 5 levels; their experiments share a design of 24 to 64
configurations, of which each has three fifths or more, and half of the targets' optima
lie towards the window's middle (where there are five coordinates or more).

Invariant: a landscape is determined by its seed, in any process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autollm.agent.landscape_names import (
    FAMILIES,
    FIDELITY_NAMES,
    INVENTED,
    invented,
)
from autollm.agent.landscape_spaces import (
    draw_design,
    draw_part,
    draw_recorded,
    small_space,
    wide_space,
)
from autollm.core.spaces.knobs import SIMPLEX_UNIT
from autollm.core.spaces.space import Space
from autollm.gym.environments.shortlist import SPOKEN_COORDINATES
from autollm.gym.tables.outcome_table import COLUMNS, Experiment, OutcomeTable
from autollm.gym.tasks.task import Task

SLOPES = {
    ("rate", "model"): -0.5,
    ("rate", "any"): -0.2,
    ("size", "data"): 0.5,
    ("size", "any"): 0.25,
}
"""Mean octaves by which an optimum moves per octave of a fidelity coordinate; others 0.
Rounded signs of what published laws agree on, not any one fit.
"""
SLOPE_SDS = (0.15, 0.3, 0.6)
SLOPE_CHANCES = (0.35, 0.4, 0.25)
SCATTERS, SCATTER_CHANCES = (0.15, 0.5), (2 / 3, 1 / 3)
"""Standard deviations, natural units, of an experiment's optimum around its path."""
WIDE = 0.3
"""Share of landscapes with more coordinates than a configuration is written out for."""
N_CHEAP = (0.05, 0.07, 0.09, 0.1, 0.11, 0.11, 0.1, 0.1, 0.09, 0.08, 0.05, 0.05)
"""Chances of 1, 2, ... cheap experiments."""


@dataclass(frozen=True)
class Landscape:
    """A generated table with one task on its most expensive experiment."""

    table: OutcomeTable
    task: Task


@dataclass(frozen=True)
class _Shape:
    """What the experiments of one landscape share. Arrays are [n_knobs] or, `rotation`,
    [n_knobs, n_knobs].
    """

    curvature: np.ndarray
    rotation: np.ndarray
    skew: np.ndarray
    plateau: float
    cliff: float
    noise: float


def make_landscape(seed: int) -> Landscape:
    """The landscape of a seed."""
    rng = np.random.default_rng([17, seed])
    wide = np.random.default_rng([19, seed]).random() < WIDE
    kinds, space = wide_space(rng) if wide else small_space(rng)
    design = draw_design(rng, space) if wide else None
    coordinates, names = _coordinates(rng)
    n_cheap = int(rng.choice(len(N_CHEAP), p=N_CHEAP)) + 1
    z = _ladder(rng, n_cheap, len(names))
    optima = _optima(rng, space, _slopes(rng, kinds, coordinates), z)
    shape = _shape(rng, len(space))
    recorded = []
    for i in range(len(optima)):
        if design is None:
            points = draw_recorded(rng, space, target=i == n_cheap)
        else:
            points = draw_part(rng, design)
        recorded.append(points)
    parts = []
    for points, optimum in zip(recorded, optima, strict=True):
        parts.append(_rows(rng, points, optimum, shape))
    family = str(rng.choice(FAMILIES))
    experiments = _experiments(seed, family, space, names, z)
    task = _task(rng, seed, [e.experiment_id for e in experiments])
    return Landscape(_table(seed, experiments, parts), task)


def _experiments(
    seed: int, family: str, space: Space, names: list[str], z: np.ndarray
) -> tuple[Experiment, ...]:
    """Experiments of a ladder z [n, n_fidelity], whose coordinates have these names."""
    experiments = []
    for i, octaves in enumerate(z):
        # one by one: powers of a whole array may differ in the last digit
        values = [float(2.0**v) for v in octaves]
        experiments.append(
            Experiment(
                f"generated:{seed}:{i}",
                f"generated {seed}/{i}",
                "generated",
                family,
                dict(zip(names, values, strict=True)),
                float(2.0 ** octaves.sum()),
                "loss",
                "min",
                space,
            )
        )
    return tuple(experiments)


def _task(rng: np.random.Generator, seed: int, ids: list[str]) -> Task:
    """On the most expensive of the experiments."""
    return Task(
        f"generated/{seed}",
        "generated",
        1,
        "train",
        ids[-1],
        tuple(ids[:-1]),
        trials=int(rng.integers(1, 6)),
        masked=bool(rng.random() < 1 / 7),
    )


def _table(
    seed: int,
    experiments: tuple[Experiment, ...],
    parts: list[tuple[np.ndarray, ...]],
) -> OutcomeTable:
    """Rows of all experiments side by side; `latent` is known exactly here."""
    points, objective, latent, diverged = zip(*parts, strict=True)
    sizes = list(map(len, points))
    n = sum(sizes)
    columns = {name: np.ones(n, dtype) for name, dtype in COLUMNS.items()}
    columns["objective"] = np.concatenate(objective)
    columns["latent"] = np.concatenate(latent)
    columns["diverged"] = np.concatenate(diverged)
    flops = [e.compute_flops for e in experiments]
    columns["cost_flops"] = np.repeat(flops, sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return OutcomeTable(
        f"generated-{seed}", experiments, offsets, columns, points
    )


def _coordinates(rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Kinds and names of the fidelity coordinates."""
    pick = rng.random()
    kinds = ["model"]
    if pick < 0.65:
        kinds = ["model", "data"]
    elif pick < 0.75:
        kinds = ["any"]
    elif pick < 0.85:
        kinds = ["data"]
    names = []
    for kind in kinds:
        if rng.random() < INVENTED:
            names.append(invented(rng))
        else:
            names.append(str(rng.choice(FIDELITY_NAMES[kind])))
    return kinds, names


def _slopes(
    rng: np.random.Generator, kinds: list[str], coordinates: list[str]
) -> np.ndarray:
    """Octaves of the optimum per octave of fidelity, [n_fidelity, n_knobs]."""
    mean = np.zeros((len(coordinates), len(kinds)))
    for row, coordinate in enumerate(coordinates):
        mean[row] = [SLOPES.get((kind, coordinate), 0.0) for kind in kinds]
    sd = float(rng.choice(SLOPE_SDS, p=SLOPE_CHANCES))
    factor = np.exp(rng.normal(0, 0.4))
    return (mean * factor + rng.normal(0, sd, mean.shape)) * (
        rng.random() > 0.1
    )


def _ladder(
    rng: np.random.Generator, n_cheap: int, n_fidelity: int
) -> np.ndarray:
    """log2 fidelity, [n_cheap + 1, n_fidelity], cheapest first, the target last."""
    cheap = (
        np.round(
            rng.uniform(0, 1, (n_cheap, n_fidelity))
            * rng.uniform(0.5, 5.0, n_fidelity)
            * 4
        )
        / 4
    )
    ahead = rng.uniform(0.75, 6.0) * rng.dirichlet(np.full(n_fidelity, 0.8))
    cheap = cheap[np.argsort(cheap.sum(axis=1), kind="stable")]
    return np.vstack([cheap, cheap.max(axis=0) + ahead])


def _optima(
    rng: np.random.Generator, space: Space, slopes: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """Optimum of each experiment, [n_experiments, n_knobs], natural units."""
    low, high = space.window
    d = len(space)
    bounds = (0.15, 0.85) if rng.random() < 0.6 else (-0.05, 1.05)
    target = low + rng.uniform(*bounds, d) * (high - low)
    middle = (low + high) / 2
    if space.grid is None:
        target, middle = _mixed(target), _mixed(middle)
    if d > SPOKEN_COORDINATES and rng.random() < 0.5:
        target = (target + middle) / 2
    kind = str(
        rng.choice(
            ["law", "uninformative", "reversed"], p=[5 / 6, 0.1, 1 / 6 - 0.1]
        )
    )
    if kind == "uninformative":
        anywhere = rng.uniform(0, 1, (len(z) - 1, d))
        return np.vstack([low + anywhere * (high - low), target])
    if rng.random() < 0.5:
        z, slopes = _bent(rng, z, slopes)
    moved = (z[:-1] - z[-1]) @ slopes
    scatter = float(rng.choice(SCATTERS, p=SCATTER_CHANCES))
    path = target + (moved if kind == "law" else -moved)
    cheap = path + rng.normal(0, scatter, moved.shape)
    return np.vstack([cheap, target + rng.normal(0, scatter, d)])


def _mixed(point: np.ndarray) -> np.ndarray:
    """A point [n_parts] moved out to where mixtures lie."""
    point = np.maximum(point, 0.0)
    return SIMPLEX_UNIT * point / max(float(np.linalg.norm(point)), 1e-9)


def _bent(
    rng: np.random.Generator, z: np.ndarray, slopes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fidelity [n, n_fidelity] in octaves that count, fewer and fewer towards the
    expensive end, and the slopes at the cheap end.
    """
    reach = np.exp(rng.uniform(0, np.log(6.0), z.shape[1]))
    octaves = reach * (1 - np.exp(-(z - z.min(axis=0)) / reach))
    return octaves, slopes * rng.uniform(1.0, 3.0)


def _shape(rng: np.random.Generator, d: int) -> _Shape:
    rotation = np.eye(d)
    if d > 1 and rng.random() < 0.7:
        rotation = rotation + np.triu(rng.normal(0, 0.4, (d, d)), 1)
    cliff = float(rng.uniform(1.0, 5.0)) if rng.random() < 1 / 3 else np.inf
    return _Shape(
        1 / np.exp(rng.uniform(np.log(0.8), np.log(4.0), d)) ** 2,
        rotation,
        rng.uniform(-0.5, 0.5, d),
        float(rng.uniform(3, 30)),
        cliff,
        float(rng.uniform(0.01, 0.12)),
    )


def _rows(
    rng: np.random.Generator,
    points: np.ndarray,
    optimum: np.ndarray,
    shape: _Shape,
) -> tuple[np.ndarray, ...]:
    """Points [n, d], observed loss, latent loss and diverged [n] of one experiment."""
    offset = (points - optimum) @ shape.rotation
    u = (
        np.where(offset * shape.skew > 0, 1 + np.abs(shape.skew), 1.0)
        * offset**2
    ) @ shape.curvature
    u = u * np.exp(rng.normal(0, 0.2))
    u = u / (1 + u / shape.plateau)
    diverged = offset[:, 0] > shape.cliff + rng.normal(0, 0.3)
    latent = np.where(diverged, u.max() + 3, u)
    observed = latent + shape.noise * max(
        float(np.median(u) - u.min()), 1e-3
    ) * rng.normal(size=len(u))
    level, scale = rng.uniform(1, 5), rng.uniform(0.05, 0.5)
    return points, level + scale * observed, level + scale * latent, diverged
