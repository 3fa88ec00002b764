"""Runs that may be paused at a share of their steps and gone on with."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.errors import EpisodeError
from autollm.gym.environments.scalar import LLMConfigEnv
from autollm.gym.environments.text import TextEnv
from autollm.gym.environments.vector import LLMConfigVectorEnv
from autollm.gym.tasks.drawing import draw
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.masking import masked_view
from autollm.gym.tasks.suites import load_suite
from tests.unit.gym.tables import make_table, make_task, with_curves

TABLE = with_curves(make_table(noise=0.02))


def pausable_task(**changes):
    return make_task(
        TABLE,
        **{"evidence": (), "pausable": True, "target_rows": "all", **changes},
    )


def begun(**changes):
    """An episode, and the configurations of its rows, the best first."""
    episode = start(pausable_task(**changes), TABLE, 0)
    return episode, [
        episode.drawn.view.space.decode(episode.points[i])
        for i in np.argsort(episode.losses, kind="stable")
    ]


def test_episode__paused_run__shows_its_curve_costs_its_share_and_finds_nothing():
    episode, best = begun()
    trial = episode.run(best[0], until=0.27)
    assert (trial.status, trial.share, trial.cost, trial.row >= 0) == (
        "paused",
        0.27,
        0.27,
        True,
    )
    assert (
        math.isnan(trial.loss)
        and math.isnan(trial.objective)
        and not trial.diverged
        and episode.incumbent is None
    )
    assert [share for share, _ in trial.signal] == [
        0.05,
        0.1,
        0.15,
        0.2,
        0.25,
    ], "points at or before the share, none made up"
    assert [value for _, value in trial.signal] == TABLE.curve(
        3, int(episode.drawn.rows[trial.row])
    )[:5, 1].tolist()
    assert episode.ledger.left == pytest.approx(
        2.73
    ) and episode.ledger.cost_flops == pytest.approx(0.27)
    assert episode.regret_curve().tolist() == [1.0, 1.0, 1.0]


def test_episode__run_that_goes_on__pays_the_rest_and_gives_what_a_whole_run_gives():
    episode, best = begun()
    parts = [episode.run(best[0], until=share) for share in (1 / 9, 1 / 3, 1.0)]
    whole = start(pausable_task(), TABLE, 0).run(best[0])
    assert [t.cost for t in parts] == pytest.approx([1 / 9, 2 / 9, 2 / 3]) and [
        t.status for t in parts
    ] == ["paused", "paused", "ok"]
    assert (parts[2].loss, parts[2].row, parts[2].signal, parts[2].share) == (
        whole.loss,
        whole.row,
        whole.signal,
        1.0,
    )
    assert episode.ledger.left == pytest.approx(
        2.0
    ) and episode.ledger.cost_flops == pytest.approx(1.0)
    assert (
        episode.regret_curve().tolist() == [0.0, 0.0, 0.0]
        and episode.incumbent.number == 3
    )


def test_episode__share_that_was_run_before__is_repeated_and_costs_again():
    episode, best = begun()
    episode.run(best[0], until=0.5)
    again = episode.run(best[0], until=0.2)
    assert (again.status, again.cost, again.share, len(again.signal)) == (
        "repeated",
        0.2,
        0.2,
        4,
    )
    assert episode.run(best[0], until=0.6).cost == pytest.approx(0.1), (
        "the run stands where it had come to"
    )
    assert episode.ledger.cost_flops == pytest.approx(0.6)


def test_episode__rest_pays_no_new_run__paused_ones_may_be_finished_and_then_it_is_over():
    episode, best = begun(trials=2)
    episode.run(best[1], until=0.5)
    episode.run(best[2], until=0.2)
    episode.run(best[3])
    assert episode.ledger.left == pytest.approx(0.3) and episode.done, (
        "neither .5 nor .8 of a run can be paid"
    )
    episode, best = begun(trials=2)
    episode.run(best[1], until=0.5)
    episode.run(best[3])
    assert episode.ledger.trials_left == 0 and not episode.done
    for configuration, share in (
        (best[0], 0.1),
        (best[3], 1.0),
        (best[1], 0.5),
    ):
        with pytest.raises(EpisodeError, match="go on with a paused run"):
            episode.run(configuration, until=share)
    assert episode.run(best[1]).status == "ok" and episode.done
    assert (
        episode.ledger.left == pytest.approx(0.0)
        and len(episode.regret_curve()) == 2
    )


def test_episode__malformed_call_beside_a_paused_run__takes_what_is_left_and_no_more():
    episode, best = begun(trials=2)
    episode.run(best[1], until=0.5)
    episode.run(best[3])
    assert (
        episode.malformed().cost == 0.5
        and episode.ledger.left == 0.0
        and episode.done
    )


@pytest.mark.parametrize("until", [0.0, -0.5, 1.5, math.nan])
def test_episode__share_that_is_none__is_malformed_at_the_price_of_a_run(until):
    episode, best = begun()
    assert (episode.run(best[0], until=until).status, episode.ledger.left) == (
        "malformed",
        2.0,
    )


def test_episode__share_of_a_task_that_does_not_pause__is_malformed():
    episode, best = begun(pausable=False)
    assert episode.run(best[0], until=0.5).status == "malformed"
    assert (episode.run(best[0]).signal, episode.run(best[1]).share) == (
        (),
        1.0,
    )


def test_episode__tiny_stretches__cost_a_hundredth_each_so_that_the_budget_ends():
    episode, best = begun(trials=1)
    episode.run(best[0], until=1e-6)
    assert episode.trials[0].cost == 0.01 and episode.done, (
        "what is left could not finish even this run"
    )
    episode, best = begun(trials=2)
    for n in range(1, 200):
        if episode.ledger.trials_left:
            episode.run(best[0], until=1e-6 * n)
    assert len(episode.trials) == 101 and not episode.ledger.trials_left


def test_episode__rest_that_is_less_than_the_least_stretch__is_over():
    episode, best = begun(trials=2)
    episode.run(best[0], until=0.995)
    episode.run(best[1])
    assert episode.ledger.left == pytest.approx(0.005) and episode.done


def test_episode__diverged_run__shows_its_curve_to_where_it_broke():
    episode, best = begun()
    worst = next(
        c
        for c in best
        if TABLE.column("diverged", 3)[
            episode.playable[""].nearest(episode.drawn.view.space.encode(c))[0]
        ]
    )
    trial = episode.run(worst, until=0.6)
    assert (
        math.isfinite(trial.signal[9][1])
        and math.isnan(trial.signal[-1][1])
        and not trial.diverged
    )
    assert episode.run(worst).diverged


def test_episode__row_that_logged_nothing__may_be_paused_and_shows_nothing():
    episode, _ = begun()
    first = episode.drawn.view.space.decode(TABLE.points[3][0])
    assert (
        episode.run(first, until=0.5).signal,
        episode.run(first).status,
    ) == (
        (),
        "ok",
    )


def test_episode__signal_with_more_is_better__is_turned():
    episode, best = begun()
    turned = start(
        pausable_task(), with_curves(make_table(noise=0.02), "max"), 0
    )
    assert (
        turned.run(best[0], until=0.3).signal
        == episode.run(best[0], until=0.3).signal
    )


def test_episode__charged_experiment__may_be_paused_at_its_own_price():
    episode, best = begun(charged=("toy:2",))
    assert (
        episode.run(best[0], "toy:2", 0.5).cost == 1 / 32
        and episode.run(best[0], "toy:2").cost == 1 / 32
    )
    assert episode.incumbent is None
    episode, _ = begun(charged=("toy:2",))
    cheap, expensive = (
        episode.drawn.view.space.decode(episode.playable[experiment].points[1])
        for experiment in ("toy:2", "")
    )
    assert (
        episode.run(cheap, "toy:2").row
        == episode.run(expensive, until=0.5).row
        == 1
    )
    assert [(t.status, t.cost) for t in episode.trials] == [
        ("ok", 1 / 16),
        ("paused", 0.5),
    ], "row 1 of another experiment is another run"


@given(
    st.integers(0, 10_000),
    st.lists(
        st.tuples(
            st.integers(-1, 34),
            st.sampled_from([0.0, 1e-5, 1 / 9, 0.3, 0.5, 1.0]),
        ),
        max_size=60,
    ),
)
def test_episode__any_pauses__keep_the_budget_and_the_bounds(seed, calls):
    episode = start(pausable_task(target_rows="redraw"), TABLE, seed)
    for number, until in calls:
        if not episode.done and number < len(episode.points):
            configuration = (
                episode.drawn.view.space.decode(episode.points[number])
                if number >= 0
                else {}
            )
            try:
                episode.run(configuration, until=until)
            except EpisodeError:
                assert episode.ledger.left < 1
    assert (
        -1e-9
        <= episode.ledger.left
        == pytest.approx(3 - sum(t.cost for t in episode.trials))
    )
    curve = episode.regret_curve()
    assert (
        len(curve) == 3
        and np.all(np.diff(curve) <= 0)
        and np.all((curve >= 0) & (curve <= 1))
    )
    found = [t.loss for t in episode.trials if t.row >= 0 and t.share == 1]
    assert (episode.incumbent.loss if episode.incumbent else None) == (
        min(found) if found else None
    )


def test_draw__no_curves__names_experiment_and_remedy():
    plain = make_table()
    with pytest.raises(
        EpisodeError,
        match=r"toy 3 has no learning curves in snapshot toy\. Fix: name a \[signal\] "
        r"that its runs log in the mapping of toy",
    ):
        draw(pausable_task(), plain, 0)


def test_draw__pausable__changes_nothing_but_the_word_in_the_view():
    drawn, plain = (
        draw(pausable_task(), TABLE, 3),
        draw(pausable_task(pausable=False), TABLE, 3),
    )
    assert (
        drawn.view.pausable
        and not plain.view.pausable
        and masked_view(drawn.view).pausable
    )
    assert np.array_equal(drawn.rows, plain.rows) and np.array_equal(
        drawn.view.candidates, plain.view.candidates
    )


@pytest.mark.parametrize(
    "make",
    [LLMConfigEnv, lambda task, table: LLMConfigVectorEnv([task], table)],
)
def test_arrays__pausable_task__says_to_play_an_episode(make):
    with pytest.raises(
        EpisodeError, match=r"lets runs be paused.*play it as an Episode"
    ):
        make(pausable_task(), TABLE).reset(seed=0)


def test_text__pausable_task__plays_whole_runs_as_if_nothing_could_be_paused():
    told = []
    for pausable in (True, False):
        env = TextEnv(
            lambda pausable=pausable: start(
                pausable_task(pausable=pausable, evidence=("toy:0",)), TABLE, 0
            )
        )
        said = [
            env.reset(),
            *(
                env.run_experiment(
                    "target", {"learning_rate": x, "batch_tokens": 0.0}
                )
                for x in (0.0, 0.5, 0.0)
            ),
        ]
        told.append(
            (
                said,
                env.get_reward(),
                [(t.status, t.loss, t.cost) for t in env.episode.trials],
            )
        )
    assert told[0] == told[1]


def test_suites__curves__have_the_test_experiments_and_say_what_they_need():
    suite, free = (
        load_suite("lab-pretraining-curves-v1"),
        load_suite("lab-pretraining-v3").split("test"),
    )
    assert [(t.target, t.trials, t.pausable, t.split) for t in suite.tasks] == [
        (t.target, 5, True, "test") for t in free
    ]
    toy = type(suite)(
        "s", 1, "pretraining", "toy", "", (pausable_task(charged=("toy:2",)),)
    )
    assert toy.missing(TABLE) == [] and toy.missing(make_table()) == [
        "toy:2 with learning curves",
        "toy:3 with learning curves",
    ]
