"""The episode's ledger against a model of it in a few lines: whatever is called, budget,
statuses and costs are those that the protocol says.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import EpisodeError
from autollm.gym.tasks.episode import LEAST, start
from autollm.gym.tasks.trial import SLACK, Ledger, read_proposal
from tests.unit.gym.tables import make_table, make_task, with_curves

PLAIN = make_table(noise=0.02)
CURVES = with_curves(PLAIN)
CHARGED = ("toy:1", "toy:2")
PRICES = {"": 1.0, "toy:1": 1 / 256, "toy:2": 1 / 16}


class Model:
    """What docs/protocol.md says about budgets, with nothing of episode.py."""

    def __init__(self, trials):
        self.left = float(trials)
        self.reached = {}

    def over(self):
        if self.left > 1 - SLACK:
            return False
        for (place, _), share in self.reached.items():
            rest = max(1 - share, LEAST)
            if place == "" and share < 1 and rest <= self.left + SLACK:
                return False
        return True

    def run(self, place, row, until):
        """(status, cost), or None where it cannot be paid."""
        reached = self.reached.get((place, row), 0.0)
        stretch = until - reached if reached < until else until
        cost = PRICES[place] * max(stretch, LEAST)
        goes_on = 0 < reached < until
        begins_unpaid = self.left < 1 - SLACK and not goes_on
        if cost > self.left + SLACK or begins_unpaid:
            return None
        self.left -= cost
        self.reached[place, row] = max(reached, until)
        if until <= reached:
            return "repeated", cost
        return ("ok" if until == 1 else "paused"), cost


ROWS = st.integers(0, 6)
SHARES = st.sampled_from([1.0, 0.5, 0.25, 0.75, 0.001])


def row_id(episode, place, row):
    """The place of a row's point among the rows in play."""
    asked = episode.playable[place]
    return asked.points[row]


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(
        st.tuples(st.sampled_from(["", *CHARGED]), ROWS, SHARES),
        min_size=1,
        max_size=25,
    ),
)
def test_episode__any_paused_and_charged_runs__cost_what_the_model_says(
    seed, calls
):
    task = make_task(
        CURVES, evidence=(), charged=CHARGED, pausable=True, trials=3
    )
    episode = start(task, CURVES, seed)
    space = episode.drawn.view.space
    model = Model(3)
    for place, row, until in calls:
        if model.over():
            assert episode.done
            break
        assert not episode.done
        configuration = space.decode(row_id(episode, place, row))
        expected = model.run(place, row, until)
        if expected is None:
            with pytest.raises(EpisodeError, match="runs of the target"):
                episode.run(configuration, place, until)
            continue
        trial = episode.run(configuration, place, until)
        assert (trial.status, trial.row) == (expected[0], row)
        assert trial.cost == pytest.approx(expected[1])
        assert episode.ledger.left == pytest.approx(model.left)
        assert math.isnan(trial.loss) == (until < 1)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(st.integers(0, 40), min_size=1, max_size=8),
)
def test_episode__cost_of_runs__counts_every_row_once(seed, calls):
    episode = start(make_task(PLAIN, trials=len(calls)), PLAIN, seed)
    ran = set()
    for call in calls:
        trial = episode.run_candidate(call)
        if trial.row >= 0:
            ran.add(trial.row)
    assert episode.ledger.cost_flops == pytest.approx(len(ran))
    assert episode.ledger.cost_device_hours == pytest.approx(len(ran))
    assert episode.ledger.left == 0.0 and episode.done


@settings(max_examples=40, deadline=None)
@given(st.lists(SHARES, min_size=1, max_size=12))
def test_episode__one_row_in_stretches__is_paid_at_most_as_a_whole_run(shares):
    """Ascending stretches of one run cost one run, but for the least stretch."""
    rising = sorted(set(shares) | {1.0})
    task = make_task(CURVES, evidence=(), pausable=True, trials=3)
    episode = start(task, CURVES, 0)
    here = episode.drawn.view.space.decode(episode.points[2])
    for share in rising:
        episode.run(here, "", share)
    spent = 3 - episode.ledger.left
    assert 1 - 1e-9 <= spent <= 1 + LEAST * len(rising)
    assert episode.ledger.cost_flops == pytest.approx(1.0)
    whole = start(task, CURVES, 0)
    assert episode.trials[-1].loss == whole.run(here).loss


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.lists(ROWS, min_size=1, max_size=9))
def test_episode__trials__are_numbered_from_one_without_a_gap(seed, calls):
    episode = start(make_task(PLAIN, trials=9), PLAIN, seed)
    for call in calls:
        episode.run_candidate(call)
    assert [t.number for t in episode.trials] == [*range(1, len(calls) + 1)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 500), st.lists(ROWS, min_size=2, max_size=9))
def test_episode__equal_calls__give_equal_trials(seed, calls):
    plays = []
    for _ in range(2):
        episode = start(make_task(PLAIN, trials=9), PLAIN, seed)
        plays.append([episode.run_candidate(call) for call in calls])
    assert repr(plays[0]) == repr(plays[1])


@pytest.mark.parametrize(
    ("left", "whole"),
    [
        (3.0, 3),
        (0.0, 0),
        (0.999999, 0),
        (1 - 1e-12, 1),
        (1 + 1e-12, 1),
        (2.5, 2),
        (3 * 0.1 + 0.7, 1),
    ],
)
def test_ledger__what_is_left__is_counted_in_whole_runs(left, whole):
    """Sums of shares are not exact: 0.1 + 0.2 must not take a run away."""
    assert Ledger(left).trials_left == whole


@pytest.mark.parametrize(
    ("proposal", "read"),
    [
        ({"a": 1}, ("", {"a": 1}, 1.0)),
        (("e", {"a": 1}), ("e", {"a": 1}, 1.0)),
        (("e", {"a": 1}, 0.25), ("e", {"a": 1}, 0.25)),
        (("", {}, 1), ("", {}, 1)),
    ],
)
def test_read_proposal__each_form__is_experiment_configuration_and_share(
    proposal, read
):
    assert read_proposal(proposal) == read


def test_episode__incumbent__is_of_the_target_alone():
    task = make_task(PLAIN, evidence=(), charged=CHARGED, trials=3)
    episode = start(task, PLAIN, 0)
    for row in range(5):
        episode.run_candidate(row, "toy:2")
    assert episode.incumbent is None
    assert episode.regret_curve().tolist() == [1.0, 1.0, 1.0]
    first = episode.run_candidate(1)
    assert episode.incumbent is first


def test_incumbents__charged_runs_before__stand_at_what_was_spent():
    """1/16 + 1 runs are spent when the first outcome is there: it counts at k = 2."""
    task = make_task(PLAIN, evidence=(), charged=CHARGED, trials=3)
    episode = start(task, PLAIN, 0)
    episode.run_candidate(0, "toy:2")
    episode.run_candidate(3)
    assert episode.incumbents().tolist() == [-1, 1, 1]


def test_incumbents__no_trial__are_none():
    episode = start(make_task(PLAIN), PLAIN, 0)
    assert episode.incumbents().tolist() == [-1, -1, -1]
    assert episode.incumbent is None
    assert np.array_equal(episode.regret_curve(), np.ones(3))
