"""Halving, Hyperband and ASHA where cheap experiments are charged; what others do
there.
"""

from __future__ import annotations

import numpy as np
import pytest

from autollm.evaluation.protocol import play
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.trial import read_proposal
from autollm.policies.multifidelity.climbing import sizes_of
from autollm.policies.registry import POLICIES, make_policy, why_absent
from tests.unit.gym.tables import SPACE, make_mixed_table, make_table, make_task

TABLE, MIXED = make_table(noise=0.02), make_mixed_table()
TASK = make_task(
    TABLE, evidence=(), charged=("toy:1", "toy:2"), trials=4, target_rows="all"
)
CLIMBERS = ["successive-halving", "hyperband", "asha", "bohb", "mf-gp"]


def played(policy_id, task=TASK, table=TABLE, seed=0):
    """An episode that a policy played out, and the policy."""
    episode, policy = start(task, table, seed), make_policy(policy_id)
    policy.reset(
        episode.drawn.view, np.random.default_rng(episode.drawn.policy_seed)
    )
    while not episode.done:
        asked = policy.ask()
        assert policy.ask() == asked, "asking changes nothing"
        experiment, configuration, until = read_proposal(asked[0])
        policy.tell(episode.run(configuration, experiment, until))
    return episode, policy


def test_sizes_of__budget__is_never_overdrawn_and_nearly_used():
    assert sizes_of([1 / 9, 1 / 3, 1.0], 4.0, 100) == [9, 3, 1]
    assert sizes_of([1 / 9, 1 / 3, 1.0], 1.0, 100) == [] and sizes_of(
        [1.0], 3.5, 100
    ) == [3]
    assert sizes_of([1 / 9, 1 / 3, 1.0], 400.0, 30) == [30, 10, 4]


@pytest.mark.parametrize("policy_id", CLIMBERS)
def test_climber__charged__spends_the_budget_and_ends_on_the_target(policy_id):
    episode, policy = played(policy_id)
    assert {t.experiment for t in episode.trials} == {"", "toy:1", "toy:2"}
    assert (
        0 <= episode.ledger.left < 1
        and sum(not t.experiment for t in episode.trials) >= 1
    )
    assert (
        not [t for t in episode.trials if t.status == "malformed"]
        and policy.explain()
    )
    for experiment in ("", "toy:1", "toy:2"):
        proposed = [
            t.proposed for t in episode.trials if t.experiment == experiment
        ]
        assert len(set(proposed)) == len(proposed), (
            "no candidate is run twice on one rung"
        )


def test_successive_halving__charged__promotes_its_best_third():
    episode, policy = played("successive-halving")
    sizes = policy.bracket.sizes
    assert policy.bracket.first == 0 and sizes == [27, 9, 3]
    on = [
        [t for t in episode.trials if t.experiment == e]
        for e in ("toy:1", "toy:2", "")
    ]
    assert [len(t) for t in on[:2]] == sizes[:2] and len(on[2]) >= sizes[2]
    for below, above in ((on[0], on[1]), (on[1], on[2])):
        rows = list(
            dict.fromkeys(t.point for t in sorted(below, key=lambda t: t.loss))
        )
        n = sizes[on.index(above)]
        assert {t.proposed for t in above[:n]} == set(rows[:n])


def test_successive_halving__small_budget__leaves_out_the_rungs_that_halve_nothing():
    task = TASK.with_(trials=1)
    _, policy = played("successive-halving", task)
    assert policy.bracket.first == len(
        policy.ladder
    ) - 1 and policy.bracket.sizes == [1]


def test_hyperband__charged__starts_on_every_rung_with_shares_of_the_budget():
    episode, policy = played("hyperband", TASK.with_(trials=9))
    assert [b.first for b in policy.brackets] == [0, 1, 2]
    costs = [rung.cost for rung in policy.ladder]
    for bracket in policy.brackets:
        assert (
            sum(
                n * c
                for n, c in zip(
                    bracket.sizes, costs[bracket.first :], strict=True
                )
            )
            <= 3.0
        )
    assert (
        len({tuple(b.starters) for b in policy.brackets}) == 3 and episode.done
    )


