"""Rules: what they copy, where they look, what a snap teaches them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.gym.tasks.episode import Trial, start
from autollm.gym.tasks.task import Constraint
from autollm.policies.base import neighbour_gap
from autollm.policies.registry import make_policy
from autollm.policies.surrogates.spread import expected_spread
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(n_experiments=4)


def begin(policy_id: str, **changes):
    view = start(make_task(TABLE, **changes), TABLE, 0).drawn.view
    policy = make_policy(policy_id)
    policy.reset(view, np.random.default_rng(0))
    return policy, view


@pytest.mark.parametrize("policy_id", ["copy-nearest", "copy-largest"])
def test_copying__first_proposals__are_the_best_rows_of_the_dearest(
    policy_id: str,
) -> None:
    policy, view = begin(policy_id)
    model = view.evidence[-1]
    best = model.points[np.argsort(model.loss)[:3]]
    assert [
        view.space.encode(c).tolist() for c in policy.ask(3)
    ] == best.tolist()


def test_copying__best_row_beyond_the_constraint__is_not_copied() -> None:
    policy, view = begin("copy-largest", setting="pool-visible")
    points = np.array([[-9.0, 7.0], [-8.0, 7.0], [-3.0, 7.0]])
    model = replace(
        view.evidence[-1],
        points=points,
        loss=np.array([1.0, 2.0, 0.0]),
        diverged=np.zeros(3, dtype=bool),
    )
    posed = replace(view, candidates=points[:2], evidence=(model,))
    for constraints, first in (
        ((), [-8.0, 7.0]),
        ((Constraint("params", most=1e6),), [-9.0, 7.0]),
    ):
        policy.reset(
            replace(posed, constraints=constraints), np.random.default_rng(0)
        )
        assert view.space.encode(policy.ask()[0]).tolist() == first, (
            "[-8, 7] is nearest to the best row, and stands for another"
        )


def test_copy_nearest__cheaper_experiment_at_the_target_s_own_size__is_copied() -> (
    None
):
    policy, view = begin("copy-nearest")
    near = replace(
        view.evidence[0], z=view.target_z - 0.1, experiment_id="near"
    )
    policy.reset(
        replace(view, evidence=(near, *view.evidence[1:])),
        np.random.default_rng(0),
    )
    assert policy.model.experiment_id == "near"
    far = make_policy("copy-largest")
    far.reset(
        replace(view, evidence=(near, *view.evidence[1:])),
        np.random.default_rng(0),
    )
    assert far.model.experiment_id == view.evidence[-1].experiment_id


def test_pool_centre__declared__is_the_middle_of_the_window_whatever_the_evidence() -> (
    None
):
    policy, view = begin("pool-centre")
    assert view.space.encode(policy.ask()[0]) == pytest.approx(
        view.space.window.mean(axis=0)
    )
    assert begin("pool-centre", evidence=())[0].ask(3) == policy.ask(3)


def test_pool_centre__rows_listed_beside_a_window__aims_at_the_window_s_middle() -> (
    None
):
    _, view = begin("pool-centre")
    corner = view.candidates[
        view.candidates.sum(axis=1) <= np.median(view.candidates.sum(axis=1))
    ]
    listed, rows = make_policy("pool-centre"), make_policy("pool-centre")
    listed.reset(
        replace(view, candidates=corner, lists_rows=True),
        np.random.default_rng(0),
    )
    rows.reset(
        replace(
            view, candidates=corner, lists_rows=True, setting="pool-visible"
        ),
        np.random.default_rng(0),
    )
    assert listed.centre.tolist() == view.space.window.mean(axis=0).tolist()
    assert (
        rows.centre.tolist()
        == corner.mean(axis=0).tolist()
        != listed.centre.tolist()
    )


def test_power_law__optima_on_a_line__extrapolates_it() -> None:
    policy, _ = begin("power-law")
    assert policy.centre == pytest.approx([-9.0, 8.5], abs=0.3)


def test_random__all_candidates__come_once() -> None:
    policy, view = begin("random")
    assert len(
        {tuple(c.values()) for c in policy.ask(len(view.candidates))}
    ) == len(view.candidates)


def test_ranking__snapped_proposal__is_blocked_with_the_row_it_fell_on() -> (
    None
):
    policy, view = begin("random")
    proposal = policy.ask()[0]
    point = view.space.encode(proposal)
    row = point + np.array([0.5, 0.0])
    policy.tell(
        Trial(
            1,
            "ok",
            view.space.decode(row),
            tuple(row),
            3,
            distance=0.5,
            loss=2.0,
        )
    )
    again = [
        view.space.encode(c).tolist()
        for c in policy.ask(len(view.candidates) - 2)
    ]
    assert point.tolist() not in again and row.tolist() not in again


def test_ranking__row_between_levels__blocks_the_levels_that_stand_for_it() -> (
    None
):
    policy, view = begin("random")
    row = view.candidates[12] + np.array([0.1, 0.0])
    policy.tell(Trial(1, "ok", view.space.decode(row), tuple(row), 3, loss=2.0))
    assert policy._spent.sum() == 1 and policy._spent[12]


def test_expected_spread__growing_spread__is_extrapolated_within_bounds() -> (
    None
):
    _, view = begin("random")
    grown = tuple(
        replace(e, loss=e.loss * 2**i) for i, e in enumerate(view.evidence)
    )
    spreads = [np.median(e.loss) - e.loss.min() for e in grown]
    assert (
        spreads[1]
        < expected_spread(replace(view, evidence=grown))
        <= np.e * max(spreads)
    )
    assert expected_spread(replace(view, evidence=())) == 1.0


def checkerboard():
    """The toy table with every second cell of the target missing."""
    table = TABLE
    target = len(table.experiments) - 1
    n_knob = len(table.experiments[0].space.knobs[1].levels)
    i = np.arange(len(table.points[target]))
    keep = np.concatenate(
        [
            np.ones(table.offsets[target], dtype=bool),
            (i // n_knob + i % n_knob) % 2 == 0,
        ]
    )
    offsets = table.offsets.copy()
    offsets[-1] = keep.sum()
    points = (
        *table.points[:-1],
        table.points[-1][keep[table.offsets[target] :]],
    )
    return replace(
        table,
        offsets=offsets,
        points=points,
        columns={name: c[keep] for name, c in table.columns.items()},
    )


@pytest.mark.parametrize("policy_id", ["pool-centre", "moving-bowl"])
def test_ranking__half_the_grid_missing__mostly_avoids_repeats(
    policy_id: str, monkeypatch
) -> None:
    def n_repeated() -> int:
        table, total = checkerboard(), 0
        for seed in range(6):
            episode = start(
                make_task(table, trials=6, target_rows="all"), table, seed
            )
            policy = make_policy(policy_id)
            policy.reset(episode.drawn.view, np.random.default_rng(seed))
            while not episode.done:
                policy.tell(episode.run(policy.ask()[0]))
            total += sum(t.status == "repeated" for t in episode.trials)
        return total

    careful = n_repeated()
    monkeypatch.setattr(
        "autollm.policies.base.RankingPolicy._may_repeat",
        lambda self, spent: np.zeros(len(spent), dtype=bool),
    )
    assert careful < n_repeated()


def test_neighbour_gap__uneven_levels__is_the_shorter_side() -> None:
    space = Space(
        (Knob("a", "log", (1.0, 2.0, 16.0)), Knob("b", "log", (1.0, 4.0)))
    )
    assert neighbour_gap(space).tolist() == [1.0, 1.0, 1.0, 1.0, 2.0, 2.0]
