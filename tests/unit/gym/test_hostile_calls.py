"""What a model may send: whatever it is, the episode goes on and counts it. A bad call
is data, never a foreign error.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import EpisodeError, SpaceError
from autollm.gym.environments.text import TextEnv
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.task import Constraint
from tests.unit.gym.tables import (
    FAMILIES,
    make_family_table,
    make_mixed_table,
    make_rich_table,
    make_table,
    make_task,
    with_curves,
)

TABLE = make_table()
RICH = make_rich_table()
CURVES = with_curves(TABLE)
BEYOND_FLOAT = 10**400
SMALL_BATCHES = (Constraint("params", most=850.0),)
"""Rows of batch sizes up to 2 ** 8.5 are feasible."""

NUMBERS = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from([BEYOND_FLOAT, -BEYOND_FLOAT, 5000.0, 1e308, -1e308, 0]),
)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=5)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from(["target", "e1", "c1", "", "toy:2"])
FEW = settings(max_examples=60, deadline=None)


def configurations(*names):
    """Near misses: the right names with any values, and anything else."""
    full = st.fixed_dictionaries(dict.fromkeys(names, SCALARS))
    return full | ANYTHING | st.fixed_dictionaries({"candidate": SCALARS})


def opened(table, **changes):
    """A text environment of a fresh episode."""
    env = TextEnv(lambda: start(make_task(table, **changes), table, 0))
    env.reset()
    return env


@FEW
@given(
    NAMES | ANYTHING,
    configurations("learning_rate", "batch_tokens"),
)
def test_text_run__anything__costs_a_trial_and_says_a_line(experiment, sent):
    env = opened(TABLE)
    said = env.run_experiment(experiment, sent)
    assert isinstance(said, str) and "\n" not in said
    assert len(env.episode.trials) == 1
    assert env.episode.ledger.trials_left == 2


@FEW
@given(configurations("learning_rate", "batch_tokens"))
def test_text_submit__anything__is_submitted_or_an_error_in_words(sent):
    env = opened(TABLE)
    said = env.submit(sent)
    assert said == "submitted" or said.startswith("error: ")
    assert env.episode.finished == (said == "submitted")
    assert 0 <= env.episode.inference_regret() <= 1


@FEW
@given(configurations("learning_rate", "batch_tokens"))
def test_text__constrained_task__any_call_is_answered(sent):
    env = opened(RICH, constraints=SMALL_BATCHES)
    assert isinstance(env.run_experiment("target", sent), str)
    assert isinstance(env.submit(sent), str)


@settings(max_examples=15, deadline=None)
@given(st.data())
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_text__every_family__any_call_is_answered(family, data):
    env = opened(make_family_table(family))
    names = FAMILIES[family].coordinates
    sent = data.draw(configurations(*names))
    assert isinstance(env.run_experiment("target", sent), str)
    assert isinstance(env.submit(sent), str)


@FEW
@given(ANYTHING, ANYTHING)
def test_text_pages__anything__are_a_page_or_an_error(experiment, page):
    env = opened(TABLE)
    assert isinstance(env.query_experiments(experiment, page), str)
    assert isinstance(env.query_experiments("e1", page), str)
    assert isinstance(env.list_candidates(page), str)
    assert env.episode.trials == []


@pytest.mark.parametrize("value", [5000.0, 1e308, BEYOND_FLOAT, -BEYOND_FLOAT])
def test_text_submit__number_that_no_knob_can_hold__is_an_error(value):
    """2 ** 5000 is no float: what a model writes must not end the evaluation."""
    env = opened(TABLE)
    said = env.submit({"learning_rate": value, "batch_tokens": 0.0})
    assert said.startswith("error: ")
    assert not env.episode.finished


def test_text_run__far_beyond_a_constraint__is_infeasible_without_outcome():
    env = opened(RICH, constraints=SMALL_BATCHES)
    said = env.run_experiment(
        "target", {"learning_rate": 0.0, "batch_tokens": 5000.0}
    )
    assert said == "infeasible left 2"
    trial = env.episode.trials[0]
    assert trial.row == -1 and math.isnan(trial.loss)
    assert trial.configuration is None


@pytest.mark.parametrize(
    "name", [["target"], {"target": 1}, None, 3, b"target"]
)
def test_text_run__experiment_that_is_no_text__is_malformed(name):
    env = opened(TABLE)
    here = {"learning_rate": 0.0, "batch_tokens": 0.0}
    assert env.run_experiment(name, here) == "malformed left 2"


@FEW
@given(
    configurations("learning_rate", "batch_tokens"),
    st.sampled_from(["", "toy:1", "toy:9"]) | ANYTHING,
    st.sampled_from([1.0, 0.5]) | ANYTHING,
)
def test_episode_run__anything__is_one_trial_of_a_known_status(
    sent, experiment, until
):
    for table, changes in (
        (TABLE, {}),
        (CURVES, {"pausable": True, "evidence": ()}),
    ):
        episode = start(make_task(table, **changes), table, 0)
        trial = episode.run(sent, experiment, until)
        assert trial.number == 1 and len(episode.trials) == 1
        assert trial.status in ("ok", "malformed", "off_table", "paused")
        assert trial.cost > 0


@FEW
@given(configurations("learning_rate", "batch_tokens"))
def test_episode_submit__anything__is_a_row_or_a_space_error(sent):
    episode = start(make_task(TABLE), TABLE, 0)
    try:
        row = episode.submit(sent)
    except SpaceError:
        assert not episode.finished
        return
    assert 0 <= row < len(episode.points)


@pytest.mark.parametrize("until", [None, "1", "0.5", [], {}, True, b"1"])
def test_episode_run__share_that_is_no_number__is_malformed(until):
    episode = start(make_task(CURVES, pausable=True, evidence=()), CURVES, 0)
    here = episode.drawn.view.space.decode(episode.points[0])
    assert episode.run(here, "", until).status == "malformed"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e308, 1e308), min_size=2, max_size=2))
def test_episode_run_point__any_finite_point__is_snapped_or_off_the_table(
    point,
):
    episode = start(make_task(TABLE), TABLE, 0)
    with np.errstate(over="ignore"):
        trial = episode.run_point(np.array(point))
    assert trial.status in ("ok", "off_table")
    assert 0 <= trial.row < len(episode.points)


@FEW
@given(st.integers() | st.sampled_from([BEYOND_FLOAT, -1, 35, 10**18]))
def test_episode_run_candidate__any_number__is_that_row_or_malformed(number):
    episode = start(make_task(TABLE), TABLE, 0)
    trial = episode.run_candidate(number)
    assert (trial.status == "malformed") == (not 0 <= number < 35)


def test_task__target_among_its_own_evidence__is_refused():
    """Whoever plays would see the target's outcomes before any trial."""
    with pytest.raises(EpisodeError, match="cannot be its own evidence"):
        make_task(TABLE, evidence=("toy:0", "toy:3"))
    with pytest.raises(EpisodeError, match="cannot be its own evidence"):
        make_task(TABLE).with_(target="toy:0")


def test_text__mixed_space__weights_that_are_nonsense_are_malformed_or_snapped():
    env = opened(make_mixed_table())
    for name in ("candidate", "mixture", "mixture.code"):
        for value in (math.nan, BEYOND_FLOAT, None, [1], {}):
            if env.episode.done:
                env.reset()
            said = env.run_experiment("target", {name: value})
            assert said.startswith("malformed")
