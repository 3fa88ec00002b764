"""Trees, the two Gaussian-process ensembles, SMAC's forest, Syne Tune's transfer: what
evidence and outcomes do to them.

Those of the extra `baselines` are tested where it is installed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autollm.gym.tasks.episode import Trial, start
from autollm.policies.registry import make_policy, why_absent
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(n_experiments=4, noise=0.01)
LAST_OPTIMUM = np.array([-8.5, 8.0])
"""Of the most expensive experiment but the target, as make_table moves it."""


def begin(policy_id: str, **changes):
    if why_absent(policy_id):
        pytest.skip(why_absent(policy_id))
    view = start(
        make_task(TABLE, target_rows="all", **changes), TABLE, 0
    ).drawn.view
    policy = make_policy(policy_id)
    policy.reset(view, np.random.default_rng(0))
    return policy, view


def told(policy, number: int, point: np.ndarray, loss: float) -> None:
    policy.tell(
        Trial(
            number,
            "ok",
            policy.view.space.decode(point),
            tuple(point.tolist()),
            number,
            loss=loss,
        )
    )


def test_trees__first_proposal__is_near_the_dearest_experiment_s_optimum() -> (
    None
):
    policy, view = begin("trees")
    assert (
        np.abs(view.space.encode(policy.ask()[0]) - LAST_OPTIMUM).max() <= 1.0
    )


def test_gp__fidelity_in_which_the_evidence_does_not_differ__does_not_cut_the_target_off() -> (
    None
):
    policy, view = begin("gp")
    apart = [np.append(e.z, view.target_z[-1] - 20.0) for e in view.evidence]
    evidence = tuple(
        replace(e, z=z) for e, z in zip(view.evidence, apart, strict=True)
    )
    there = replace(
        view,
        evidence=evidence,
        target_z=np.append(view.target_z, view.target_z[-1]),
    )
    other = make_policy("gp")
    other.reset(there, np.random.default_rng(0))
    assert other.ask(5) == policy.ask(5), "as if that coordinate were not there"


@pytest.mark.parametrize("policy_id", ["rgpe", "syne-zeroshot"])
def test_surrogate__first_proposal__lies_amid_the_experiments_optima(
    policy_id: str,
) -> None:
    policy, view = begin(policy_id)
    assert (
        np.abs(view.space.encode(policy.ask()[0]) - np.array([-8.0, 7.5])).max()
        <= 1.0
    )


def test_trees__dreadful_outcomes_where_they_look__look_elsewhere() -> None:
    policy, view = begin("trees")
    first = view.space.encode(policy.ask()[0])
    beside = first + np.array([0.5, 0.0])
    told(policy, 1, first, 2.0)
    told(policy, 2, beside, 9.0)
    told(policy, 3, beside + np.array([0.5, 0.0]), 9.0)
    assert view.space.encode(policy.ask()[0])[0] <= first[0]


def test_trees__flat_leaves__rows_away_from_the_tried_ones_come_earlier() -> (
    None
):
    policy, view = begin("trees")
    first = view.space.encode(policy.ask()[0])
    told(policy, 1, first, 2.4)
    ahead = policy.scores() - policy.model.predict(
        policy._at(policy.candidates, view.target_z)
    )
    distance = np.linalg.norm(policy.candidates - first, axis=1)
    assert ahead[distance == 0] == pytest.approx(0, abs=0.01) and ahead[
        distance >= 2
    ] == pytest.approx(-0.2, abs=0.01)


def test_trees__few_rows__fit_nothing_and_say_so() -> None:
    policy, view = begin("trees")
    few = replace(
        view.evidence[0],
        points=view.evidence[0].points[:7],
        loss=view.evidence[0].loss[:7],
    )
    policy.reset(replace(view, evidence=(few,)), np.random.default_rng(0))
    assert policy.model is None and "fewer than 8 rows" in policy.explain()
    assert view.space.encode(policy.ask()[0]) == pytest.approx(
        view.space.window.mean(axis=0)
    )


def test_rgpe__outcomes_that_one_experiment_orders_right__give_it_the_weight() -> (
    None
):
    policy, _ = begin("rgpe")
    assert policy.weights == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0])
    cheapest = np.array(
        [-7.5, 7.0]
    )  # the target behaves like the cheapest experiment, not like the most expensive
    for number, point in enumerate(
        [
            (-10.0, 10.0),
            (-9.0, 9.0),
            (-8.5, 8.0),
            (-8.0, 7.0),
            (-7.5, 7.0),
            (-7.0, 6.0),
        ],
        start=1,
    ):
        told(
            policy,
            number,
            np.array(point),
            2.0 + 0.1 * float(((np.array(point) - cheapest) ** 2).sum()),
        )
    assert policy.weights.sum() == pytest.approx(1.0)
    assert (
        int(np.argmax(policy.weights[:-1])) == 0
        and "toy:0 weighs" in policy.explain()
    )


def test_smac__outcomes__join_the_history_of_the_forest() -> None:
    policy, view = begin("smac")
    n_rows = sum(len(e.loss) for e in view.evidence)
    assert f"on {n_rows} rows" in policy.explain()
    told(policy, 1, view.candidates[3], 2.0)
    assert f"on {n_rows + 1} rows" in policy.explain()
    assert (policy.scores() <= 1e-6).all(), (
        "expected improvement is no less than zero"
    )


def test_syne_quantile__trials__draw_another_sample_each() -> None:
    policy, view = begin("syne-quantile")
    first = policy.scores().copy()
    assert np.array_equal(first, policy.scores())
    told(policy, 1, view.candidates[3], 2.0)
    assert not np.array_equal(first, policy.scores())
    assert np.corrcoef(first, policy.scores())[0, 1] > 0.3, (
        "both around the same mean"
    )
