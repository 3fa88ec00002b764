"""Pictures of the advice page, as SVG text: where each knob's optimum lies over compute,
what is reached, the predicted landscape at the target, and what the same rules said of
experiments that you have.

Colours and style are those of all pages (evaluation/plots.py). Invariant: equal studies
give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autollm.advisor.deciding.hindsight import Hindcast
from autollm.advisor.deciding.study import Study
from autollm.advisor.evidence.resting import chosen
from autollm.advisor.statistics.loss_law import LossLaw
from autollm.evaluation.plots import COLOURS, STYLE, svg_text

LEVEL, TARGET, ADVICE = COLOURS[0], COLOURS[1], COLOURS[2]
WIDTH, HEIGHT = 3.6, 2.7
"""Inches of a panel: two a row fill a page."""
AT_TARGET = 1.0
"""Compute of the target over itself."""
WORST_SHOWN = 2.0
"""u beyond which the landscape's colours do not tell apart: twice the median's loss."""
N_PLACES = 41
"""Of a law that is drawn."""
GREY = "#8a8a8a"


def pictures(
    found: Study, advised: np.ndarray, told: Sequence[Hindcast] = ()
) -> dict[str, str]:
    """Each picture by its name, those that the study can carry. `advised` [k, d]: the
    proposals' points; `told`: forecasts of one's own experiments.
    """
    drawn = {"optima": optima(found, advised), "outcome": outcome(found)}
    drawn["landscape"] = landscape(found, advised)
    drawn["foretold"] = foretold_picture(found, told) if told else ""
    return {name: picture for name, picture in drawn.items() if picture}


def optima(found: Study, advised: np.ndarray) -> str:
    """A panel a knob: fitted optima over compute, what the law says at the target, and
    the first proposal.
    """
    names = found.response.names
    if not names:
        return ""
    with rc_context(STYLE):
        figure, panels = _panels(len(names))
        for j, axes in enumerate(panels):
            _optimum(axes, found, j)
            point = advised[0][found.response.columns[j]]
            if j in _chosen(found, advised[0]):
                axes.plot(
                    [AT_TARGET], [point], "D", color=ADVICE, label="advice"
                )
            _native_axis(axes, found, names[j])
            _compute_axis(axes)
        _legend(panels[0])
        return svg_text(figure)


def _chosen(found: Study, point: np.ndarray) -> list[int]:
    """Numbers of the response's coordinates that a point [d] has a choice of: the rate of
    another optimizer is none.
    """
    space = found.question.space
    kept = []
    for j, name in enumerate(found.response.names):
        is_knob = name in space.names
        if not is_knob or chosen(space, point[None], name)[0]:
            kept.append(j)
    return kept


def _optimum(axes: Axes, found: Study, j: int) -> None:
    levels = found.response.levels
    name = found.response.names[j]
    middle = np.array([level.optimum[j] for level in levels])
    sd = np.array([level.optimum_sd[j] for level in levels])
    edge = np.array([level.edge[j] != 0 for level in levels])
    inside = np.array([level.tells(j) for level in levels]) & ~edge
    compute = _compute(found)
    axes.errorbar(
        compute[inside],
        middle[inside],
        sd[inside],
        fmt="o",
        color=LEVEL,
        label="levels",
    )
    axes.plot(compute[edge], middle[edge], "^", color=LEVEL, fillstyle="none")
    trend = found.trends.get(name)
    if trend is None:
        return
    at, path = _to_target(found)
    line, half = trend.along(path)
    axes.plot(at, line, "-", color=TARGET, lw=1.3, label="law, 90 %")
    axes.fill_between(
        at, line - half, line + half, color=TARGET, alpha=0.13, lw=0
    )
    axes.errorbar(at[-1:], line[-1:], half[-1:], fmt="s", color=TARGET)


def _to_target(found: Study) -> tuple[np.ndarray, np.ndarray]:
    """Compute over the target's [n], and places of the ladder [n, n_axes], from the
    cheapest level straight to the target.
    """
    cheapest = int(np.argmin(found.octaves))
    share = np.linspace(1, 0, N_PLACES)
    path = share[:, None] * found.ladder.axes[cheapest]
    return 2.0 ** (share * found.octaves[cheapest]), path


def outcome(found: Study) -> str:
    """What each experiment could have reached over compute, and the forecast."""
    levels = found.response.levels
    sign = found.sign
    with rc_context(STYLE):
        figure, (axes,) = _panels(1, wide=True)
        compute = _compute(found)
        reached = np.array([level.reached for level in levels])
        sd = np.array([level.reached_sd for level in levels])
        raw = np.array([level.raw_best for level in levels])
        axes.errorbar(
            compute,
            sign * reached,
            sd,
            fmt="o",
            color=LEVEL,
            label="could have reached",
        )
        axes.plot(compute, sign * raw, "x", color=GREY, label="best recorded")
        if found.loss_law is not None:
            at, path = _to_target(found)
            line = sign * law_along(found.loss_law, path)
            axes.plot(at, line, "-", color=TARGET, lw=1.3, label="law")
            mean = found.loss_law.forecast.mean
            low, high = found.loss_law.forecast.interval()
            axes.errorbar(
                [AT_TARGET],
                [mean],
                [[mean - low], [high - mean]],
                fmt="s",
                color=TARGET,
                label="forecast, 90 %",
            )
        axes.set_ylabel(found.native(found.question.view.objective))
        _compute_axis(axes)
        _legend(axes)
        return svg_text(figure)


def law_along(law: LossLaw, axes: np.ndarray) -> np.ndarray:
    """The most probable law [n] at places [n, n_axes] of the ladder."""
    told = law.parameters
    exponents = np.array([told[f"exponent_{name}"] for name in law.names])
    if law.form == "sum":
        terms = 2.0 ** (-axes * exponents)
        return told["E"] + terms @ np.array([told["A"], told["B"]])
    return told["E"] + told["A"] * 2.0 ** -(axes @ exponents)


def foretold_picture(found: Study, told: Sequence[Hindcast]) -> str:
    """Experiments that you have: what the law through cheaper ones forecast, against
    what they could have reached.
    """
    sign = found.sign
    with rc_context(STYLE):
        figure, (axes,) = _panels(1, wide=True)
        places = range(len(told))
        mean = np.array([sign * one.mean for one in told])
        low = np.array([min(sign * one.low, sign * one.high) for one in told])
        high = np.array([max(sign * one.low, sign * one.high) for one in told])
        axes.errorbar(
            places,
            mean,
            [mean - low, high - mean],
            fmt="s",
            color=TARGET,
            label="forecast from cheaper ones, 90 %",
        )
        real = [sign * one.reached for one in told]
        axes.plot(places, real, "o", color=LEVEL, label="could have reached")
        labels = [one.label.replace(",", "\n") for one in told]
        axes.set_xticks(list(places), labels, fontsize=6)
        axes.set_ylabel(found.native(found.question.view.objective))
        _legend(axes)
        return svg_text(figure)


def landscape(found: Study, advised: np.ndarray) -> str:
    """Expected regret at the target over the two knobs with an optimum (or over one),
    the other knobs at the first proposal's values; the evidence's rows and the levels'
    optima over it.
    """
    numbers = _chosen(found, advised[0])[:2]
    columns = [found.response.columns[j] for j in numbers]
    if not columns:
        return ""
    candidates = found.question.view.candidates
    others = [d for d in range(candidates.shape[1]) if d not in columns]
    near = np.abs(candidates[:, others] - advised[0][others]).max(
        axis=1, initial=0
    )
    shown = candidates[near < 0.5]
    u = found.policy.weights @ found.sampled(shown) - found.lowest_expected
    names = [found.response.names[j] for j in numbers]
    with rc_context(STYLE):
        figure, (axes,) = _panels(1, wide=True)
        if len(columns) == 1:
            order = np.argsort(shown[:, columns[0]])
            axes.plot(shown[order, columns[0]], u[order], ".-", color=LEVEL)
            at = advised[:, columns[0]]
            own = found.policy.weights @ found.sampled(advised)
            axes.plot(
                at,
                own - found.lowest_expected,
                "o",
                color=ADVICE,
                markersize=8,
                fillstyle="none",
                label="proposals",
            )
            _legend(axes)
            axes.set_ylabel("expected regret")
        else:
            cells = axes.scatter(
                shown[:, columns[0]],
                shown[:, columns[1]],
                c=np.minimum(u, WORST_SHOWN),
                s=18,
                marker="s",
                cmap="viridis_r",
            )
            figure.colorbar(cells, ax=axes, label="expected regret")
            _evidence(axes, found, numbers)
            for rank, point in enumerate(advised, 1):
                place = (point[columns[0]], point[columns[1]])
                axes.plot(
                    *place, "o", color=ADVICE, markersize=8, fillstyle="none"
                )
                axes.annotate(
                    str(rank),
                    place,
                    xytext=(6, 4),
                    textcoords="offset points",
                    fontsize=9,
                    color=TARGET,
                )
            _native_axis(axes, found, names[1])
        _native_axis(axes, found, names[0], which="x")
        return svg_text(figure)


def _evidence(axes: Axes, found: Study, numbers: Sequence[int]) -> None:
    """What was tried anywhere, and the levels' optima, larger where compute is.
    `numbers`: of the response's coordinates.
    """
    columns = [found.response.columns[j] for j in numbers]
    tried = np.concatenate([rows.points for rows in found.rows])
    tried = np.unique(np.round(tried[:, columns], 6), axis=0)
    axes.plot(
        *tried.T,
        "o",
        color="white",
        markeredgecolor=GREY,
        markeredgewidth=0.3,
        markersize=3,
        label="tried",
    )
    optima = np.array([level.optimum for level in found.response.levels])
    order = np.argsort(np.argsort(found.octaves))
    sizes = 10 + 50 * order / max(len(order) - 1, 1)
    axes.scatter(
        *optima[:, list(numbers)].T,
        s=sizes,
        facecolors="none",
        edgecolors=TARGET,
        label="optima of the levels, larger: more compute",
    )
    _legend(axes)


def _legend(axes: Axes) -> None:
    """Above the picture, where it hides nothing."""
    axes.legend(
        fontsize=7,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        borderaxespad=0,
        columnspacing=1,
        handletextpad=0.4,
    )


def _compute(found: Study) -> np.ndarray:
    """Compute of the levels over the target's [n]."""
    return 2.0**found.octaves


def _compute_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xlabel("compute, the target is 1")
    axes.xaxis.set_major_formatter(_plain)
    axes.xaxis.set_minor_formatter("")


def _native_axis(axes: Axes, found: Study, name: str, which: str = "y") -> None:
    """Natural units written as the knob's own values."""
    knob = None
    if name in found.question.space.names:
        knob = found.question.space.knobs[
            found.question.space.names.index(name)
        ]
    label = found.native(name)
    write: Callable[[float, int], str] = _plain
    if knob is not None and knob.scale == "log":
        write = _power_of_two
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(write)
    axis.set_label_text(label)


def _power_of_two(value: float, _: int) -> str:
    return _plain(2.0**value, 0)


def _plain(value: float, _: int) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _panels(n: int, wide: bool = False) -> tuple[Figure, Sequence[Axes]]:
    """A figure of `n` panels, two a row."""
    columns = min(n, 2)
    rows = -(-n // 2)
    width = WIDTH * columns * (1.7 if wide else 1)
    figure = Figure(figsize=(width, HEIGHT * rows + 0.2), layout="constrained")
    flat = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for empty in flat[n:]:
        empty.remove()
    return figure, flat[:n]
