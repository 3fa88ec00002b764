"""What a sweep showed, on runs of a few cells whose answer is known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import UnknownNameError
from autollm.core.metrics import Metric
from autollm.core.records import RunEnd, RunHeader
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.lab.quality import qualities, targets
from autollm.lab.quality import shown as shown_qualities
from autollm.lab.spec import Run
from autollm.lab.summary import (
    cell_noise,
    cells_of,
    edges,
    level_means,
    lines,
    rank_correlations,
    runs_by_level,
    shown,
    summarize,
)
from tests.unit.lab.test_family_rules import family, level

FEW = settings(max_examples=40)
ACCURACY = Metric("accuracy", direction="max")


def run_of(
    toy, rate, loss, seed=0, status="finished", at=None, hours=1.0, **final
):
    """A log of one cell: header and end."""
    here = at or toy.levels[0]
    config = {"lr": rate}
    head = RunHeader(
        Run(toy.name, here, config, seed).run_id,
        toy.source,
        toy.name,
        config,
        {"params": 16.0},
        seed,
    )
    ended = {} if loss is None else {"loss": loss}
    cost = {"flops": 10.0, "device_hours": hours}
    return [head, RunEnd(status, ended | final, cost)]


def one(toy, runs, objective=""):
    (found,) = summarize(toy, runs, objective)
    return found


def test_summarize__three_cells__best_and_spread_by_hand():
    toy = family()
    runs = [
        run_of(toy, 0.1, 3.0, hours=1.0),
        run_of(toy, 0.2, 2.0, hours=2.0),
        run_of(toy, 0.4, 2.5, hours=9.0),
    ]
    found = one(toy, runs)
    assert (found.best, found.best_value) == ({"lr": 0.2}, 2.0)
    assert found.spread == 0.5  # median 2.5
    assert (found.n_cells, found.n_runs) == (3, 3)
    assert found.seconds == 7200.0 and found.flops == 10.0
    assert found.noise is None and found.noise_share is None
    assert found.edges == ()


@pytest.mark.parametrize("order", [1, -1])
def test_summarize__several_seeds__cells_are_compared_by_their_means(order):
    toy = family(level(seeds=(0, 1)))
    runs = [
        run_of(toy, 0.1, 2.0, 0),
        run_of(toy, 0.1, 4.0, 1),
        run_of(toy, 0.2, 2.5, 0),
        run_of(toy, 0.2, 2.7, 1),
    ][::order]
    found = one(toy, runs)
    assert found.best == {"lr": 0.2} and found.best_value == pytest.approx(2.6)
    assert found.n_cells == 2 and found.n_runs == 4


def test_summarize__diverged_without_a_loss__counts_as_the_worst_that_ended():
    toy = family()
    runs = [
        run_of(toy, 0.1, 2.0),
        run_of(toy, 0.2, 3.0),
        run_of(toy, 0.4, None, status="diverged"),
        run_of(toy, 0.8, math.inf, status="diverged"),
    ]
    found = one(toy, runs)
    assert found.n_diverged == 2 and found.n_cells == 4
    assert found.spread == pytest.approx(1.0)  # 2, 3, 3, 3


def test_summarize__failed_runs__are_counted_and_not_judged():
    toy = family()
    runs = [
        run_of(toy, 0.1, 2.0),
        run_of(toy, 0.2, 3.0),
        run_of(toy, 0.4, 0.0, status="failed"),
    ]
    found = one(toy, runs)
    assert (found.n_failed, found.n_cells) == (1, 2)
    assert found.best == {"lr": 0.1}


def test_summarize__nothing_but_failed_runs__is_no_level():
    toy = family()
    failed = [run_of(toy, r, None, status="failed") for r in (0.1, 0.2)]
    assert summarize(toy, failed) == []
    assert rank_correlations(toy, failed) == {}


def test_summarize__nothing_but_diverged_runs__is_no_level():
    """No number of theirs is finite, and JSON has no other."""
    toy = family()
    diverged = [run_of(toy, r, None, status="diverged") for r in (0.1, 0.2)]
    assert summarize(toy, diverged) == []
    assert qualities(toy, "ladder", diverged) == []


def test_summarize__all_cells_equal__has_no_share_of_noise():
    toy = family(level(seeds=(0, 1)))
    runs = []
    for rate in (0.1, 0.2, 0.4):
        runs += [run_of(toy, rate, 2.0, 0), run_of(toy, rate, 2.0, 1)]
    found = one(toy, runs)
    assert found.spread == 0.0 and found.noise == 0.0
    assert found.noise_share is None
    json.dumps(found.described, allow_nan=False)
    assert len(lines(toy, [found], {})) == 2


def test_summarize__maximized_objective__best_is_the_highest():
    toy = family(objective=Metric("loss", direction="max"))
    runs = [run_of(toy, 0.1, 2.0), run_of(toy, 0.2, 3.0), run_of(toy, 0.4, 1.0)]
    found = one(toy, runs)
    assert (found.best, found.best_value) == ({"lr": 0.2}, 3.0)
    assert found.spread == 1.0


def secondary_runs(toy):
    return [
        run_of(toy, 0.1, 2.0, accuracy=0.3, perplexity=9.0),
        run_of(toy, 0.2, 1.0, accuracy=0.9, perplexity=7.0),
        run_of(toy, 0.4, 3.0, accuracy=0.5, perplexity=8.0),
    ]


def test_summarize__other_metric_with_its_own_direction__is_told_as_logged():
    """The family minimizes its loss; accuracy is to be maximized."""
    toy = family(secondary=(ACCURACY, Metric("perplexity", direction="min")))
    runs = secondary_runs(toy)
    found = one(toy, runs, "accuracy")
    assert (found.best, found.best_value) == ({"lr": 0.2}, 0.9)
    assert found.spread == pytest.approx(0.4)
    other = one(toy, runs, "perplexity")
    assert (other.best_value, other.spread) == (7.0, 1.0)


def test_summarize__minimized_metric_of_a_maximizing_family__is_told_as_logged():
    toy = family(
        objective=Metric("loss", direction="max"),
        secondary=(Metric("perplexity", direction="min"),),
    )
    found = one(toy, secondary_runs(toy), "perplexity")
    assert (found.best, found.best_value) == ({"lr": 0.2}, 7.0)


def test_summarize__metric_nobody_declared__names_the_known():
    toy = family(secondary=(ACCURACY,))
    with pytest.raises(UnknownNameError, match="accuracy"):
        summarize(toy, secondary_runs(toy), "acuracy")


def test_runs_by_level__undeclared_or_cut_off__are_left_out():
    toy = family()
    whole = run_of(toy, 0.1, 2.0)
    foreign = run_of(family(name="other"), 0.1, 2.0)
    found = runs_by_level(toy, [whole, foreign, whole[:1], whole[1:]])
    assert list(found) == ["a1"] and len(found["a1"]) == 1


def test_summarize__several_levels__come_in_the_ladders_order():
    small, large = level("a1"), level("b1", settings={"width": 32})
    toy = family(small, large)
    runs = [run_of(toy, 0.1, 2.0, at=large), run_of(toy, 0.1, 3.0, at=small)]
    assert [s.level for s in summarize(toy, runs)] == ["a1", "b1"]


@pytest.mark.parametrize(
    ("rate", "ends"), [(0.1, ("lr",)), (0.8, ("lr",)), (0.2, ()), (0.4, ())]
)
def test_edges__first_or_last_of_four_values__is_named(rate, ends):
    assert edges(family(), {"lr": rate}) == ends


def test_edges__knob_of_three_values__has_none():
    space = Space((Knob("lr", "log", (0.1, 0.2, 0.4)),))
    assert edges(family(space=space), {"lr": 0.1}) == ()


@FEW
@given(st.integers(2, 6), st.integers(2, 4), st.integers(0, 10_000))
def test_cell_noise__whole_table__is_two_way_analysis_of_variance(
    n_cells, n_seeds, seed
):
    """By the residuals of least squares on cells and seeds."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n_cells, n_seeds))
    cells = [dict(enumerate(map(float, row))) for row in y]
    design = np.column_stack(
        [
            np.kron(np.eye(n_cells), np.ones((n_seeds, 1))),
            np.kron(np.ones((n_cells, 1)), np.eye(n_seeds)),
        ]
    )
    fitted = design @ np.linalg.lstsq(design, y.ravel(), rcond=None)[0]
    freedom = (n_cells - 1) * (n_seeds - 1)
    variance = float(np.sum((y.ravel() - fitted) ** 2)) / freedom
    for over in (1, 2, 5):
        assert cell_noise(cells, over) == pytest.approx(
            math.sqrt(variance / over), abs=1e-9
        )


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [{0: 1.0}, {0: 2.0}],
        [{0: 1.0, 1: 2.0}],
        [{0: 1.0, 1: 2.0}, {2: 1.0, 3: 2.0}],
        [{0: 1.0, 1: math.nan}, {0: 1.0, 1: 2.0}],
    ],
)
def test_cell_noise__too_few_replicas__is_not_known(cells):
    assert cell_noise(cells, 1) is None


