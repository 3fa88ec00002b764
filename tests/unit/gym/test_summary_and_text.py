import re

import numpy as np
import pytest

from autollm.gym.environments.summary import fit_optimum, summarize
from autollm.gym.environments.text import TextEnv, quarter
from autollm.gym.tasks.episode import start
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table()


def text_env(**changes):
    env = TextEnv(
        lambda seed=0: start(make_task(TABLE, **changes), TABLE, seed)
    )
    return env, env.reset(seed=1)


def test_fit_optimum__exact_bowl__finds_its_optimum():
    bowl = fit_optimum(TABLE.points[2], TABLE.losses(2))
    assert bowl.convex and bowl.optimum == pytest.approx([-8.5, 8.0], abs=0.15)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_fit_optimum__too_few_rows__falls_back_inside_them(n):
    bowl = fit_optimum(TABLE.points[2][:n], TABLE.losses(2)[:n])
    assert not bowl.convex
    assert np.all(bowl.optimum >= TABLE.points[2][:n].min(axis=0)) and np.all(
        bowl.optimum <= TABLE.points[2][:n].max(axis=0)
    )


def test_summarize__moving_optimum__trend_moves_past_the_last_experiment():
    view = start(make_task(TABLE), TABLE, 0).drawn.view
    summary = summarize(view)
    assert (
        summary.power_law_optimum[0] < summary.fits[-1].optimum[0]
        and summary.power_law_optimum[1] > summary.fits[-1].optimum[1]
    )


def test_summarize__no_evidence__centre_of_the_window():
    view = start(make_task(TABLE, evidence=()), TABLE, 0).drawn.view
    assert summarize(view).power_law_optimum == pytest.approx(
        view.space.window.mean(axis=0)
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.1, 0.0), (-0.1, 0.0), (0.4, 0.5), (99.0, 12.0), (-0.13, -0.25)],
)
def test_quarter__rounds_and_never_says_minus_zero(value, said):
    assert repr(quarter(value)) == repr(said)


def test_text__all_numbers__are_quarters_or_counts():
    _, prompt = text_env()
    for number in re.findall(r"-?\d+\.\d+", prompt):
        assert float(number) * 4 == int(float(number) * 4)


def test_text__masked__same_words_but_for_names():
    _, openly = text_env()
    _, masked = text_env(masked=True)
    names = {
        "pretraining": "task",
        "learning_rate": "k1",
        "batch_tokens": "k2",
        "params": "f1",
        "tokens": "f2",
    }
    for real, hidden in names.items():
        openly = openly.replace(real, hidden)
    assert openly == masked


def test_text__trials__say_place_change_and_budget_then_refuse():
    env, _ = text_env()
    said = [
        env.run_experiment(
            "target", {"learning_rate": 0.0, "batch_tokens": float(i)}
        )
        for i in range(3)
    ]
    assert (
        said[0].startswith("ok at")
        and "change 0.0 left 2" in said[0]
        and said[2].endswith("left 0")
    )
    assert (
        env.run_experiment(
            "target", {"learning_rate": 0.0, "batch_tokens": 0.0}
        )
        == "error: no trials left"
    )


@pytest.mark.parametrize(
    "configuration",
    [
        {},
        {"learning_rate": "0"},
        {"learning_rate": 0, "batch_tokens": True},
        None,
        {"learning_rate": 0, "batch_tokens": float("nan")},
    ],
)
def test_text__malformed_call__costs_its_trial_and_reward(configuration):
    env, _ = text_env()
    assert env.run_experiment("target", configuration) == "malformed left 2"
    assert env.get_reward() == pytest.approx(-0.1)


def test_text__reward__is_one_minus_mean_latent_regret():
    env, _ = text_env()
    env.run_experiment("target", {"learning_rate": 0.0, "batch_tokens": 0.0})
    assert env.get_reward() == pytest.approx(
        1 - env.episode.regret_curve(latent=True).mean()
    )


def test_text__query_and_candidates__are_paged_and_say_no_absolute_values():
    env, _ = text_env()
    assert env.query_experiments("e1").count("loss") == 12
    assert env.query_experiments("e9").startswith("error: no experiment e9")
    assert env.query_experiments("e1", 99).startswith("error: page")
    assert "page 0 of 3" in env.list_candidates()


def test_text__submit__ends_the_episode_once():
    env, _ = text_env()
    here = {"learning_rate": 0.0, "batch_tokens": 0.0}
    assert env.submit({"learning_rate": 0.0}).startswith("error")
    assert (
        env.submit(here) == "submitted"
        and env.submit(here) == "error: already submitted"
    )


def test_text__prompt_and_tools__hold_no_outcome_of_the_target():
    poisoned = make_table()
    poisoned.columns["objective"][poisoned.offsets[3] :] += 1234.0
    env = TextEnv(lambda: start(make_task(poisoned), poisoned, 1))
    clean, prompt = text_env()
    assert env.reset() == prompt
    assert (
        env.query_experiments("e2") == clean.query_experiments("e2")
        and env.list_candidates() == clean.list_candidates()
    )
