"""Pictures of the report, as SVG text: regret over trials, and who is told apart from
whom; and the style of all pictures.

Invariant: equal data give equal bytes, and names are drawn as they are (no TeX, no
markup).
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autollm.evaluation.intervals import interval
from autollm.evaluation.protocol import EpisodeResult
from autollm.evaluation.results import results_by_policy, score_matrix
from autollm.evaluation.scores import Standing

STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.hashsalt": "autollm",
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
}
COLOURS = (
    "#0b62a4",
    "#c2410c",
    "#3f7d20",
    "#7b3fa0",
    "#b8860b",
    "#0f8b8d",
    "#c2185b",
    "#5d4037",
    "#546e7a",
    "#9e9d24",
)
REFERENCE = {"random": "#8a8a8a", "oracle": "#1a1a1a", "pool-centre": "#b5b5b5"}
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")


def colour_of(policies: Sequence[str]) -> dict[str, str]:
    """One colour a policy, the same in every figure of a report; references are grey or
    black.
    """
    others = itertools.cycle(COLOURS)
    out = {}
    for policy in policies:
        out[policy] = REFERENCE.get(policy) or next(others)
    return out


def regret_over_trials(
    results: Sequence[EpisodeResult], colours: dict[str, str]
) -> str:
    """Mean realised regret after each trial, one line a policy, bands: 95 % over seeds.
    SVG text.
    """
    with rc_context(STYLE):
        figure = Figure(
            figsize=(7.2, max(3.6, 0.6 + 0.17 * len(colours))),
            layout="constrained",
        )
        axes = figure.subplots()
        ends: list[tuple[float, str]] = []
        n_trials = 1
        played = results_by_policy(results)
        for policy, mark in zip(colours, itertools.cycle(MARKS)):
            if policy in played:
                mean = _line(axes, played[policy], colours[policy], mark)
                ends.append((float(mean[0]), policy))
                n_trials = len(mean)
        handles, labels = axes.get_legend_handles_labels()
        handle_of = dict(zip(labels, handles, strict=True))
        order = [policy for _, policy in sorted(ends, reverse=True)]
        axes.legend(
            [handle_of[policy] for policy in order],
            order,
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            frameon=False,
        )
        # Square root: good policies crowd near zero, where a difference matters most.
        axes.set_yscale(
            "function",
            functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square),
        )
        axes.set(
            xlabel="trials on the target (k)",
            ylabel="regret (square-root axis)",
            xticks=range(1, n_trials + 1),
            ylim=(0, 1),
        )
        axes.set_yticks(
            [0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1],
            ["0", ".01", ".05", ".1", ".2", ".4", ".6", ".8", "1"],
        )
        return svg_text(figure)


def _line(
    axes: Axes, own: Sequence[EpisodeResult], colour: str, mark: str
) -> np.ndarray:
    """Draw one policy's regret with its band; returns the means [n_trials]."""
    policy = own[0].player
    ks = np.arange(1, min(r.trials for r in own) + 1)
    curve = [interval(score_matrix(own, "regret", int(k))) for k in ks]
    mean = np.array([point.mean for point in curve])
    axes.plot(
        ks,
        mean,
        marker=mark,
        markersize=4,
        label=policy,
        lw=2.2 if own[0].stage else 1.3,
        ls="--" if policy in REFERENCE else "-",
        color=colour,
    )
    if curve[0].seed_low is not None:
        low = np.array([point.seed_low for point in curve], dtype=float)
        high = np.array([point.seed_high for point in curve], dtype=float)
        axes.fill_between(ks, low, high, color=colour, alpha=0.13, lw=0)
    return mean


def ranks(standings: Sequence[Standing], colours: dict[str, str]) -> str:
    """Mean ranks, one panel a standing (standings.standing); bars join what lies within
    the critical difference. SVG text, empty without a standing.
    """
    if not standings:
        return ""
    n = max(len(s.rows) for s in standings)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.9 + 0.2 * n), layout="constrained")
        panels = figure.subplots(1, len(standings), squeeze=False)[0]
        for axes, one in zip(panels, standings, strict=True):
            _ranks(axes, one, colours)
        return svg_text(figure)


def _ranks(axes: Axes, one: Standing, colours: dict[str, str]) -> None:
    names, at, own_colours = [], [], []
    for row in one.rows:
        names.append(row.policy)
        at.append(row.rank)
        own_colours.append(colours[row.policy])
    places = range(len(names))
    axes.hlines(places, 1, at, color=own_colours, lw=1.2, alpha=0.5)
    axes.scatter(at, places, color=own_colours, s=24, zorder=3)
    for i, clique in enumerate(one.cliques):
        x = len(names) + 0.4 + 0.35 * i
        axes.plot(
            [x, x],
            [names.index(clique[0]) - 0.2, names.index(clique[-1]) + 0.2],
            color="#5b6675",
            lw=2.6,
            solid_capstyle="butt",
        )
    gap = "" if one.cd is None else f"; critical difference {one.cd:.2f}"
    axes.set(
        yticks=range(len(names)),
        ylim=(len(names) - 0.4, -0.6),
        xlim=(0.8, len(names) + 0.8 + 0.35 * max(len(one.cliques) - 1, 0)),
        xlabel="mean rank (1 is best)",
    )
    axes.set_yticklabels(names)
    axes.set_title(f"k={one.k}{gap}", fontsize=9, loc="left")
    axes.set_xticks(range(1, len(names) + 1, max(1, len(names) // 6)))
    axes.grid(visible=False, axis="y")


def svg_text(figure: Figure) -> str:
    """A figure as SVG text without a prologue, to stand inside a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
