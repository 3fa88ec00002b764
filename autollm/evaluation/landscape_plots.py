"""Pictures of experiments, as SVG text: how the optimum moves with scale, and what each
experiment's table looks like.

Invariant: as in plots.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autollm.core.spaces.knobs import Knob, is_number
from autollm.core.spaces.scales import ONE_COORDINATE
from autollm.core.spaces.space import Space
from autollm.evaluation.pages import power
from autollm.evaluation.plots import COLOURS, MARKS, STYLE, svg_text
from autollm.gym.environments.summary import fit_optimum
from autollm.gym.tables.outcome_table import OutcomeTable

BEST_ROWS = 3
"""Number of best rows whose centre is taken as the optimum of a mixture: one row alone
may be best by luck, and too few rows are recorded to fit a surface.
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
    drawn = []
    for experiment_id in experiment_ids:
        e = table.index(experiment_id)
        own = table.experiments[e]
        drawn.append(
            Landscape(
                own.label,
                own.compute_flops,
                table.points[e],
                table.losses(e),
                experiment_id in targets,
            )
        )
    space = table.experiments[table.index(experiment_ids[0])].space
    return optimum_over_compute(space, drawn)


def optimum_over_compute(space: Space, landscapes: Sequence[Landscape]) -> str:
    """Fitted optimum of each experiment against its compute, one panel a knob that is a
    number; what is held out stands out. SVG text.

    Empty where no knob is a number (mixtures: `shares_over_compute`).
    """
    knobs = list(filter(_is_numeric, space.knobs))
    if not knobs:
        return ""
    drawn = sorted(landscapes, key=_compute_flops)
    optima = _Optima.of(drawn)
    with rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(knobs), 3.2), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, len(knobs)))
        for axes, knob in zip(panels, knobs, strict=True):
            _draw_optima(axes, knob, optima, space.slices[knob.name].start)
        _common_legend(figure, panels[0], 3)
        return svg_text(figure)


@dataclass(frozen=True)
class _Optima:
    """Experiments in the order of their compute, as arrays [n] and [n, n_coordinates]:
    their compute, which are held out, the optimum of the surface fitted to each, its
    best recorded row.
    """

    compute_flops: np.ndarray
    held_out: np.ndarray
    fitted: np.ndarray
    best_rows: np.ndarray

    @classmethod
    def of(cls, landscapes: Sequence[Landscape]) -> _Optima:
        compute, held_out, fitted, best_rows = [], [], [], []
        for x in landscapes:
            bowl = fit_optimum(x.points, x.losses)
            compute.append(x.compute_flops)
            held_out.append(x.held_out)
            fitted.append(bowl.optimum)
            best_rows.append(bowl.best_row)
        return cls(*map(np.array, (compute, held_out, fitted, best_rows)))


def _draw_optima(axes: Axes, knob: Knob, optima: _Optima, column: int) -> None:
    """One panel. `column`: the knob's coordinate."""
    fitted = np.array(list(map(knob.decode, optima.fitted[:, column])))
    best = np.array(list(map(knob.decode, optima.best_rows[:, column])))
    axes.axhspan(knob.levels[0], knob.levels[-1], color="#f2f5f8", lw=0)
    axes.scatter(
        optima.compute_flops,
        best,
        marker="_",
        s=70,
        color="#999999",
        label="best recorded row",
    )
    label = "fitted optimum"
    for which, size, mark, colour, name in (
        (~optima.held_out, 26, "o", COLOURS[0], label),
        (optima.held_out, 42, "D", COLOURS[1], f"{label} of a held-out target"),
    ):
        axes.scatter(
            optima.compute_flops[which],
            fitted[which],
            s=size,
            marker=mark,
            color=colour,
            label=name,
        )
    axes.set(title=_title(knob))
    _compute_axis(axes)
    if knob.scale == "log":
        _log2(axes, "y")


