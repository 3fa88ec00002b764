"""Procedurally generated experiments to practise on: never scored, never shown as
results.

The prior, written down (docs/experiments.md says when it was changed, and after what
had been seen):

- 1 to 4 knobs, 1 or 2 fidelity coordinates, 1 to 12 cheap experiments, each at most 0.6
  of the target's compute;
- bowls with shared curvature (widths of 0.8 to 4 natural units), ridges (correlated
  knobs), skew, plateaus far out; one in
  three has a cliff behind which runs diverge; widths and cliffs vary a little from
  experiment to experiment;
- the target's optimum is anywhere in the window, edges included; per octave of a
  fidelity coordinate it moves by SLOPES (times
  a lognormal factor) plus noise where knob and coordinate have telling names (rates
  fall with size, batches grow with data), and by that noise alone elsewhere; the
  noise's sd is one of SLOPE_SDS; one landscape in ten does not move at all;
- every other path bends: it starts up to three times as steep and flattens with scale,
  by a factor e every 1 to 6 octaves;
- in one landscape of three the experiments differ in something unsaid (a depth, a
  schedule), which scatters their optima by half an octave;
- one in six has cheap evidence that is uninformative or reversed;
- row noise is 1 to 12 % of median - min; cells are missing, a third of the targets are
  checkerboards, one cheap experiment in
  six has 6 to 15 rows; one landscape in seven hides all names; one knob and one
  fidelity coordinate in four has an invented one;
- three in ten are wide: a mixture of 3 to 7 parts, or 5 to 7 knobs of all scales with 2
  to 5 levels; their experiments share a design of
  24 to 64 configurations, of which each has three fifths or more, and half of the
  targets' optima lie towards the window's middle (where there are five coordinates or
  more).

What does not belong here: text, labels. Invariant: a landscape is determined by its
seed, in any process.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from autollm.core.knobs import SIMPLEX_UNIT, Knob
from autollm.core.space import Space
from autollm.gym.environments.shortlist import SPOKEN_COORDINATES
from autollm.gym.tables.outcome_table import COLUMNS, Experiment, OutcomeTable
from autollm.gym.tasks.task import Task

KNOB_NAMES = {
    "rate": ("learning_rate", "lr", "peak_lr", "step_size", "max_lr", "eta"),
    "size": (
        "batch_size",
        "batch_tokens",
        "bs",
        "batch_sequences",
        "global_batch",
        "tokens_per_step",
    ),
    "other": (
        "weight_decay",
        "warmup",
        "beta2",
        "clip_range",
        "kl_coef",
        "temperature",
        "group_size",
        "depth",
        "width",
        "mlp_ratio",
        "dropout",
        "label_smoothing",
        "lora_rank",
        "alpha",
        "gamma",
        "w1",
        "w2",
        "w3",
    ),
}
FIDELITY_NAMES = {
    "model": ("params", "width", "n_params"),
    "data": ("tokens", "steps", "data", "updates"),
    "any": ("flops", "scale"),
}
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
INVENTED = 1 / 4
"""Share of names that no list holds: half of them random letters, half known words in
another order.
"""
WORDS = (
    "learning",
    "rate",
    "batch",
    "size",
    "weight",
    "decay",
    "model",
    "params",
    "tokens",
    "steps",
    "effective",
    "total",
    "max",
    "min",
    "num",
    "init",
    "final",
    "peak",
    "base",
    "hidden",
    "layers",
    "heads",
    "width",
    "depth",
    "lora",
    "rank",
    "alpha",
    "beta",
    "log",
    "data",
    "train",
    "epochs",
    "ratio",
    "scale",
    "factor",
    "warmup",
    "clip",
    "kl",
    "coef",
    "global",
    "micro",
    "per",
    "device",
    "seq",
    "length",
    "compute",
)
N_CHEAP = (0.05, 0.07, 0.09, 0.1, 0.11, 0.11, 0.1, 0.1, 0.09, 0.08, 0.05, 0.05)
"""Chances of 1, 2, ... cheap experiments."""
FAMILIES = ("pretraining", "rl_tuning", "finetuning", "architecture")
LEVELS = {1: (5, 14), 2: (5, 14), 3: (4, 7), 4: (3, 5)}
"""Number of levels per knob, by the number of knobs."""
WIDE = 0.3
"""Share of landscapes with more coordinates than a configuration is written out for."""
MAX_CELLS = 3000
"""Of a wide grid."""


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
    kinds, space = _wide_space(rng) if wide else _space(rng)
    design = _design(rng, space) if wide else None
    coordinates, names = _coordinates(rng)
    n_cheap = int(rng.choice(len(N_CHEAP), p=N_CHEAP)) + 1
    z = _ladder(rng, n_cheap, len(names))
    optima = _optima(rng, space, _slopes(rng, kinds, coordinates), z)
    shape = _shape(rng, len(space))
    recorded = [
        _recorded(rng, space, target=i == n_cheap)
        if design is None
        else _part(rng, design)
        for i in range(len(optima))
    ]
    parts = [
        _rows(rng, points, optimum, shape)
        for points, optimum in zip(recorded, optima, strict=True)
    ]
    family = str(rng.choice(FAMILIES))
    experiments = []
    for i, zi in enumerate(z):
        fidelity = {
            name: float(2.0**v) for name, v in zip(names, zi, strict=True)
        }
        experiments.append(
            Experiment(
                f"generated:{seed}:{i}",
                f"generated {seed}/{i}",
                "generated",
                family,
                fidelity,
                float(2.0 ** zi.sum()),
                "loss",
                "min",
                space,
            )
        )
    ids = [e.experiment_id for e in experiments]
    task = Task(
        f"generated/{seed}",
        "generated",
        1,
        "train",
        ids[-1],
        tuple(ids[:-1]),
        trials=int(rng.integers(1, 6)),
        masked=bool(rng.random() < 1 / 7),
    )
    return Landscape(_table(seed, tuple(experiments), parts), task)


def _table(
    seed: int,
    experiments: tuple[Experiment, ...],
    parts: list[tuple[np.ndarray, ...]],
) -> OutcomeTable:
    """Rows of all experiments side by side; `latent` is known exactly here."""
    sizes = [len(p[0]) for p in parts]
    columns = {
        name: np.ones(sum(sizes), dtype) for name, dtype in COLUMNS.items()
    }
    for name, index in (("objective", 1), ("latent", 2), ("diverged", 3)):
        columns[name] = np.concatenate([p[index] for p in parts])
    columns["cost_flops"] = np.repeat(
        [e.compute_flops for e in experiments], sizes
    )
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return OutcomeTable(
        f"generated-{seed}",
        experiments,
        offsets,
        columns,
        tuple(p[0] for p in parts),
    )


def _space(rng: np.random.Generator) -> tuple[list[str], Space]:
    """Kinds of the knobs, and the space: grids in half or whole octaves."""
    d = int(rng.choice([1, 2, 3, 4], p=[0.08, 0.66, 0.2, 0.06]))
    mixed = d != 2 or rng.random() < 0.5
    kinds = (
        [
            str(k)
            for k in rng.permutation(["rate", "size", "other", "other"])[:d]
        ]
        if mixed
        else ["rate", "size"]
    )
    names: list[str] = []
    for kind in kinds:
        free = [n for n in KNOB_NAMES[kind] if n not in names]
        names.append(
            _invented(rng)
            if rng.random() < INVENTED
            else free[int(rng.integers(len(free)))]
        )
    knobs = []
    for name in names:
        step, low = float(rng.choice([0.5, 1.0])), float(rng.integers(-14, 8))
        levels = 2.0 ** (low + step * np.arange(int(rng.integers(*LEVELS[d]))))
        knobs.append(Knob(name, "log", tuple(levels.tolist()), step=step))
    return kinds, Space(tuple(knobs))


def _wide_space(rng: np.random.Generator) -> tuple[list[str], Space]:
    """Kinds of the coordinates, and a space whose configurations have numbers: a
    mixture, or many knobs.
    """
    known = rng.permutation(
        [n for group in KNOB_NAMES.values() for n in group]
    )[:12]
    names = list(
        dict.fromkeys(
            _invented(rng) if rng.random() < INVENTED else str(name)
            for name in known
        )
    )[:8]
    if rng.random() < 0.4:
        knob = Knob(
            names[-1], "simplex", tuple(names[: int(rng.integers(3, 8))])
        )
        return ["other"] * knob.width, Space((knob,))
    knobs, kinds, cells = [], [], 1
    for name in names[: int(rng.integers(5, 8))]:
        n = int(min(rng.integers(2, 6), max(2, MAX_CELLS // (cells * 2))))
        cells *= n
        scale = str(
            rng.choice(
                ["log", "ordinal", "linear", "categorical"],
                p=[0.5, 0.25, 0.15, 0.1],
            )
        )
        knob = _wide_knob(rng, name, scale, n)
        kinds += [
            str(rng.choice(["rate", "size", "other"]))
            if scale == "log"
            else "other"
        ] * knob.width
        knobs.append(knob)
    return kinds, Space(tuple(knobs))


def _wide_knob(rng: np.random.Generator, name: str, scale: str, n: int) -> Knob:
    if scale == "categorical":
        return Knob(name, scale, tuple("abcde"[:n]))
    if scale == "log":
        return Knob(
            name,
            scale,
            tuple(
                (2.0 ** (float(rng.integers(-14, 8)) + np.arange(n))).tolist()
            ),
            step=1.0,
        )
    return Knob(
        name,
        scale,
        tuple(float(v) for v in range(1, n + 1)),
        step=1.0 if scale == "linear" else 0.0,
    )


def _design(rng: np.random.Generator, space: Space) -> np.ndarray:
    """Configurations that the experiments of a wide landscape share, [n,
    n_coordinates].
    """
    n = int(rng.integers(24, 65))
    if space.grid is None:
        parts = space.knobs[0].levels
        weights = rng.dirichlet(
            np.full(len(parts), float(rng.uniform(0.5, 2.0))), n
        )
        return np.array(
            [
                space.encode(
                    {
                        space.knobs[0].name: dict(
                            zip(parts, w.tolist(), strict=True)
                        )
                    }
                )
                for w in weights
            ]
        )
    return space.grid[
        rng.choice(len(space.grid), min(n, len(space.grid)), replace=False)
    ]


def _part(rng: np.random.Generator, design: np.ndarray) -> np.ndarray:
    """Three fifths of a design or more."""
    return design[
        np.sort(
            rng.choice(
                len(design),
                int(np.ceil(len(design) * rng.uniform(0.6, 1.0))),
                replace=False,
            )
        )
    ]


def _invented(rng: np.random.Generator) -> str:
    """A name that no list holds, so that a model learns to copy names piece by piece."""
    if rng.random() < 0.5:
        return "_".join(
            rng.choice(WORDS, int(rng.integers(2, 4)), replace=False)
        )
    return "x" + "".join(
        rng.choice(
            list("abcdefghijklmnopqrstuvwxyz_0123456789"),
            int(rng.integers(3, 10)),
        )
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
    return kinds, [
        _invented(rng)
        if rng.random() < INVENTED
        else str(rng.choice(FIDELITY_NAMES[k]))
        for k in kinds
    ]


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
    place = (
        rng.uniform(0.15, 0.85, d)
        if rng.random() < 0.6
        else rng.uniform(-0.05, 1.05, d)
    )
    target, middle = low + place * (high - low), (low + high) / 2
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
        return np.vstack(
            [low + rng.uniform(0, 1, (len(z) - 1, d)) * (high - low), target]
        )
    travelled, slopes = (
        _bent(rng, z, slopes) if rng.random() < 0.5 else (z, slopes)
    )
    moved, scatter = (
        (travelled[:-1] - travelled[-1]) @ slopes,
        float(rng.choice(SCATTERS, p=SCATTER_CHANCES)),
    )
    cheap = (
        target
        + (moved if kind == "law" else -moved)
        + rng.normal(0, scatter, moved.shape)
    )
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
    return reach * (
        1 - np.exp(-(z - z.min(axis=0)) / reach)
    ), slopes * rng.uniform(1.0, 3.0)


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


def _recorded(
    rng: np.random.Generator, space: Space, target: bool
) -> np.ndarray:
    """Points of the declared grid that this experiment has rows for, [n, d]."""
    points = space.grid
    n = len(points)
    pick = rng.random()
    if target and pick < 1 / 3:
        index = np.array(
            list(
                itertools.product(*(range(len(k.levels)) for k in space.knobs))
            )
        )
        keep = index.sum(axis=1) % 2 == 0
    elif not target and pick < 1 / 6:
        keep = np.zeros(n, dtype=bool)
        keep[rng.choice(n, min(n, int(rng.integers(6, 16))), replace=False)] = (
            True
        )
    else:
        keep = rng.random(n) < rng.uniform(0.5, 1.0)
    return points[keep] if keep.sum() >= 5 else points