def test_cell_noise__cells_with_more_seeds__count_by_the_common_ones():
    cells = [{0: 1.0, 1: 1.5}, {0: 2.0, 1: 2.1}, {0: 3.0, 1: 3.2, 2: 99.0}]
    same = [{s: c[s] for s in (0, 1)} for c in cells]
    assert cell_noise(cells, 1) == cell_noise(same, 1)


def two_levels():
    small, large = level("a1"), level("b1", settings={"width": 32})
    return family(small, large), small, large


@pytest.mark.parametrize(
    ("above", "correlation"),
    [((1, 2, 3, 4), 1.0), ((4, 3, 2, 1), -1.0), ((1, 3, 2, 4), 0.8)],
)
def test_rank_correlations__shared_cells__are_spearmans(above, correlation):
    toy, small, large = two_levels()
    rates = (0.1, 0.2, 0.3, 0.4)
    runs = [run_of(toy, r, float(i), at=small) for i, r in enumerate(rates)]
    runs += [
        run_of(toy, r, float(v), at=large)
        for r, v in zip(rates, above, strict=True)
    ]
    runs.append(run_of(toy, 0.8, 0.0, at=large))  # of one level alone
    (pair,) = rank_correlations(toy, runs).items()
    assert pair[0] == ("a1", "b1")
    assert pair[1] == (pytest.approx(correlation), 4)


