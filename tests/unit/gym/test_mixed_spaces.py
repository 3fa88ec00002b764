"""Spaces without a finite grid (mixtures, per-layer lists): rows are listed in both
settings, and everything plays.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.gym.environments.candidate_outcomes import n_candidates
from autollm.gym.environments.summary import summarize
from autollm.gym.environments.text import TextEnv
from autollm.gym.tasks.drawing import draw
from autollm.gym.tasks.episode import start
from tests.unit.gym.tables import MIXED, make_mixed_table, make_table, make_task

TABLE = make_mixed_table()


@pytest.mark.parametrize("setting", ["declared", "pool-visible"])
def test_draw__space_without_grid__lists_the_rows_in_both_settings(setting):
    drawn = draw(make_task(TABLE, setting=setting), TABLE, 1)
    assert drawn.view.lists_rows and np.array_equal(
        drawn.view.candidates, TABLE.points[2][drawn.rows]
    )


def test_draw__space_with_grid__lists_rows_in_a_pool_only():
    table = make_table()
    assert [
        draw(make_task(table, setting=s), table, 0).view.lists_rows
        for s in ("declared", "pool-visible")
    ] == [False, True]


@pytest.mark.parametrize("masked", [False, True])
def test_draw__architectures__list_rows_though_their_space_has_a_grid(masked):
    table = make_table()
    built = replace(
        table,
        experiments=tuple(
            replace(e, family="architecture") for e in table.experiments
        ),
    )
    task = make_task(built, masked=masked)
    drawn = draw(task, built, 1)
    assert drawn.view.lists_rows and np.array_equal(
        drawn.view.candidates, built.points[-1][drawn.rows]
    )
    assert (
        n_candidates(task, built)
        == len(drawn.rows)
        < len(built.experiments[-1].space.grid)
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_episode__listed_configuration__is_evaluated_where_it_stands(seed):
    episode = start(make_task(TABLE), TABLE, seed)
    row = seed % len(episode.points)
    configuration = json.loads(
        json.dumps(MIXED.decode(episode.drawn.view.candidates[row]))
    )
    trial = episode.run(configuration)
    assert (trial.row, trial.status) == (row, "ok") and trial.distance < 1e-6
    assert (
        trial.configuration == configuration
        and trial.loss == episode.losses[row]
    )


def test_episode__malformed_mixture__costs_its_trial():
    episode = start(make_task(TABLE), TABLE, 0)
    trial = episode.run(
        {
            "optimizer": "adam",
            "heads": [4, 4],
            "mixture": {"code": 2.0, "text": -1.0, "web": 0.0},
        }
    )
    assert trial.status == "malformed" and episode.ledger.trials_left == 2


def test_summarize__many_coordinates__is_the_centre_of_the_best_rows():
    summary = summarize(start(make_task(TABLE), TABLE, 0).drawn.view)
    assert summary.power_law_optimum.shape == (len(MIXED),) and not any(
        b.convex for b in summary.fits
    )


def text_env(**changes):
    env = TextEnv(lambda: start(make_task(TABLE, **changes), TABLE, 1))
    return env, env.reset()


def test_text__listed_candidate__is_run_and_submitted_by_its_number():
    env, prompt = text_env()
    assert '"mixture.code"' in prompt and '"heads.0"' in prompt
    row = int(np.argmin(env.episode.latent))
    best = env.shortlist.near(env.episode.points[row])
    assert f"candidate {best} at " in env.list_candidates()
    assert env.run_experiment("target", {"candidate": best}).startswith(
        "ok at "
    )
    assert (
        env.episode.trials[0].row == row and env.episode.trials[0].distance == 0
    )
    assert (
        env.submit({"candidate": best}) == "submitted"
        and env.episode.inference_regret() == 0
    )


@pytest.mark.parametrize("number", [-1, 32, True, 1.0, "0", None])
def test_text__number_of_no_candidate__is_malformed(number):
    env, _ = text_env()
    assert (
        env.run_experiment("target", {"candidate": number})
        == "malformed left 2"
    )


def test_text__grid_space__knows_no_candidate_numbers():
    table = make_table()
    env = TextEnv(
        lambda: start(make_task(table, setting="pool-visible"), table, 1)
    )
    env.reset()
    assert env.run_experiment("target", {"candidate": 0}) == "malformed left 2"
    assert not env.list_candidates().startswith("candidate")


def test_text__masked__hides_every_part_and_category():
    _, prompt = text_env(masked=True)
    assert not any(
        word in prompt
        for word in (
            "optimizer",
            "adam",
            "heads",
            "mixture",
            "code",
            "params",
            "data_mixture",
        )
    )
    assert '"k10"' in prompt
