"""Early stopping where runs may be paused: halving, Hyperband and ASHA over shares of a
run; what others do there.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from autollm.evaluation.protocol import play
from autollm.gym.tasks.episode import Trial, start
from autollm.policies.multifidelity.climbing import Rung, costs_from
from autollm.policies.registry import make_policy, why_absent
from tests.unit.gym.tables import make_table, make_task, with_curves
from tests.unit.policies.test_climbing import CLIMBERS, played

TABLE = with_curves(make_table(noise=0.02))
TASK = make_task(TABLE, evidence=(), pausable=True, trials=4, target_rows="all")


@pytest.mark.parametrize("policy_id", CLIMBERS)
def test_climber__pausable__pauses_goes_on_and_spends_the_budget(policy_id):
    episode, policy = played(policy_id, TASK, TABLE)
    whole = [t for t in episode.trials if t.share == 1]
    assert (
        len(whole) >= 1
        and len(episode.trials) > len(whole)
        and episode.done
        and policy.explain()
    )
    assert {t.status for t in episode.trials} == {
        "ok",
        "paused",
    } and -1e-9 <= episode.ledger.left < 1
    assert any(t.cost < 1 for t in whole), "one was gone on with"
    assert sum(t.cost for t in episode.trials) == pytest.approx(
        sum(
            max(t.share for t in episode.trials if t.row == row)
            for row in {t.row for t in episode.trials}
        )
    ), "nothing is paid for twice"


@pytest.mark.parametrize("policy_id", CLIMBERS)
@pytest.mark.parametrize("setting", ["declared", "pool-visible"])
def test_climber__redrawn_rows__never_asks_for_what_is_not_paid(
    policy_id, setting
):
    for seed in range(6):
        result = play(
            make_policy(policy_id),
            TASK.with_(
                target_rows="redraw", setting=setting, trials=2 + seed % 3
            ),
            TABLE,
            seed,
        )
        assert (result.error, result.malformed) == ("", 0) and any(
            t[2] is not None for t in json.loads(result.trials_json)
        )


@pytest.mark.parametrize("policy_id", CLIMBERS)
def test_climber__pausable__is_better_than_random(policy_id):
    task = TASK.with_(target_rows="redraw")
    mean = {
        p: np.mean(
            [
                play(make_policy(p), task, TABLE, seed).latent_regret[-1]
                for seed in range(8)
            ]
        )
        for p in (policy_id, "random")
    }
    assert mean[policy_id] < mean["random"]


def test_successive_halving__pausable__goes_on_with_the_best_third_by_their_signal():
    episode, policy = played("successive-halving", TASK, TABLE)
    assert [(r.share, r.cost) for r in policy.ladder] == [
        (1 / 9, 1 / 9),
        (1 / 3, 1 / 3),
        (1.0, 1.0),
    ]
    on = [
        [t for t in episode.trials if t.share == share]
        for share in (1 / 9, 1 / 3)
    ]
    assert [len(t) for t in on] == policy.bracket.sizes[:2] == [14, 5]
    rows = [t.row for t in sorted(on[0], key=lambda t: t.signal[-1][1])]
    assert {t.row for t in on[1]} == set(rows[:5])


def test_climber__diverged_signal__is_the_worst():
    policy = make_policy("asha")
    policy.reset(start(TASK, TABLE, 0).drawn.view, np.random.default_rng(0))
    for i, last in enumerate((2.0, float("nan"), 1.0)):
        point = tuple(TASK_GRID[i].tolist())
        policy.tell(
            Trial(
                i + 1,
                "paused",
                {},
                point,
                i,
                cost=1 / 9,
                proposed=point,
                share=1 / 9,
                signal=((0.1, last),),
            )
        )
    assert [policy.ladder[0].losses[c] for c in policy.ladder[0].best()] == [
        1.0,
        2.0,
        float("inf"),
    ]


TASK_GRID = start(TASK, TABLE, 0).drawn.view.candidates


def test_costs_from__shares_of_one_run__are_paid_once():
    ladder = [
        Rung("cheap", 1 / 27, TASK_GRID),
        *(Rung("", s, TASK_GRID, share=s) for s in (1 / 9, 1 / 3, 1.0)),
    ]
    assert costs_from(ladder, 0) == pytest.approx([1 / 27, 1 / 9, 2 / 9, 2 / 3])
    assert costs_from(ladder, 2) == pytest.approx([1 / 3, 2 / 3])


def test_climber__charged_and_pausable__has_cheaper_experiments_below_the_shares():
    episode, policy = played(
        "successive-halving", TASK.with_(charged=("toy:1", "toy:2")), TABLE
    )
    assert [(r.experiment, r.share) for r in policy.ladder] == [
        ("toy:1", 1.0),
        ("", 1 / 9),
        ("", 1 / 3),
        ("", 1.0),
    ]
    assert {(t.experiment, t.share) for t in episode.trials} == {
        (r.experiment, r.share) for r in policy.ladder
    }
    assert (
        "on the rungs toy:1 -> 0.11 of a run -> 0.33 of a run and the target"
        in policy.explain()
    )


@pytest.mark.parametrize(
    "policy_id", ["random", "moving-bowl", "pool-centre", "optuna-tpe", "gp"]
)
def test_free_policy__pausable_task__plays_whole_runs_as_if_nothing_could_be_paused(
    policy_id,
):
    if why_absent(policy_id):
        pytest.skip(why_absent(policy_id))
    task = make_task(TABLE, evidence=("toy:0",))
    a, b = (
        play(make_policy(policy_id), t, TABLE, 4)
        for t in (task, task.with_(pausable=True))
    )
    assert (a.error, a.regret, a.trials_json, a.cost_flops) == (
        b.error,
        b.regret,
        b.trials_json,
        b.cost_flops,
    ) and a.error == ""
