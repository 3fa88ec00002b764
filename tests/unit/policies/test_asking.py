"""What every ranking policy keeps: which candidates are spent, by whom, and in which
order the others come.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autollm.gym.tasks.episode import Trial, start
from autollm.policies.base import RankingPolicy
from autollm.policies.registry import make_policy
from autollm.testing.tables import make_table, make_task

TABLE = make_table(noise=0.02)


class InOrder(RankingPolicy):
    """The candidates as they stand."""

    policy_id = "in-order"

    def scores(self):
        return np.arange(len(self.candidates), dtype=float)


def begun(setting="declared", policy=None, **changes):
    task = make_task(TABLE, **changes)
    view = start(replace(task, setting=setting), TABLE, 0).drawn.view
    policy = policy or InOrder()
    policy.reset(view, np.random.default_rng(0))
    return policy


def numbers(policy, proposals):
    """Indices of proposals among the candidates."""
    points = [policy.view.space.encode(p) for p in proposals]
    found = []
    for point in points:
        gap = np.abs(policy.candidates - point).max(axis=1)
        found.append(int(np.argmin(gap)))
    return found


def told(policy, number, **changes):
    """A trial that gave an outcome at a candidate."""
    point = policy.candidates[number]
    fields = {
        "number": 1,
        "kind": "ok",
        "configuration": policy.view.space.decode(point),
        "point": tuple(point.tolist()),
        "loss": 1.0,
    } | changes
    policy.tell(
        Trial(
            fields["number"],
            fields["kind"],
            fields["configuration"],
            fields["point"],
            loss=fields["loss"],
            experiment=changes.get("experiment", ""),
        )
    )


def test_ask__nothing_told__is_in_the_order_of_the_scores():
    policy = begun()
    assert numbers(policy, policy.ask(4)) == [0, 1, 2, 3]


def test_ask__twice__is_the_same():
    policy = begun()
    assert (
        policy.ask(3) == policy.ask(3) == [*policy.ask(1), *policy.ask(3)[1:]]
    )


@pytest.mark.parametrize("n", [0, 35, 36, 1000])
def test_ask__more_than_there_are__is_all_of_them_once(n):
    policy = begun()
    found = numbers(policy, policy.ask(n))
    assert len(found) == len(set(found)) == min(n, len(policy.candidates))


def test_tell__outcome__its_candidate_comes_last():
    policy = begun()
    told(policy, 0)
    everything = numbers(policy, policy.ask(1000))
    assert everything[0] == 1 and everything[-1] == 0


def test_tell__trial_of_a_cheaper_experiment__spends_nothing():
    policy = begun()
    told(policy, 0, experiment="e0")
    assert policy.trials == []
    assert numbers(policy, policy.ask(1)) == [0]


def test_tell__call_that_could_not_be_read__spends_nothing():
    policy = begun()
    policy.tell(Trial(1, "malformed", None))
    assert len(policy.trials) == 1
    assert numbers(policy, policy.ask(1)) == [0]


def test_tell__outcome_without_a_point__is_found_by_its_configuration():
    policy = begun()
    told(policy, 2, point=())
    assert numbers(policy, policy.ask(3)) == [0, 1, 3]


def test_tell__all_spent__proposes_them_all_the_same():
    policy = begun()
    for number in range(len(policy.candidates)):
        told(policy, number)
    assert len(policy.ask(5)) == 5


def test_ask__pending__are_not_proposed_and_not_forgotten():
    policy = begun()
    first = policy.ask(2)
    assert numbers(policy, policy.ask(2, pending=first)) == [2, 3]
    assert numbers(policy, policy.ask(2)) == [0, 1]


def test_ask__pending_run_elsewhere__does_not_count():
    """A pair names a cheaper experiment."""
    policy = begun()
    elsewhere = [("e0", policy.ask(1)[0])]
    assert numbers(policy, policy.ask(1, pending=elsewhere)) == [0]


def test_tried__repeats_and_outcomes_that_are_none__count_once_or_not():
    policy = begun()
    told(policy, 0, loss=2.0)
    told(policy, 0, loss=2.0)
    told(policy, 1, loss=float("nan"))
    told(policy, 2, loss=3.0)
    policy.tell(Trial(5, "malformed", None))
    points, losses = policy.tried
    assert losses.tolist() == [2.0, 3.0]
    assert points.tolist() == policy.candidates[[0, 2]].tolist()


def test_tried__nothing_told__is_empty_with_its_width():
    points, losses = begun().tried
    assert points.shape == (0, 2) and len(losses) == 0


def test_reset__another_task__forgets_what_was_told():
    policy = begun()
    told(policy, 0)
    begun(policy=policy)
    assert policy.trials == [] and numbers(policy, policy.ask(1)) == [0]


def test_from_centre__declared_window__is_nearest_in_its_middle():
    policy = begun()
    middle = policy.view.space.window.mean(axis=0)
    found = policy.from_centre
    nearest = policy.candidates[int(np.argmin(found))]
    assert nearest == pytest.approx(middle)
    assert found.min() == 0.0


def test_ask__rows_are_listed__only_the_row_itself_is_spent():
    policy = begun(setting="pool-visible")
    assert policy.candidates_are_rows
    told(policy, 3)
    assert numbers(policy, policy.ask(1000))[-1] == 3
    assert numbers(policy, policy.ask(5)) == [0, 1, 2, 4, 5]


def test_scores__not_defined__says_which_class_lacks_them():
    class Nothing(RankingPolicy):
        """No scores."""

    policy = begun(policy=Nothing())
    with pytest.raises(TypeError, match=r"Nothing must define scores\(\)"):
        policy.ask(1)


@pytest.mark.parametrize(
    "policy_id", ["random", "pool-centre", "copy-nearest", "portfolio"]
)
@pytest.mark.parametrize("setting", ["declared", "pool-visible"])
def test_rule__asked_one_by_one_or_at_once__proposes_the_same(
    policy_id, setting
):
    """Candidates asked for and told of one after another, against one request."""
    at_once = begun(setting, make_policy(policy_id))
    wanted = numbers(at_once, at_once.ask(4))
    one_by_one = begun(setting, make_policy(policy_id))
    found = []
    for _ in range(4):
        (number,) = numbers(one_by_one, one_by_one.ask(1))
        found.append(number)
        told(one_by_one, number)
    assert found == wanted


@pytest.mark.parametrize("policy_id", ["random", "pool-centre", "portfolio"])
def test_rule__explain__is_a_sentence_before_and_after_a_trial(policy_id):
    policy = begun(policy=make_policy(policy_id))
    before = policy.explain()
    told(policy, 0)
    assert before and policy.explain()
