from __future__ import annotations

from dataclasses import replace

import numpy as np

from autollm.advisor.carried import Carried
from autollm.advisor.decide import (
    LEAST_LEVELS,
    backtest,
    cheaper,
    choose,
    decider_of,
    hidden_experiments,
    question_of_hidden,
    ready,
    why_trusted,
)
from autollm.core.knobs import Knob
from autollm.core.space import Space
from tests.unit.gym.tables import SPACE, make_table

TABLE = make_table(6)
LEVELS = list(range(6))


def test_hidden_experiments__six_levels__those_with_three_cheaper_ones():
    hidden = hidden_experiments(TABLE, LEVELS)
    assert hidden == [5, 4, 3]
    assert all(len(cheaper(TABLE, LEVELS, h)) >= LEAST_LEVELS for h in hidden)


def test_question_of_hidden__view__holds_no_row_of_the_hidden_experiment():
    view = question_of_hidden(TABLE, LEVELS, 4).view
    names = {e.experiment_id for e in view.evidence}
    assert names == {TABLE.experiments[e].experiment_id for e in range(4)}


def test_backtest__moving_optimum__the_bowl_finds_it_and_a_copy_does_not():
    bowl = backtest(TABLE, LEVELS, 5, "moving-bowl")
    copy = backtest(TABLE, LEVELS, 5, "copy-nearest")
    assert bowl.regret < copy.regret
    assert bowl.times_evidence > 1 and np.isfinite(bowl.predicted)


def test_decider_of__mixtures_and_many_knobs__copy_and_few_numbers_take_the_bowl():
    knobs = [Knob(f"k{i}", "log", (1.0, 2.0, 4.0)) for i in range(4)]
    mixture = Knob("mix", "simplex", ("a", "b"))
    assert decider_of(SPACE) == "moving-bowl"
    assert decider_of(Space(tuple(knobs[:3]))) == "moving-bowl"
    assert decider_of(Space(tuple(knobs))) == "copy-nearest"
    assert decider_of(Space((mixture,))) == "copy-nearest"


def test_why_trusted__says_which_side_of_the_rule_and_that_backtests_have_no_weight():
    few = why_trusted(SPACE)
    mixture = Knob("mix", "simplex", ("a", "b", "c"))
    many = why_trusted(Space((mixture,)))
    assert "2 numbers are few enough" in few and "copied" not in few
    assert "the nearest experiment is copied: a bowl of 3 numbers" in many
    assert "have no weight" in few and "have no weight" in many


def test_choose__three__differ_and_the_first_is_of_lowest_expected_u():
    view = question_of_hidden(TABLE, LEVELS, 5).view
    policy = ready("moving-bowl", view)
    choice = choose(policy, view, 3)
    u = policy.weights @ policy.sampled(view.candidates)
    assert len({tuple(p) for p in choice.points}) == 3
    assert choice.mean(0) <= u.min() + 1e-5
    assert 0 < choice.probability_best.sum() <= 1


def test_choose__price_of_divergence__moves_away_from_the_cliff():
    view = question_of_hidden(TABLE, LEVELS, 5).view
    policy = ready("moving-bowl", view)
    plain = choose(policy, view, 1).points[0]
    p = np.where(view.candidates[:, 1] >= plain[1] - 1e-9, 0.9, 0.0)
    assert choose(policy, view, 1, p).points[0][1] < plain[1]


def test_carried__nearest_experiment_of_one_run__is_not_what_is_copied():
    view = question_of_hidden(TABLE, LEVELS, 5).view
    last = view.evidence[-1]
    lone = replace(
        last,
        points=last.points[:1],
        loss=last.loss[:1],
        diverged=last.diverged[:1],
    )
    policy = Carried()
    short = replace(view, evidence=(*view.evidence[:-1], lone))
    policy.reset(short, np.random.default_rng(0))
    assert policy.model.experiment_id != lone.experiment_id
    policy.reset(replace(view, evidence=(lone,)), np.random.default_rng(0))
    assert policy.model.experiment_id == lone.experiment_id


def test_carried__picks__are_the_best_rows_of_the_nearest_experiment_in_order():
    view = question_of_hidden(TABLE, LEVELS, 5).view
    policy = Carried()
    policy.reset(view, np.random.default_rng(0))
    nearest = view.evidence[-1]
    wanted = nearest.points[np.argsort(nearest.loss)[:2]]
    np.testing.assert_allclose(choose(policy, view, 2).points, wanted)
    assert choose(policy, view, 2).probability_best is None


def test_backtest__policy_that_cannot_play__is_none():
    bare = replace(
        TABLE, experiments=tuple(without_tokens(e) for e in TABLE.experiments)
    )
    assert backtest(TABLE, LEVELS, 5, "step-law") is not None
    assert backtest(bare, LEVELS, 5, "step-law") is None


def without_tokens(experiment):
    """The experiment with parameters as its only coordinate."""
    fidelity = {"params": experiment.fidelity["params"]}
    return replace(experiment, fidelity=fidelity)
