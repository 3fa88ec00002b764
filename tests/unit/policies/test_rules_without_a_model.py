"""Grid search, portfolio, the published law, halving, the tools' shortlist: what each
one takes first, and why.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.errors import SpaceError
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.view import EvidenceTable, TaskView
from autollm.policies.base import assign_nearest
from autollm.policies.interpolation import interpolate, lowest
from autollm.policies.multifidelity.halving import ETA, rungs_of
from autollm.policies.registry import make_policy
from autollm.policies.rules.portfolio import ranks_of
from autollm.policies.rules.step_law import step_law
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(n_experiments=4)


def begin(policy_id: str, view: TaskView | None = None, **changes):
    view = view or start(make_task(TABLE, **changes), TABLE, 0).drawn.view
    policy = make_policy(policy_id)
    policy.reset(view, np.random.default_rng(0))
    return policy, view


def complete(view: TaskView, losses: list[np.ndarray]) -> TaskView:
    """The view with one experiment for each entry of `losses` [n_candidates], recorded
    at every candidate, ETA times as expensive each.
    """
    evidence = tuple(
        EvidenceTable(
            f"e{i}",
            view.target_z - len(losses) + i,
            view.candidates,
            loss,
            np.zeros(len(loss), bool),
            float(ETA**i),
        )
        for i, loss in enumerate(losses)
    )
    return replace(view, evidence=evidence)


def asked(policy, view: TaskView, n: int) -> list[int]:
    """Indices of the candidates of the first `n` proposals."""
    points = np.array([view.space.encode(c) for c in policy.ask(n)])
    return [
        int(np.argmin(np.abs(view.candidates - p).sum(axis=1))) for p in points
    ]


def test_claim__two_points_at_one_candidate__the_second_takes_the_next() -> (
    None
):
    candidates = np.array([[0.0], [1.0], [5.0]])
    assert assign_nearest(
        candidates, np.array([[0.1], [0.1], [0.0], [9.0]])
    ).tolist() == [
        0,
        1,
        2,
        -1,
    ]


def test_carry__recorded_and_missing_configurations__are_the_row_and_the_mean_of_its_neighbours() -> (
    None
):
    points, values = (
        np.array(
            [[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0], [50.0, 50.0]]
        ),
        np.array([1.0, 2.0, 3.0, 6.0, 99.0]),
    )
    assert interpolate(
        np.array([[2.0, 2.0], [1.0, 1.0]]), points, values
    ) == pytest.approx([6.0, 3.0])
    assert interpolate(points, points[:1], values[:1]) == pytest.approx(
        np.ones(5)
    ), "one row says the same everywhere"


@given(
    st.lists(
        st.lists(st.integers(0, 4), min_size=7, max_size=7),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 7),
)
def test_carry__nearest_rows__are_those_of_a_stable_sort(
    rows: list[list[int]], k: int
) -> None:
    values = np.array(rows, dtype=float)
    assert (
        lowest(values, k).tolist()
        == np.argsort(values, axis=1, kind="stable")[:, :k].tolist()
    )


def test_ranks__equal_values__share_their_mean_rank() -> None:
    assert ranks_of(np.array([3.0, 1.0, 3.0, 2.0, 9.0])) == pytest.approx(
        [0.625, 0.0, 0.625, 0.25, 1.0]
    )


def test_portfolio__experiments_that_disagree__covers_both_after_the_common_compromise() -> (
    None
):
    _, view = begin("portfolio", setting="pool-visible", trials=3)
    n = len(view.candidates)
    first, second = (
        np.arange(n, dtype=float) + 10,
        np.arange(n, dtype=float)[::-1] + 10,
    )
    first[5], second[5] = 2.0, 2.0  # good in both
    first[0], second[n - 1] = 1.0, 1.0  # best in one, worst in the other
    policy, view = begin("portfolio", complete(view, [first, second]))
    assert asked(policy, view, 3)[0] == 5 and set(
        asked(policy, view, 3)[1:]
    ) == {
        0,
        n - 1,
    }
    assert (
        f"better than {1 - policy.ranks[:, 5].mean():.0%}" in policy.explain()
    )


def test_step_law__published_example__is_met() -> None:
    rate, batch_tokens = step_law(1e9, 1e11)
    assert rate == pytest.approx(1.633e-3, rel=0.01)
    assert batch_tokens == pytest.approx(1.106e6, rel=0.01)


def test_step_law__target__takes_the_candidate_nearest_to_the_law() -> None:
    policy, view = begin("step-law")
    law = np.clip(np.log2(step_law(**view.target_fidelity)), *view.space.window)
    first = view.space.encode(policy.ask()[0])
    assert np.linalg.norm(first - law) == pytest.approx(
        np.linalg.norm(view.candidates - law, axis=1).min()
    )


@pytest.mark.parametrize("lacking", ["role", "unit", "tokens"])
def test_step_law__something_it_needs_is_missing__abstains_and_says_what(
    lacking: str,
) -> None:
    _, view = begin("random")
    rate, size = view.space.knobs
    changed = {
        "role": replace(
            view,
            space=replace(view.space, knobs=(replace(rate, role=""), size)),
        ),
        "unit": replace(
            view,
            space=replace(
                view.space, knobs=(rate, replace(size, unit="sequences"))
            ),
        ),
        "tokens": replace(view, target_fidelity={"params": 1e6, "steps": 1e4}),
    }[lacking]
    said = {
        "role": "learning rate .*learning_rate .no role",
        "unit": "batch size in tokens .*sequences",
        "tokens": "params, steps",
    }[lacking]
    with pytest.raises(
        SpaceError, match=said + ".*Fix: leave policy 'step-law' out"
    ):
        begin("step-law", changed)


def test_rungs__costs__are_at_least_eta_apart_and_end_at_the_dearest() -> None:
    _, view = begin("random")
    evidence = tuple(
        replace(view.evidence[0], experiment_id=f"e{c}", cost_flops=float(c))
        for c in (1, 2, 3, 8, 10, 29)
    )
    assert [e.experiment_id for e in rungs_of(evidence, 9)] == [
        "e2",
        "e8",
        "e29",
    ]
    assert [e.experiment_id for e in rungs_of(evidence, 2)] == ["e8", "e29"]


def test_successive_halving__every_rung__keeps_its_better_third() -> None:
    _, view = begin(
        "successive-halving",
        setting="pool-visible",
        target_rows="all",
        trials=3,
    )
    n = len(view.candidates)
    cheap, expensive = (
        np.arange(n, dtype=float),
        np.arange(n, dtype=float)[::-1],
    )
    policy, view = begin(
        "successive-halving", complete(view, [cheap, expensive])
    )
    assert policy.n_started == 27 and [
        r.experiment_id for r in policy.rungs
    ] == [
        "e0",
        "e1",
    ]
    started = np.sort(np.random.default_rng(0).permutation(n)[:27])
    survivors = started[
        :9
    ][
        ::-1
    ][
        :3
    ]  # the nine lowest on the cheap rung, of those the three lowest on the expensive one
    assert asked(policy, view, 3) == survivors.tolist()


def test_asha__rungs__promote_without_waiting_for_all() -> None:
    _, view = begin("asha", setting="pool-visible", target_rows="all", trials=2)
    n = len(view.candidates)
    loss = np.arange(n, dtype=float)
    policy, view = begin("asha", complete(view, [loss, loss]))
    order = np.random.default_rng(0).permutation(n)
    # The upper rung lets one go when it holds three, and the lower one has let three go
    # after nine starts at most.
    assert asked(policy, view, 1)[0] in {order[:m].min() for m in range(3, 10)}
    assert len(set(asked(policy, view, n))) == n


@pytest.mark.parametrize("policy_id", ["successive-halving", "asha"])
def test_halving__no_evidence__starts_at_random(policy_id: str) -> None:
    policy, view = begin(policy_id, evidence=())
    assert policy.rungs == [] and "no cheap experiment" in policy.explain()
    assert (
        asked(policy, view, 2)
        == np.random.default_rng(0)
        .permutation(len(view.candidates))[:2]
        .tolist()
    )


def test_tool_follower__shortlist__takes_the_tools_in_turn() -> None:
    policy, view = begin("tool-follower")
    distinct = list(dict.fromkeys(policy.firsts.values()))
    assert list(policy.firsts) == ["bowl", "pooled centre", "power law", "GP"]
    assert asked(policy, view, len(distinct)) == distinct
    assert policy.firsts["power law"] == asked(*begin("power-law"), 1)[0]
    assert "bowl: learning_rate" in policy.explain()


def test_tool_follower__no_evidence__pools_nothing_and_takes_the_middle() -> (
    None
):
    policy, view = begin("tool-follower", evidence=())
    assert view.candidates[policy.firsts["pooled centre"]] == pytest.approx(
        view.space.window.mean(axis=0)
    )
