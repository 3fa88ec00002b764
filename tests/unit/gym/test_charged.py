"""Cheap experiments that are charged, and trials that are pending."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.errors import EpisodeError
from autollm.gym.environments.scalar import LLMConfigEnv
from autollm.gym.environments.text import TextEnv
from autollm.gym.tasks import suites
from autollm.gym.tasks.drawing import draw
from autollm.gym.tasks.episode import start
from tests.unit.gym.tables import make_mixed_table, make_table, make_task

TABLE = make_table(noise=0.02)
CHARGED = ("toy:1", "toy:2")
"""A run of toy:2 costs 1/16 of one of the target toy:3, one of toy:1 1/256."""


def charged_task(**changes):
    return make_task(TABLE, evidence=("toy:0",), charged=CHARGED, **changes)


def test_draw__charged__shows_place_and_cost_and_no_outcome_and_changes_nothing_else():
    drawn, free = (
        draw(charged_task(), TABLE, 3),
        draw(make_task(TABLE, evidence=("toy:0",)), TABLE, 3),
    )
    assert [(c.experiment_id, c.cost) for c in drawn.view.charged] == [
        ("toy:1", 1 / 256),
        ("toy:2", 1 / 16),
    ]
    assert [len(rows) for rows in drawn.charged_rows] == [28, 28]
    assert np.array_equal(drawn.rows, free.rows) and np.array_equal(
        drawn.view.evidence[0].points, free.view.evidence[0].points
    )
    assert (
        draw(charged_task().with_(charged=CHARGED[1:]), TABLE, 3)
        .charged_rows[0]
        .tolist()
        == drawn.charged_rows[1].tolist()
    )


def test_task__charged_evidence__is_refused():
    with pytest.raises(
        EpisodeError, match="neither the target nor free evidence"
    ):
        charged_task().with_(charged=("toy:0",))


def test_draw__charged_as_dear_as_the_target__is_refused():
    with pytest.raises(EpisodeError, match="charge cheaper experiments only"):
        draw(
            make_task(TABLE, target="toy:1", evidence=(), charged=("toy:2",)),
            TABLE,
            0,
        )


def test_episode__charged_run__costs_its_share_and_finds_nothing_on_the_target():
    episode = start(charged_task(), TABLE, 0)
    cheap = episode.run_candidate(4, "toy:2")
    assert (cheap.experiment, cheap.cost, cheap.status) == (
        "toy:2",
        1 / 16,
        "ok",
    )
    rows = episode.drawn.charged_rows[1]
    assert (
        cheap.loss == TABLE.losses(2)[rows[cheap.row]]
        and episode.incumbent is None
    )
    assert episode.ledger.left == 3 - 1 / 16 and episode.ledger.trials_left == 2
    assert (
        episode.run_candidate(4, "toy:2").status == "repeated"
        and episode.run_candidate(4).status == "ok"
    )
    assert episode.incumbent.number == 3


def test_episode__what_is_left_pays_no_run_of_the_target__is_over():
    episode = start(charged_task(trials=2), TABLE, 0)
    episode.run_candidate(0, "toy:2")
    episode.run_candidate(0)
    assert episode.done and episode.ledger.left == 1 - 1 / 16
    with pytest.raises(EpisodeError, match="no trials left"):
        episode.run_candidate(1, "toy:1")


def test_regret_curve__charged__is_by_what_is_spent():
    episode = start(charged_task(target_rows="all"), TABLE, 0)
    order = np.argsort(episode.losses)
    worse, best = (
        episode.drawn.view.space.decode(episode.points[i])
        for i in (order[-2], order[0])
    )
    episode.run(worse, "toy:2")
    episode.run(worse)
    episode.run(best)
    assert episode.regret_curve().tolist() == [1.0, 1.0, 0.0], (
        "1.06 runs are spent at the first outcome, 2.06 at the second"
    )


def test_episode__unknown_experiment__is_malformed_at_the_price_of_the_target():
    episode = start(charged_task(), TABLE, 0)
    here = episode.drawn.view.space.decode(episode.points[0])
    assert [
        (t.status, t.cost)
        for t in (episode.run(here, "toy:0"), episode.run({}, "toy:2"))
    ] == [("malformed", 1.0), ("malformed", 1 / 16)]


@given(
    st.integers(0, 10_000),
    st.lists(
        st.tuples(st.integers(-1, 35), st.sampled_from(["", *CHARGED])),
        max_size=40,
    ),
)
def test_episode__any_charged_calls__keep_the_budget_and_the_bounds(
    seed, calls
):
    episode = start(charged_task(), TABLE, seed)
    for number, experiment in calls:
        if not episode.done:
            episode.run_candidate(number, experiment)
    assert episode.ledger.left >= 0 and episode.ledger.left == pytest.approx(
        3 - sum(t.cost for t in episode.trials)
    )
    curve = episode.regret_curve()
    assert (
        len(curve) == 3
        and np.all(np.diff(curve) <= 0)
        and np.all((curve >= 0) & (curve <= 1))
    )


def test_episode__listed_rows_of_a_charged_experiment__are_its_own():
    table = make_mixed_table()
    episode = start(
        make_task(table, evidence=(), charged=("mixed:0", "mixed:1")), table, 1
    )
    shown = episode.drawn.view.charged[0]
    trial = episode.run_candidate(5, "mixed:0")
    assert (trial.row, trial.distance, trial.point) == (
        5,
        0.0,
        tuple(shown.candidates[5]),
    )


def test_arrays__charged_task__says_to_play_an_episode():
    env = LLMConfigEnv(charged_task(), TABLE)
    with pytest.raises(EpisodeError, match="play it as an Episode"):
        env.reset(seed=0)


def test_text__charged__names_prices_and_runs_there():
    env = TextEnv(lambda: start(charged_task(), TABLE, 0))
    assert (
        "c1 at -4.0 -4.0 costs 0.0039\nc2 at -2.0 -2.0 costs 0.062\n"
        in env.reset()
    )
    here = {"learning_rate": 0.0, "batch_tokens": 0.0}
    assert "change 0.0 left 2.94 surface " in env.run_experiment("c2", here)
    assert "change 0.0 left 1.94 surface " in env.run_experiment("target", here)
    assert env.run_experiment("e1", here) == "malformed left 0.94"
    assert env.run_experiment("c1", here) == "error: no trials left"


def test_suites__charged_ones__name_cheaper_experiments_and_a_budget():
    for suite_id, source in (
        ("steplaw-dense-charged-v1", "steplaw-dense-top-v1"),
        ("lab-pretraining-charged-v1", "lab-pretraining-v1"),
    ):
        tasks, free = (
            suites.load_suite(suite_id).tasks,
            suites.load_suite(source).split("test"),
        )
        assert [(t.target, t.charged, t.evidence, t.trials) for t in tasks] == [
            (t.target, t.evidence, (), 10) for t in free
        ]