def _is_numeric(knob: Knob) -> bool:
    """Whether it is one number, on one coordinate."""
    return knob.scale in ONE_COORDINATE and all(map(is_number, knob.levels))


def _compute_flops(landscape: Landscape) -> float:
    return landscape.compute_flops


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
        for axes, objective in zip(panels, by_objective, strict=True):
            drawn = sorted(by_objective[objective], key=_compute_flops)
            _draw_shares(axes, knob, drawn, space.slices[knob.name])
            axes.set_title(objective, fontsize=9, loc="left")
        _common_legend(figure, panels[0], 6)
        return svg_text(figure)


def _draw_shares(
    axes: Axes, knob: Knob, landscapes: Sequence[Landscape], columns: slice
) -> None:
    """One panel. `columns`: the mixture's coordinates."""
    compute, cheap, expensive, centres = [], [], [], []
    for x in landscapes:
        compute.append(x.compute_flops)
        (expensive if x.held_out else cheap).append(x.compute_flops)
        centres.append(knob.decode(_best_rows(x)[:, columns].mean(axis=0)))
    for i, part in enumerate(knob.levels):
        axes.plot(
            compute,
            [centre[part] for centre in centres],
            marker=MARKS[i % len(MARKS)],
            markersize=4,
            lw=1.3,
            color=COLOURS[i % len(COLOURS)],
            label=part,
        )
    if cheap and expensive:
        between = np.sqrt(max(cheap) * min(expensive))
        axes.axvline(between, color="#5b6675", ls=":", lw=1)
    axes.set_ylim(0, None)
    _compute_axis(axes)


def _common_legend(figure: Figure, axes: Axes, most_columns: int) -> None:
    """One legend below all panels, which draw the same things."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), most_columns),
        frameon=False,
    )


def landscape_pictures(space: Space, landscapes: Sequence[Landscape]) -> str:
    """What every experiment's table looks like: regret, 0 the best row and 1 the
    median, cut at WORST_DRAWN. SVG text.

    Where the space is two numbers, a panel an experiment with regret as colour; else a
    row an experiment with a panel for each knob or part of a mixture.
    """
    drawn = sorted(landscapes, key=_compute_flops)
    plane = [k for k in space.knobs if k.scale in ONE_COORDINATE]
    is_plane = len(space.knobs) == len(plane) == 2
    with rc_context(STYLE):
        figure = _planes(plane, drawn) if is_plane else _slices(space, drawn)
        return svg_text(figure)


def _planes(knobs: Sequence[Knob], landscapes: Sequence[Landscape]) -> Figure:
    figure, panels = _panels(len(landscapes), 2.4, 2.1)
    for axes, x in zip(panels, landscapes, strict=True):
        across = list(map(knobs[0].decode, x.points[:, 0]))
        up = list(map(knobs[1].decode, x.points[:, 1]))
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
    columns: list[tuple[Knob, str]] = []
    for knob in space.knobs:
        parts = knob.levels if knob.scale == "simplex" else ("",)
        columns += [(knob, part) for part in parts]
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
            values: list[Any] = [c.get(knob.name) for c in configurations]
            if part:
                values = [mixture[part] for mixture in values]
            at = _places(axes, knob, values)
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
        return np.array(values, dtype=float)  # None becomes NaN
    names = sorted({str(v) for v in values if v is not None})
    axes.set_xticks(range(len(names)), names)
    place = dict(zip(names, range(len(names)), strict=True))
    places = [place.get(str(v)) if v is not None else None for v in values]
    return np.array(places, dtype=float)


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
    flops = power(x.compute_flops)
    return f"{x.label}, {flops} FLOPs{', held out' if x.held_out else ''}"


def _compute_axis(axes: Axes) -> None:
    axes.set(xscale="log", xlabel="compute of a run (FLOPs)")
    axes.xaxis.set_major_formatter(
        lambda value, _: power(value).replace(".0e", "e")
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
