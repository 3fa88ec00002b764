"""Pictures of experiments, as SVG text: how the optimum moves with scale, and what each
experiment's table looks like.

What does not belong here: plays of policies (plots.py), HTML. Invariant: as in
plots.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autollm.core.knobs import Knob, is_number
from autollm.core.scales import ONE_COORDINATE
from autollm.core.space import Space
from autollm.evaluation.plots import COLOURS, MARKS, STYLE, svg_text
from autollm.gym.environments.summary import fit_optimum
from autollm.gym.tables.outcome_table import OutcomeTable

BEST_ROWS = 3
"""Rows whose centre stands for the optimum of a mixture: one row alone is luck, and too
few are recorded to fit a surface.
"""
WORST_DRAWN = 2.0
"""Regret at which colours and panels end: a cliff would hide the valley."""


@dataclass(frozen=True)
class Landscape:
    """One experiment as it is drawn: points float64 [n, n_coordinates] in natural
    units, losses float64 [n], lower is better, finite.
    """

    label: str
    compute_flops: float
    points: np.ndarray
    losses: np.ndarray
    held_out: bool


def moving_optimum(
    table: OutcomeTable, experiment_ids: Sequence[str], targets: Sequence[str]
) -> str:
    """`optimum_over_compute` of a snapshot's experiments; the targets are what was held
    out. SVG text.
    """
    indices = [table.index(e) for e in experiment_ids]
    named = [(table.experiments[e], e) for e in indices]
    return optimum_over_compute(
        named[0][0].space,
        [
            Landscape(
                x.label,
                x.compute_flops,
                table.points[e],
                table.losses(e),
                x.experiment_id in targets,
            )
            for x, e in named
        ],
    )


def optimum_over_compute(space: Space, landscapes: Sequence[Landscape]) -> str:
    """Fitted optimum of each experiment against its compute, one panel a knob that is a
    number; what is held out stands out. SVG text.

    Empty where no knob is a number (mixtures: `shares_over_compute`).
    """
    panels = [
        (space.slices[k.name].start, k)
        for k in space.knobs
        if k.scale in ONE_COORDINATE and all(map(is_number, k.levels))
    ]
    if not panels:
        return ""
    drawn = sorted(landscapes, key=lambda x: x.compute_flops)
    bowls = [fit_optimum(x.points, x.losses) for x in drawn]
    compute = np.array([x.compute_flops for x in drawn])
    held_out = np.array([x.held_out for x in drawn])
    with rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(panels), 3.2), layout="constrained")
        for axes, (j, knob) in zip(
            np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True
        ):
            fitted = np.array([knob.decode(b.optimum[j]) for b in bowls])
            best = np.array([knob.decode(b.best_row[j]) for b in bowls])
            axes.axhspan(knob.levels[0], knob.levels[-1], color="#f2f5f8", lw=0)
            axes.scatter(
                compute,
                best,
                marker="_",
                s=70,
                color="#999999",
                label="best recorded row",
            )
            for which, size, mark, colour, label in (
                (~held_out, 26, "o", COLOURS[0], "fitted optimum"),
                (
                    held_out,
                    42,
                    "D",
                    COLOURS[1],
                    "fitted optimum of a held-out target",
                ),
            ):
                axes.scatter(
                    compute[which],
                    fitted[which],
                    s=size,
                    marker=mark,
                    color=colour,
                    label=label,
                )
            axes.set(title=_title(knob))
            _compute_axis(axes)
            if knob.scale == "log":
                _log2(axes, "y")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=3, frameon=False
        )
        return svg_text(figure)


def shares_over_compute(
    space: Space, by_objective: Mapping[str, Sequence[Landscape]]
) -> str:
    """Where the best BEST_ROWS rows of each experiment lie, in shares of a mixture,
    against its compute: one panel an objective, one line a part; what is held out
    stands right of the dotted line. SVG text, empty where no knob is a mixture.
    """
    knob = next((k for k in space.knobs if k.scale == "simplex"), None)
    if knob is None:
        return ""
    with rc_context(STYLE):
        figure, panels = _panels(len(by_objective), 2.4, 2.1)
        for axes, (objective, landscapes) in zip(
            panels, by_objective.items(), strict=True
        ):
            drawn = sorted(landscapes, key=lambda x: x.compute_flops)
            compute = [x.compute_flops for x in drawn]
            centres = [
                knob.decode(
                    _best_rows(x)[:, space.slices[knob.name]].mean(axis=0)
                )
                for x in drawn
            ]
            for i, part in enumerate(knob.levels):
                axes.plot(
                    compute,
                    [c[part] for c in centres],
                    marker=MARKS[i % len(MARKS)],
                    markersize=4,
                    lw=1.3,
                    color=COLOURS[i % len(COLOURS)],
                    label=part,
                )
            cheap, dear = (
                [x.compute_flops for x in drawn if x.held_out is held_out]
                for held_out in (False, True)
            )
            if cheap and dear:
                axes.axvline(
                    np.sqrt(max(cheap) * min(dear)),
                    color="#5b6675",
                    ls=":",
                    lw=1,
                )
            axes.set_title(objective, fontsize=9, loc="left")
            axes.set_ylim(0, None)
            _compute_axis(axes)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=min(len(labels), 6),
            frameon=False,
        )
        return svg_text(figure)


def landscape_pictures(space: Space, landscapes: Sequence[Landscape]) -> str:
    """What every experiment's table looks like: regret, 0 the best row and 1 the
    median, cut at WORST_DRAWN. SVG text.

    Where the space is two numbers, a panel an experiment with regret as colour; else a
    row an experiment with a panel for each knob or part of a mixture.
    """
    drawn = sorted(landscapes, key=lambda x: x.compute_flops)
    plane = [k for k in space.knobs if k.scale in ONE_COORDINATE]
    with rc_context(STYLE):
        figure = (
            _planes(plane, drawn)
            if len(space.knobs) == len(plane) == 2
            else _slices(space, drawn)
        )
        return svg_text(figure)


def _planes(knobs: Sequence[Knob], landscapes: Sequence[Landscape]) -> Figure:
    figure, panels = _panels(len(landscapes), 2.4, 2.1)
    for axes, x in zip(panels, landscapes, strict=True):
        across, up = (
            [k.decode(p) for p in x.points[:, j]] for j, k in enumerate(knobs)
        )
        regret = _regret(x.losses)
        best = int(np.argmin(x.losses))
        shown = axes.scatter(
            across,
            up,
            c=regret,
            cmap="viridis_r",
            vmin=0,
            vmax=WORST_DRAWN,
            s=34,
            marker="s",
            lw=0,
        )
        axes.scatter(across[best], up[best], marker="+", s=50, color=COLOURS[1])
        axes.set_title(_headed(x), fontsize=8, loc="left")
        axes.set(xlabel=_title(knobs[0]), ylabel=_title(knobs[1]))
        for which, knob in zip("xy", knobs, strict=True):
            if knob.scale == "log":
                _log2(axes, which)
        axes.grid(visible=False)
    figure.colorbar(
        shown, ax=panels, label="regret (0 best row, 1 median)", shrink=0.6
    )
    return figure


def _slices(space: Space, landscapes: Sequence[Landscape]) -> Figure:
    columns = [
        (k, part)
        for k in space.knobs
        for part in (k.levels if k.scale == "simplex" else ("",))
    ]
    figure = Figure(
        figsize=(1.25 * len(columns) + 0.6, 1.15 * len(landscapes) + 0.4),
        layout="constrained",
    )
    grid = figure.subplots(
        len(landscapes), len(columns), squeeze=False, sharey=True, sharex="col"
    )
    for row, x in zip(grid, landscapes, strict=True):
        regret = _regret(x.losses)
        best = int(np.argmin(x.losses))
        configurations = [space.decode(p) for p in x.points]
        for axes, (knob, part) in zip(row, columns, strict=True):
            at = _places(
                axes,
                knob,
                [
                    c[knob.name][part] if part else c.get(knob.name)
                    for c in configurations
                ],
            )
            axes.scatter(at, regret, s=7, lw=0, color=COLOURS[0], alpha=0.7)
            axes.scatter(at[best], 0, s=45, marker="+", color=COLOURS[1])
            if knob.scale == "log":
                axes.set_xscale("log", base=2)
        row[0].set_title(_headed(x), fontsize=8, loc="left")
        row[0].set_ylabel("regret")
    for axes, (knob, part) in zip(grid[-1], columns, strict=True):
        axes.set_xlabel(part or knob.name)
    return figure


def _places(axes: Axes, knob: Knob, values: Sequence[Any]) -> np.ndarray:
    """Numbers as they are, categories and lists in the order of their text, NaN for a
    knob that was not chosen.
    """
    if knob.scale == "simplex" or (
        knob.scale != "list" and all(map(is_number, knob.levels))
    ):
        return np.array(
            [np.nan if v is None else v for v in values], dtype=float
        )
    names = sorted({str(v) for v in values if v is not None})
    axes.set_xticks(range(len(names)), names)
    return np.array(
        [np.nan if v is None else names.index(str(v)) for v in values],
        dtype=float,
    )


def _panels(n: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of `n` panels, four a row."""
    columns = min(n, 4)
    rows = -(-n // 4)
    figure = Figure(
        figsize=(width * columns + 0.8, height * rows + 0.4),
        layout="constrained",
    )
    flat = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for empty in flat[n:]:
        empty.remove()
    return figure, flat[:n]


def _best_rows(x: Landscape) -> np.ndarray:
    return x.points[np.argsort(x.losses, kind="stable")[:BEST_ROWS]]


def _regret(losses: np.ndarray) -> np.ndarray:
    spread = np.median(losses) - losses.min()
    return np.minimum(
        (losses - losses.min()) / (spread if spread > 0 else 1.0), WORST_DRAWN
    )


def _headed(x: Landscape) -> str:
    return f"{x.label}, {x.compute_flops:.1e} FLOPs{', held out' if x.held_out else ''}".replace(
        "e+", "e"
    )


def _compute_axis(axes: Axes) -> None:
    axes.set(xscale="log", xlabel="compute of a run (FLOPs)")
    axes.xaxis.set_major_formatter(
        lambda value, _: f"{value:.0e}".replace("e+", "e")
    )
    axes.xaxis.set_minor_formatter("")


def _log2(axes: Axes, which: str) -> None:
    """A logarithmic `x` or `y` axis with plain numbers."""
    scale, axis = {
        "x": (axes.set_xscale, axes.xaxis),
        "y": (axes.set_yscale, axes.yaxis),
    }[which]
    scale("log", base=2)
    axis.set_major_formatter(
        lambda value, _: f"{value:.2g}" if value < 1 else f"{value:,.0f}"
    )


def _title(knob: Knob) -> str:
    return (
        f"{knob.name} ({knob.unit})"
        if knob.unit not in ("", "1")
        else knob.name
    )