def test_rank_correlations__three_shared_cells__say_nothing():
    toy, small, large = two_levels()
    runs = []
    for at in (small, large):
        runs += [run_of(toy, r, r, at=at) for r in (0.1, 0.2, 0.4)]
    assert rank_correlations(toy, runs) == {}


def test_level_means__seeds__are_averaged_by_cell():
    toy = family(level(seeds=(0, 1)))
    runs = [run_of(toy, 0.1, 1.0, 0), run_of(toy, 0.1, 2.0, 1)]
    (means,) = level_means(toy, runs).values()
    assert list(means.values()) == [1.5]


def test_cells_of__same_cell_and_seed_twice__the_last_counts():
    toy = family()
    (runs,) = runs_by_level(
        toy, [run_of(toy, 0.1, 1.0), run_of(toy, 0.1, 2.0)]
    ).values()
    (cell,) = cells_of(toy, runs).values()
    assert cell == {0: 2.0}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"lr": 2.0**-7}, "lr 2^-7"),
        ({"lr": 2.0**-6.5}, "lr 2^-6.5"),
        ({"lr": 0.1}, "lr 0.1"),
        ({"other": 0.25}, "other 0.25"),
        ({"n": 12, "kind": "relu"}, "n 12, kind relu"),
        ({"mix": {"a": 0.7, "b": 0.298, "c": 0.002}}, "mix a=70% b=30%"),
    ],
)
def test_shown__configuration__is_one_line(config, words):
    assert shown(config, family()) == words


def test_lines__level_with_noise_on_an_edge__says_both():
    toy = family(level(seeds=(0, 1)))
    runs = []
    for rate, loss in ((0.1, 1.0), (0.2, 2.0), (0.4, 3.0), (0.8, 4.0)):
        runs += [
            run_of(toy, rate, loss, 0),
            run_of(toy, rate, loss + 0.1 * rate, 1),
        ]
    found = one(toy, runs)
    text = lines(toy, [found], {("a1", "b1"): (0.5, 7)})
    assert "edge: lr" in text[1] and "%)" in text[1]
    assert text[-1].endswith("a1-b1 0.50 (7)")


def test_targets__family_with_more__come_after_its_objective():
    toy = family(secondary=(ACCURACY,), more_targets=("accuracy",))
    assert targets(toy) == ["loss", "accuracy"]


def test_qualities__noise_that_is_not_known__does_not_fit_and_shows_a_dash():
    toy = family()
    runs = [run_of(toy, 0.1, 2.0), run_of(toy, 0.2, 3.0)]
    (found,) = qualities(toy, "ladder", runs)
    assert not found.fits and found.edges == ("lr",)
    assert "     -  on an edge: lr" in shown_qualities([found])


@FEW
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.1, 0.2, 0.4, 0.8]),
            st.integers(0, 2),
            st.sampled_from([1.0, 2.0, 2.5, None, math.inf, math.nan]),
            st.sampled_from(["finished", "diverged", "failed"]),
        ),
        max_size=12,
    )
)
def test_summarize__any_runs__is_plain_json(listed):
    toy = family(level(seeds=(0, 1, 2)))
    runs = [run_of(toy, r, loss, s, status) for r, s, loss, status in listed]
    for found in summarize(toy, runs):
        json.dumps(found.described, allow_nan=False)
        assert found.spread >= 0
    assert lines(toy, summarize(toy, runs), rank_correlations(toy, runs))
