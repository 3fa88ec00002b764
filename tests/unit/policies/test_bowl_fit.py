"""The joint fit: it finds what was put in, its derivative is right, and its priors hold
where data say nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.episode import start
from autollm.policies.surrogates.bowl_fit import (
    Bowl,
    _predict,
    _residuals,
    fit,
    own_centre,
    prior_bowl,
)
from autollm.policies.surrogates.bowl_rows import FAR, Rows, gather_rows
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(n_experiments=5)


def view_of(**changes):
    return start(make_task(TABLE, **changes), TABLE, 0).drawn.view


def made_rows(
    true: Bowl, rng: np.random.Generator, noise: float = 0.0, n: int = 40
) -> Rows:
    """Rows drawn from a known bowl."""
    n_experiments, (d, f) = len(true.floors), true.slopes.shape
    z = -rng.uniform(1, 6, size=(n_experiments, f))
    c = np.repeat(np.arange(n_experiments), n)
    x = true.centre(z[c]) + rng.uniform(-2.5, 2.5, size=(len(c), d))
    rows = Rows(x, z[c], np.zeros(len(c)), c, n_experiments)
    return Rows(
        x,
        z[c],
        _predict(rows, true) + noise * rng.normal(size=len(c)),
        c,
        n_experiments,
    )


@pytest.mark.parametrize("d", [1, 2, 3])
def test_residuals__jacobian__equals_finite_differences(d: int) -> None:
    rng = np.random.default_rng(d)
    shape = np.triu(rng.normal(size=(d, d)) * 0.3)
    bowl = Bowl(
        rng.normal(size=3) * 0.1,
        rng.normal(size=2) * 0.1,
        shape,
        rng.normal(size=d),
        rng.normal(size=(d, 2)),
        rng.normal(size=d),
    )
    rows = made_rows(bowl, rng, noise=0.1, n=5)
    _, jacobian = _residuals(rows, bowl)
    theta, step = bowl.pack(), 1e-6
    for j in range(len(theta)):
        moved = [
            _predict(
                rows, bowl.moved(theta + sign * step * np.eye(len(theta))[j])
            )
            for sign in (1, -1)
        ]
        assert jacobian[:, j] == pytest.approx(
            (moved[0] - moved[1]) / (2 * step), abs=1e-5
        )


def test_fit__rows_of_a_known_bowl__finds_its_moving_centre() -> None:
    rng = np.random.default_rng(0)
    true = Bowl(
        np.full(6, 0.05),
        np.zeros(2),
        np.array([[-0.3, 0.2], [0.0, -0.6]]),
        np.array([-9.0, 8.0]),
        np.array([[-0.6, 0.1], [0.05, 0.4]]),
        np.array([0.4, -0.3]),
    )
    rows = made_rows(true, rng, noise=0.05)
    prior = Bowl(
        np.full(6, 0.05),
        np.zeros(2),
        np.zeros((2, 2)),
        np.array([-8.0, 7.0]),
        np.array([[-0.5, 0.0], [0.0, 0.5]]),
        np.zeros(2),
    )
    found = fit(rows, prior)
    assert found.optimum == pytest.approx(true.optimum, abs=0.2)
    assert found.slopes == pytest.approx(true.slopes, abs=0.06)
    assert own_centre(rows, found, 2) == pytest.approx(
        true.centre(rows.only(2).z[0]), abs=0.15
    )


def test_fit__a_few_absurd_rows__barely_move_the_centre() -> None:
    rng = np.random.default_rng(1)
    true = Bowl(
        np.full(4, 0.05),
        np.zeros(1),
        np.zeros((1, 1)),
        np.array([2.0]),
        np.array([[0.3]]),
        np.zeros(1),
    )
    rows = made_rows(true, rng, noise=0.03)
    spoilt = Rows(
        rows.x,
        rows.z,
        np.where(np.arange(len(rows.u)) % 20 == 0, 6.0, rows.u),
        rows.c,
        4,
    )
    prior = Bowl(
        np.full(4, 0.05),
        np.zeros(1),
        np.zeros((1, 1)),
        np.array([1.0]),
        np.array([[0.0]]),
        np.zeros(1),
    )
    assert fit(spoilt, prior).optimum == pytest.approx(
        fit(rows, prior).optimum, abs=0.15
    )


def test_fit__no_rows__is_the_prior() -> None:
    view = view_of(evidence=())
    rows = gather_rows(view, np.random.default_rng(0))
    prior = prior_bowl(view, rows)
    assert fit(rows, prior).pack() == pytest.approx(prior.pack())
    assert prior.optimum == pytest.approx(view.space.window.mean(axis=0))


def test_fit__one_size_only__keeps_the_generic_slopes() -> None:
    view = view_of(evidence=("toy:0",))
    rows = gather_rows(view, np.random.default_rng(0))
    assert fit(rows, prior_bowl(view, rows)).slopes == pytest.approx(
        np.array([[-0.5, 0.0], [0.0, 0.5]]), abs=0.05
    )


def test_prior_bowl__knobs_without_a_role__do_not_move() -> None:
    view = view_of()
    assert prior_bowl(
        view, gather_rows(view, np.random.default_rng(0))
    ).slopes == pytest.approx(np.array([[-0.5, 0], [0, 0.5]]))
    space = replace(
        view.space, knobs=tuple(replace(k, role="") for k in view.space.knobs)
    )
    view = replace(view, space=space)
    assert not prior_bowl(
        view, gather_rows(view, np.random.default_rng(0))
    ).slopes.any()


def test_gather_rows__cliff__is_mostly_left_out() -> None:
    view = view_of()
    n_far = sum(int((squash(e.loss) > FAR).sum()) for e in view.evidence)
    rows = gather_rows(view, np.random.default_rng(0))
    n_all = sum(len(e.loss) for e in view.evidence)
    assert n_far > 0 and n_all - n_far <= len(rows.u) < n_all


def bought(view, n: int, best: int = 0):
    """The view with `n` rows of its nearest experiment, those from rank `best` on."""
    last = view.evidence[-1]
    kept = np.argsort(last.loss)[best : best + n]
    few = replace(
        last,
        points=last.points[kept],
        loss=last.loss[kept],
        diverged=last.diverged[kept],
    )
    return replace(view, evidence=(*view.evidence[:-1], few))


def test_gather_rows__experiment_of_few_rows__borrows_its_unit():
    view = view_of()
    rows = gather_rows(bought(view, 2, best=5), np.random.default_rng(0))
    last = len(view.evidence) - 1
    assert rows.few == (last,)
    neighbour = view.evidence[last - 1].loss
    unit = np.median(neighbour) - neighbour.min()
    losses = np.sort(view.evidence[last].loss)[5:7]
    wanted = [0.0, (losses[1] - losses[0]) / unit]
    np.testing.assert_allclose(rows.only(last).u, wanted)


def test_gather_rows__all_experiments_of_few_rows__keep_their_own_unit():
    view = view_of()
    lone = bought(view, 4)
    lone = replace(lone, evidence=lone.evidence[-1:])
    rows = gather_rows(lone, np.random.default_rng(0))
    assert rows.few == ()
    np.testing.assert_allclose(rows.u, squash(lone.evidence[0].loss))


def test_fit__one_bad_run_of_a_near_experiment__hardly_moves_the_optimum():
    """A single row has u = 0 whatever it is worth: its floor has to be free."""
    view = view_of()
    without = replace(view, evidence=view.evidence[:-1])
    n = len(view.evidence[-1].loss)
    optima = []
    for here in (without, bought(view, 1, best=n // 2)):
        rows = gather_rows(here, np.random.default_rng(0))
        optima.append(fit(rows, prior_bowl(here, rows)).optimum)
    assert np.abs(optima[1] - optima[0]).max() < 0.1


@pytest.mark.parametrize(
    "names", [("params", "completions"), ("completions", "params")]
)
def test_prior_bowl__data_under_another_name__in_any_order_it_moves_batches(
    names,
):
    view = replace(view_of(), fidelity_names=names)
    rows = gather_rows(view, np.random.default_rng(0))
    slopes = prior_bowl(view, rows).slopes
    roles = [knob.role for knob in view.space.knobs]
    assert slopes[roles.index("rate"), names.index("params")] == -0.5
    assert slopes[roles.index("size"), names.index("completions")] == 0.5
    assert np.count_nonzero(slopes) == 2


def test_gather_rows__nearest_experiment_held_a_knob__others_keep_their_weight():
    view = view_of()
    last = len(view.evidence) - 1
    points = np.array(view.evidence[last].points)
    points[:, 0] = points[0, 0]
    held = replace(view.evidence[last], points=points)
    narrow = replace(view, evidence=(*view.evidence[:last], held))
    rng = np.random.default_rng(0)
    plain = gather_rows(view, rng).nearness
    rows = gather_rows(narrow, np.random.default_rng(0))
    assert rows.narrow == (last,)
    assert rows.nearness[rows.c == last - 1].min() == 1.0
    assert plain[rows.c == last - 1].max() < 1.0
