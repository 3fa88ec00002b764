"""Rules: what they copy, where they look, what a snap teaches them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autollm.gym.episode import Trial, start
from autollm.policies import make_policy
from autollm.policies.spread import expected_spread
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(n_experiments=4)


def begin(policy_id: str, **changes):
    view = start(make_task(TABLE, **changes), TABLE, 0).drawn.view
    policy = make_policy(policy_id)
    policy.reset(view, np.random.default_rng(0))
    return policy, view


@pytest.mark.parametrize("policy_id", ["copy-nearest", "copy-largest"])
def test_copying__first_proposals__are_the_best_rows_of_the_dearest(policy_id: str) -> None:
    policy, view = begin(policy_id)
    model = view.evidence[-1]
    best = model.points[np.argsort(model.loss)[:3]]
    assert [view.space.encode(c).tolist() for c in policy.ask(3)] == best.tolist()


def test_copy_nearest__cheaper_experiment_at_the_target_s_own_size__is_copied() -> None:
    policy, view = begin("copy-nearest")
    near = replace(view.evidence[0], z=view.target_z - 0.1, experiment_id="near")
    policy.reset(replace(view, evidence=(near, *view.evidence[1:])), np.random.default_rng(0))
    assert policy.model.experiment_id == "near"
    far = make_policy("copy-largest")
    far.reset(replace(view, evidence=(near, *view.evidence[1:])), np.random.default_rng(0))
    assert far.model.experiment_id == view.evidence[-1].experiment_id


def test_pool_centre__declared__is_the_middle_of_the_window_whatever_the_evidence() -> None:
    policy, view = begin("pool-centre")
    assert view.space.encode(policy.ask()[0]) == pytest.approx(view.space.window.mean(axis=0))
    assert begin("pool-centre", evidence=())[0].ask(3) == policy.ask(3)


def test_power_law__optima_on_a_line__extrapolates_it() -> None:
    policy, _ = begin("power-law")
    assert policy.centre == pytest.approx([-9.0, 8.5], abs=0.3)


def test_random__all_candidates__come_once() -> None:
    policy, view = begin("random")
    assert len({tuple(c.values()) for c in policy.ask(len(view.candidates))}) == len(view.candidates)


def test_ranking__snapped_proposal__is_blocked_with_the_row_it_fell_on() -> None:
    policy, view = begin("random")
    proposal = policy.ask()[0]
    point = view.space.encode(proposal)
    row = point + np.array([0.5, 0.0])
    policy.tell(Trial(1, "ok", view.space.decode(row), tuple(row), 3, distance=0.5, loss=2.0))
    again = [view.space.encode(c).tolist() for c in policy.ask(len(view.candidates) - 2)]
    assert point.tolist() not in again and row.tolist() not in again


def test_ranking__row_between_levels__blocks_the_levels_that_stand_for_it() -> None:
    policy, view = begin("random")
    row = view.candidates[12] + np.array([0.1, 0.0])
    policy.tell(Trial(1, "ok", view.space.decode(row), tuple(row), 3, loss=2.0))
    assert policy._spent.sum() == 1 and policy._spent[12]


def test_expected_spread__growing_spread__is_extrapolated_within_bounds() -> None:
    _, view = begin("random")
    grown = tuple(replace(e, loss=e.loss * 2**i) for i, e in enumerate(view.evidence))
    spreads = [np.median(e.loss) - e.loss.min() for e in grown]
    assert spreads[1] < expected_spread(replace(view, evidence=grown)) <= np.e * max(spreads)
    assert expected_spread(replace(view, evidence=())) == 1.0
