"""Each rule against its definition, written again in a few lines: what it asks for
first, and what it does not care about.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata

from autollm.core.spaces.distances import squared_distances
from autollm.gym.tasks.episode import start
from autollm.policies.base import (
    assign_nearest,
    describe,
    grid_steps,
    neighbour_gap,
)
from autollm.policies.interpolation import N_NEAREST, interpolate, lowest
from autollm.policies.multifidelity.climbing import (
    ETA,
    costs_from,
    ladder_of,
    sizes_of,
)
from autollm.policies.multifidelity.halving import rungs_of
from autollm.policies.registry import make_policy
from autollm.policies.rules.portfolio import ranks_of
from autollm.policies.rules.step_law import step_law
from tests.unit.gym.tables import (
    FAMILIES,
    make_family_table,
    make_table,
    make_task,
    with_curves,
)

TABLE = make_table(noise=0.02)
RULES = (
    "copy-nearest",
    "copy-largest",
    "portfolio",
    "power-law",
    "moving-bowl",
    "parametrization-rule",
    "pool-centre",
    "step-law",
)
"""Policies that draw nothing: the same evidence, the same answer."""
SCALE_FREE = (
    "copy-nearest",
    "copy-largest",
    "portfolio",
    "power-law",
    "moving-bowl",
    "parametrization-rule",
    "gp",
    "trees",
)


def view_of(table=TABLE, seed=0, **changes):
    return start(make_task(table, **changes), table, seed).drawn.view


def begun(policy_id, view):
    policy = make_policy(policy_id)
    policy.reset(view, np.random.default_rng(0))
    return policy


def with_evidence(view, changed):
    """The view with `changed(experiment)` for each experiment of its evidence."""
    return replace(view, evidence=tuple(map(changed, view.evidence)))


@pytest.mark.parametrize("policy_id", RULES)
def test_rule__rows_in_another_order__proposes_the_same(policy_id):
    view = view_of()
    rng = np.random.default_rng(3)

    def shuffled(experiment):
        order = rng.permutation(len(experiment.points))
        return replace(
            experiment,
            points=experiment.points[order],
            loss=experiment.loss[order],
            diverged=experiment.diverged[order],
        )

    moved = with_evidence(view, shuffled)
    assert begun(policy_id, view).ask(3) == begun(policy_id, moved).ask(3)


@pytest.mark.parametrize("policy_id", SCALE_FREE)
@pytest.mark.parametrize(("scale", "shift"), [(4.0, 0.0), (0.01, -50.0)])
def test_rule__losses_in_another_unit__proposes_the_same(
    policy_id, scale, shift
):
    """Each experiment may count its loss in a unit of its own."""
    view = view_of()
    moved = with_evidence(
        view, lambda e: replace(e, loss=e.loss * scale + shift)
    )
    assert begun(policy_id, view).ask() == begun(policy_id, moved).ask()


@pytest.mark.parametrize("policy_id", RULES)
def test_rule__other_seed_of_its_own__proposes_the_same(policy_id):
    view = view_of()
    one, other = make_policy(policy_id), make_policy(policy_id)
    one.reset(view, np.random.default_rng(1))
    other.reset(view, np.random.default_rng(2))
    assert one.ask(4) == other.ask(4)


def test_random__many_seeds__every_candidate_comes_first_about_as_often():
    view = view_of()
    firsts = np.zeros(len(view.candidates))
    for seed in range(700):
        policy = make_policy("random")
        policy.reset(view, np.random.default_rng(seed))
        firsts[int(np.argmin(policy.scores()))] += 1
    # 20 expected each; a deviation of five standard errors is no chance
    assert (np.abs(firsts - 20) < 5 * math.sqrt(20)).all()


@pytest.mark.parametrize("setting", ["declared", "pool-visible"])
def test_oracle__any_setting__takes_rows_in_the_order_of_the_smoothed_table(
    setting,
):
    episode = start(make_task(TABLE, setting=setting, trials=6), TABLE, 2)
    policy = make_policy("oracle")
    policy.reset(episode.drawn.view, np.random.default_rng(0))
    policy.reset_with_target(episode)
    rows = []
    while not episode.done:
        trial = episode.run(policy.ask()[0])
        policy.tell(trial)
        rows.append(trial.row)
    assert rows == np.argsort(episode.latent, kind="stable")[:6].tolist()
    # later ones may be luckier in the recorded table, and worse in the smoothed one
    assert episode.regret_curve(latent=True)[0] == 0.0
    assert "smoothed table" in policy.explain()


def test_oracle__target_not_shown__has_no_preference():
    policy = begun("oracle", view_of())
    assert (policy.scores() == 0).all()


@pytest.mark.parametrize("policy_id", ["copy-nearest", "copy-largest"])
@pytest.mark.parametrize("seed", range(4))
def test_copying__pool__takes_the_nearest_free_candidate_row_by_row(
    policy_id, seed
):
    view = view_of(seed=seed, setting="pool-visible")
    model = view.evidence[-1]
    free = list(range(len(view.candidates)))
    expected = []
    for row in np.argsort(model.loss, kind="stable")[:8]:
        apart = [math.dist(model.points[row], view.candidates[c]) for c in free]
        expected.append(free.pop(int(np.argmin(apart))))
    found = np.argsort(begun(policy_id, view).scores(), kind="stable")[:8]
    assert found.tolist() == expected


def test_copying__no_evidence__says_so():
    policy = begun("copy-nearest", view_of(evidence=()))
    assert policy.explain() == "no cheap experiment to copy: drawn at random"


def test_portfolio__members__are_the_greedy_choice_by_brute_force():
    view = view_of(trials=2)
    policy = begun("portfolio", view)
    n = len(view.candidates)
    chosen = []
    for _ in range(6):
        rest = [c for c in range(n) if c not in chosen]

        def best_ranks(candidate, chosen=tuple(chosen)):
            members = [*chosen, candidate]
            return policy.ranks[:, members].min(axis=1).mean()

        lowest_mean = min(best_ranks(c) for c in rest)
        tied = [c for c in rest if best_ranks(c) <= lowest_mean + 1e-12]
        chosen.append(min(tied, key=lambda c: (policy.ranks[:, c].mean(), c)))
    found = np.argsort(policy.scores(), kind="stable")[:6]
    assert found.tolist() == chosen


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=12).map(
        lambda values: np.array(values, dtype=float)
    )
)
def test_ranks_of__any_values__are_scipys_mean_ranks_from_zero_to_one(values):
    expected = (rankdata(values) - 1) / max(len(values) - 1, 1)
    assert ranks_of(values) == pytest.approx(expected)


POINTS = st.integers(1, 9).flatmap(
    lambda n: arrays(np.float64, (n, 2), elements=st.floats(-10, 10, width=16))
)


@given(POINTS, POINTS)
def test_interpolate__any_rows__lies_between_the_nearest_values(rows, wanted):
    values = np.arange(float(len(rows)))
    found = interpolate(wanted, rows, values)
    k = min(N_NEAREST, len(rows))
    for point, value in zip(wanted, found, strict=True):
        apart = np.sum((rows - point) ** 2, axis=1)
        # rows that may be among the nearest but for rounding
        near = apart <= np.sort(apart)[k - 1] + 1e-6
        assert values[near].min() - 1e-6 <= value <= values[near].max() + 1e-6


@given(POINTS)
def test_interpolate__at_a_recorded_row__is_the_recorded_value(rows):
    rows = np.unique(rows, axis=0)
    values = np.cos(np.arange(len(rows)))
    gaps = squared_distances(rows) + np.eye(len(rows))
    if gaps.min() > 0.01:
        assert interpolate(rows, rows, values) == pytest.approx(
            values, abs=1e-5
        )


def test_interpolate__halfway_between_two_rows__is_their_mean():
    rows = np.array([[0.0], [2.0]])
    found = interpolate(np.array([[1.0]]), rows, np.array([3.0, 5.0]))
    assert found == pytest.approx([4.0])


def test_interpolate__inverse_squares_of_distances__by_hand():
    """Weights 1 and 1/4 at distances 1 and 2."""
    rows = np.array([[0.0], [3.0]])
    found = interpolate(np.array([[1.0]]), rows, np.array([0.0, 10.0]))
    assert found == pytest.approx([10 * 0.25 / 1.25])


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.integers(1, 8)),
        elements=st.integers(0, 3).map(float),
    ),
    st.data(),
)
def test_lowest__any_values__is_the_head_of_a_stable_argsort(values, data):
    k = data.draw(st.integers(1, values.shape[1]))
    expected = np.argsort(values, axis=1, kind="stable")[:, :k]
    assert np.array_equal(lowest(values, k), expected)


@given(POINTS, POINTS)
def test_assign_nearest__any_points__each_takes_the_nearest_left(
    candidates, points
):
    claimed = assign_nearest(candidates, points)
    taken = claimed[claimed >= 0]
    assert len(set(taken.tolist())) == len(taken)
    assert len(taken) == min(len(candidates), len(points))
    free = set(range(len(candidates)))
    for point, choice in zip(points, claimed, strict=True):
        if choice < 0:
            assert not free
            continue
        best = min(math.dist(candidates[c], point) for c in free)
        assert math.dist(candidates[choice], point) <= best + 1e-4
        free.remove(int(choice))


def test_neighbour_gap__every_family_with_a_grid__is_brute_force():
    for family in ("pretraining", "rl_tuning"):
        space = FAMILIES[family]
        apart = np.sqrt(squared_distances(space.grid))
        np.fill_diagonal(apart, np.inf)
        assert neighbour_gap(space) == pytest.approx(apart.min(axis=1))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_grid_steps__every_family__has_one_for_each_coordinate(family):
    view = view_of(make_family_table(family))
    steps = grid_steps(view)
    assert steps.shape == (len(view.space),)
    assert (steps > 0).all()
    if family == "pretraining":
        assert steps.tolist() == [0.5, 1.0]


def test_describe__configuration__rounds_floats_and_keeps_the_rest():
    assert describe({"lr": 0.00123456, "opt": "adam", "n": 12345}) == (
        "lr 0.00123, opt adam, n 12345"
    )
    assert describe({}) == ""


def test_step_law__published_formula__by_hand():
    rate, batch = step_law(1e9, 2e10)
    assert rate == pytest.approx(
        math.exp(
            math.log(1.79) - 0.713 * math.log(1e9) + 0.307 * math.log(2e10)
        )
    )
    assert batch == pytest.approx(0.58 * math.exp(0.571 * math.log(2e10)))
    assert 1e-4 < rate < 2e-3 and 2e5 < batch < 1e6


def test_step_law__twice_the_tokens__moves_by_its_exponents():
    one, two = step_law(1e8, 1e10), step_law(1e8, 2e10)
    assert two[0] / one[0] == pytest.approx(2**0.307)
    assert two[1] / one[1] == pytest.approx(2**0.571)


def test_step_law_policy__optimum_beyond_the_window__is_at_its_edge():
    view = view_of()
    low, high = view.space.window
    policy = begun("step-law", view)
    assert (policy.centre >= low).all() and (policy.centre <= high).all()
    rate, batch = step_law(
        view.target_fidelity["params"], view.target_fidelity["tokens"]
    )
    expected = np.clip(np.log2([rate, batch]), low, high)
    assert policy.centre == pytest.approx(expected)


def test_pool_centre__pool__is_nearest_to_the_mean_of_the_rows():
    view = view_of(setting="pool-visible")
    centre = view.candidates.mean(axis=0)
    apart = [math.dist(c, centre) for c in view.candidates]
    first = view.space.encode(begun("pool-centre", view).ask()[0])
    assert math.dist(first, centre) == pytest.approx(min(apart))


def test_power_law__noise_free_bowls_on_a_line__finds_the_targets_optimum():
    """Optima at -7.5 - i/2 and 7 + i/2: the fourth is at -9 and 8.5."""
    table = make_table(n_experiments=4)
    policy = begun("power-law", view_of(table))
    assert policy.centre == pytest.approx([-9.0, 8.5], abs=0.3)
    assert "3 fitted optima" in policy.explain()
    near, far = (
        table.experiments[0].space.decode(np.array(point))
        for point in ([-9.0, 8.5], [-7.0, 6.0])
    )
    mean, sd = policy.predict([near, far])
    assert mean[0] < mean[1] and (sd > 0).all()


@pytest.mark.parametrize(
    "policy_id", ["power-law", "parametrization-rule", "moving-bowl"]
)
def test_predictive_rule__no_evidence__expects_nothing(policy_id):
    view = view_of(evidence=())
    policy = begun(policy_id, view)
    here = view.space.decode(view.candidates[0])
    mean, sd = policy.predict([here, here])
    assert np.isnan(mean).all() or np.isfinite(sd).all()
    assert mean.shape == sd.shape == (2,)


COSTS = st.lists(st.floats(0.001, 1.0), min_size=1, max_size=4).map(sorted)


@given(COSTS, st.floats(0.0, 20.0), st.integers(1, 60))
def test_sizes_of__any_ladder__is_the_most_that_the_budget_pays(
    costs, budget, most
):
    sizes = sizes_of(costs, budget, most)

    def price(n):
        return sum(math.ceil(n / ETA**r) * cost for r, cost in enumerate(costs))

    if not sizes:
        assert price(1) > budget
        return
    assert sizes == [math.ceil(sizes[0] / ETA**r) for r in range(len(costs))]
    assert price(sizes[0]) <= budget + 1e-6
    assert sizes[0] == most or price(sizes[0] + 1) > budget


def charged_view(**changes):
    return view_of(
        evidence=(), charged=("toy:0", "toy:1", "toy:2"), trials=10, **changes
    )


def test_ladder_of__charged_view__rises_by_eta_at_least():
    ladder = ladder_of(charged_view(), ())
    costs = [rung.cost for rung in ladder]
    assert [rung.experiment for rung in ladder] == [
        "toy:0",
        "toy:1",
        "toy:2",
        "",
    ]
    assert costs == [1 / 4096, 1 / 256, 1 / 16, 1.0]
    for low, high in itertools.pairwise(costs):
        assert high >= ETA * low
    assert costs_from(ladder, 1) == costs[1:]


def test_costs_from__runs_that_may_be_paused__are_paid_once():
    curves = with_curves(TABLE)
    view = view_of(curves, pausable=True, evidence=())
    ladder = ladder_of(view, (1 / 3, 1 / 9))
    assert [rung.share for rung in ladder] == [1 / 9, 1 / 3, 1.0]
    assert sum(costs_from(ladder, 0)) == pytest.approx(1.0)
    assert costs_from(ladder, 2) == [1.0]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 9])
def test_rungs_of__evidence__ends_with_the_most_expensive(n):
    view = view_of()
    rungs = rungs_of(view.evidence, n)
    assert len(rungs) == min(n, 3)
    if rungs:
        assert rungs[-1] is view.evidence[-1]


def test_successive_halving__noise_free__promotes_the_better_third_of_each_rung():
    view = view_of(trials=2)
    policy = begun("successive-halving", view)
    order = np.argsort(policy.scores(), kind="stable")
    alive = order[: policy.n_started]
    last = policy.rungs[-1]
    u = interpolate(view.candidates, last.points, last.loss)
    survivors = alive[: max(2, len(alive) // ETA ** len(policy.rungs))]
    assert u[survivors].max() <= np.median(u[alive])


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(
        ["successive-halving", "asha", "hyperband", "mf-gp", "random"]
    ),
    st.integers(0, 1000),
)
def test_climbing__any_charged_task__ends_with_an_outcome_of_the_target(
    policy_id, seed
):
    """Before what is left would finish no run of the target, one is finished."""
    task = make_task(
        TABLE, evidence=(), charged=("toy:0", "toy:1", "toy:2"), trials=3
    )
    episode = start(task, TABLE, seed)
    policy = make_policy(policy_id)
    policy.reset(episode.drawn.view, np.random.default_rng(seed))
    while not episode.done:
        proposal = policy.ask()[0]
        if isinstance(proposal, tuple):
            policy.tell(episode.run(proposal[1], proposal[0]))
        else:
            policy.tell(episode.run(proposal))
    assert episode.incumbent is not None
    assert episode.ledger.left >= 0
