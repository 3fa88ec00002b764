from __future__ import annotations

from dataclasses import replace

import numpy as np

from autollm.advisor.deciding.decide import question_of_hidden
from autollm.gym.tasks.trial import Trial
from autollm.policies.registry import make_policy
from tests.unit.gym.tables import make_table

VIEW = question_of_hidden(make_table(6, noise=0.02), range(6), 5).view


def ready(view=VIEW):
    policy = make_policy("carbs")
    policy.reset(view, np.random.default_rng(0))
    return policy


def test_front__experiments_that_a_cheaper_one_beats__are_no_part_of_it():
    policy = ready()
    best = [e.points[int(np.argmin(e.loss))] for e in VIEW.evidence]
    lows = [float(e.loss.min()) for e in VIEW.evidence]
    worse = replace(VIEW.evidence[-1], loss=VIEW.evidence[-1].loss + 10.0)
    beaten = ready(replace(VIEW, evidence=(*VIEW.evidence[:-1], worse)))
    on_front = []
    for i, point in enumerate(best):
        if lows[i] <= min(lows[: i + 1]):
            on_front.append(point)
    assert policy.front.tolist() == [p.tolist() for p in on_front]
    assert len(beaten.front) == len(policy.front) - 1


def test_cost__compute_of_the_target__continues_the_evidence_s_line():
    policy = ready()
    last = VIEW.evidence[-1]
    doubled = replace(VIEW, target_z=last.z + 1.0)
    assert ready(replace(VIEW, target_z=last.z)).cost == 0.0
    assert ready(doubled).cost > 0.5
    assert policy.cost > 0.0


def test_ask__first__lies_among_the_draws_around_the_front():
    policy = ready()
    (first,) = policy.ask(1)
    point = VIEW.space.encode(first)
    drawn = VIEW.candidates[policy._drawn]
    assert np.min(np.linalg.norm(drawn - point, axis=1)) < 1e-9
    assert policy.ask(1) == [first]


def test_tell__outcome__moves_the_next_proposal():
    policy = ready()
    (first,) = policy.ask(1)
    point = tuple(VIEW.space.encode(first).tolist())
    policy.tell(Trial(1, "ok", first, point, 0, objective=3.0, loss=3.0))
    assert policy.ask(1) != [first]


def test_ask__no_evidence__the_middle_of_the_window_comes_first():
    policy = ready(replace(VIEW, evidence=()))
    (first,) = policy.ask(1)
    middle = VIEW.space.window.mean(axis=0)
    gaps = np.linalg.norm(VIEW.candidates - middle, axis=1)
    point = VIEW.space.encode(first)
    assert np.linalg.norm(point - middle) <= gaps.min() + 1e-9
