from __future__ import annotations

from dataclasses import replace

import numpy as np

from autollm.advisor.deciding.decide import question_of_hidden
from autollm.gym.tasks.trial import Trial
from autollm.policies.registry import make_policy
from tests.unit.gym.tables import make_table

VIEW = question_of_hidden(make_table(6, noise=0.02), range(6), 5).view


def ready(policy_id: str, view=VIEW):
    policy = make_policy(policy_id)
    policy.reset(view, np.random.default_rng(0))
    return policy


def test_scores__three_members__are_the_mean_of_what_each_says():
    council = ready("council")
    points = VIEW.candidates[:7]
    members = council._members(points)
    assert set(members) == {"bowl", "copy", "process"}
    mean = np.mean([np.minimum(m, 2.0) for m, _ in members.values()], axis=0)
    np.testing.assert_allclose(council.scores()[:7], mean)


def test_scores__one_member_far_off__the_others_overrule_it():
    council = ready("council")
    before = council.ask(1)
    council.bowl.particles = (
        council.bowl.particles + 40.0
    )  # it says bad everywhere
    after = council.ask(1)
    moved = np.linalg.norm(
        VIEW.space.encode(before[0]) - VIEW.space.encode(after[0])
    )
    assert moved < 2.5


def test_predict__sd__holds_the_members_disagreement():
    council = ready("council")
    configurations = [VIEW.space.decode(p) for p in VIEW.candidates]
    mean, sd = council.predict(configurations)
    np.testing.assert_allclose(mean, council.scores(), atol=1e-6)
    members = council._members(VIEW.candidates)
    between = np.std([np.minimum(m, 2.0) for m, _ in members.values()], axis=0)
    assert np.all(sd >= between - 1e-9)


def test_tell__a_bad_outcome__is_passed_on_and_not_repeated():
    council = ready("council")
    (first,) = council.ask(1)
    point = tuple(VIEW.space.encode(first).tolist())
    council.tell(Trial(1, "ok", first, point, 0, objective=3.0, loss=3.0))
    assert len(council.bowl.trials) == len(council.process.trials) == 1
    assert council.ask(1) != [first]


def test_ask__without_evidence__the_middle_of_the_window_comes_first():
    council = ready("council", replace(VIEW, evidence=()))
    (first,) = council.ask(1)
    middle = VIEW.space.window.mean(axis=0)
    nearest = VIEW.candidates[
        np.argmin(np.linalg.norm(VIEW.candidates - middle, axis=1))
    ]
    np.testing.assert_allclose(VIEW.space.encode(first), nearest)