def test_asha__charged__promotes_only_from_the_best_third():
    episode, _ = played("asha", TASK.with_(trials=12))
    for k, trial in enumerate(episode.trials):
        if trial.experiment == "toy:2":
            below = sorted(
                (t for t in episode.trials[:k] if t.experiment == "toy:1"),
                key=lambda t: t.loss,
            )
            assert trial.proposed in {t.point for t in below[: len(below) // 3]}


def test_bohb__charged__begins_as_asha_and_then_where_it_is_good():
    cheap = {
        p: [
            [
                t.loss
                for t in played(p, TASK.with_(trials=2), seed=seed)[0].trials
                if t.experiment == "toy:1"
            ]
            for seed in range(8)
        ]
        for p in ("bohb", "asha")
    }
    n = len(SPACE) + 2
    assert np.array_equal(
        [x[:n] for x in cheap["bohb"]],
        [x[:n] for x in cheap["asha"]],
        equal_nan=True,
    )
    later = {
        p: np.nanmean(np.concatenate([x[n:] for x in losses]))
        for p, losses in cheap.items()
    }
    assert later["bohb"] < later["asha"] - 0.03


def test_mf_gp__charged__looks_where_it_is_cheap_and_is_ahead_of_asha():
    episode, policy = played("mf-gp")
    first = next(i for i, t in enumerate(episode.trials) if not t.experiment)
    assert (
        first >= 15
        and {t.experiment for t in episode.trials[:first]} == {"toy:1", "toy:2"}
        and policy.explain()
    )
    task = TASK.with_(trials=3)
    regret = {
        p: np.mean(
            [
                play(make_policy(p), task, TABLE, seed).latent_regret[1]
                for seed in range(6)
            ]
        )
        for p in ("mf-gp", "asha")
    }
    assert regret["mf-gp"] < regret["asha"]


def test_mf_gp__free_evidence__is_gp():
    task = make_task(TABLE, trials=4)
    assert (
        play(make_policy("mf-gp"), task, TABLE, 0).regret
        == play(make_policy("gp"), task, TABLE, 0).regret
    )


@pytest.mark.parametrize("policy_id", CLIMBERS)
@pytest.mark.parametrize("setting", ["declared", "pool-visible"])
def test_climber__mixtures_and_lists__proposes_rows_of_each_rung(
    policy_id, setting
):
    task = make_task(
        MIXED, evidence=(), charged=("mixed:0", "mixed:1"), setting=setting
    )
    episode, _ = played(policy_id, task, MIXED, seed=2)
    assert {t.status for t in episode.trials} <= {"ok", "repeated"} and all(
        t.distance < 1e-6 for t in episode.trials
    )


@pytest.mark.parametrize("policy_id", CLIMBERS)
def test_climber__better_than_random__on_a_bowl_that_moves_little(policy_id):
    task = make_task(TABLE, evidence=(), charged=("toy:1", "toy:2"), trials=3)
    mean = {
        p: np.mean(
            [
                play(make_policy(p), task, TABLE, seed).latent_regret[-1]
                for seed in range(12)
            ]
        )
        for p in (policy_id, "random")
    }
    assert mean[policy_id] < mean["random"]


@pytest.mark.parametrize(
    "policy_id", ["random", "moving-bowl", "copy-nearest", "optuna-tpe", "gp"]
)
def test_free_policy__charged_task__plays_the_target_alone_as_if_nothing_were_charged(
    policy_id,
):
    if why_absent(policy_id):
        pytest.skip(why_absent(policy_id))
    free = make_task(TABLE, evidence=("toy:0",))
    with_charges = free.with_(charged=("toy:1", "toy:2"))
    assert policy_id in POLICIES
    a, b = (
        play(make_policy(policy_id), task, TABLE, 4)
        for task in (free, with_charges)
    )
    assert (
        (a.error, a.regret, a.trials_json)
        == (b.error, b.regret, b.trials_json)
        == ("", b.regret, b.trials_json)
    )


@pytest.mark.parametrize("policy_id", CLIMBERS)
def test_climber__budget_of_one_run__spends_it_on_the_target(policy_id):
    episode, _ = played(policy_id, TASK.with_(trials=1))
    assert [t.experiment for t in episode.trials] == [""]


def test_free_policy__told_of_a_charged_run__goes_on_as_before():
    episode, policy = start(TASK, TABLE, 0), make_policy("random")
    policy.reset(episode.drawn.view, np.random.default_rng(0))
    asked = policy.ask(3)
    policy.tell(episode.run(asked[0], "toy:2"))
    assert policy.ask(3) == asked and policy.trials == []


def test_play__charged_suite__is_judged_by_what_is_spent():
    result = play(make_policy("asha"), TASK, TABLE, 1)
    assert (
        len(result.regret) == 4
        and result.error == ""
        and result.n_calls > 4
        and result.malformed == 0
    )
