"""A task names its objective among the metrics of a table, and bounds others that are
known before a run.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.errors import (
    EpisodeError,
    SnapshotError,
    SpaceError,
    UnknownNameError,
)
from autollm.evaluation.bounds import (
    noise_bound,
    random_expectation,
    smoothed_oracle,
)
from autollm.gym.environments.text import TextEnv
from autollm.gym.tasks import suite_files, suites
from autollm.gym.tasks.drawing import draw, feasible_rows
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.regret import expected_random_regret, regret
from autollm.gym.tasks.task import Constraint
from tests.unit.gym.tables import make_rich_table, make_table, make_task

TABLE = make_rich_table()
BOUND = (Constraint("params", 800),)


def test_table__objective_by_name__has_its_own_losses_and_latents():
    accuracy = TABLE.metric(3, "accuracy")
    assert np.isnan(accuracy[0]) and TABLE.losses(3, "accuracy")[
        0
    ] == np.nanmax(-accuracy)
    assert np.array_equal(TABLE.losses(3, "accuracy")[1:], -accuracy[1:])
    assert (
        TABLE.losses(3, "accuracy") is TABLE.losses(3, "accuracy")
        and not TABLE.losses(3, "accuracy").flags.writeable
    )
    assert np.argmin(TABLE.latent(3, "accuracy")) == np.nanargmax(accuracy)
    assert TABLE.experiments[3].objectives == {
        "val_loss": "min",
        "accuracy": "max",
    }


def test_table__own_objective_by_name__is_the_same_as_none():
    assert np.array_equal(TABLE.losses(1, "val_loss"), TABLE.losses(1))
    assert np.array_equal(
        TABLE.latent(1, "val_loss"), TABLE.column("latent", 1)
    )
    assert np.array_equal(
        TABLE.metric(1, "val_loss"),
        TABLE.column("objective", 1),
        equal_nan=True,
    )


def test_table__what_is_no_objective__says_why():
    with pytest.raises(UnknownNameError, match="Did you mean 'accuracy'"):
        TABLE.losses(3, "acuracy")
    for read in (TABLE.losses, TABLE.latent):
        with pytest.raises(
            SnapshotError,
            match=r"'params' of toy 3 has no direction.*Fix: give it a direction",
        ):
            read(3, "params")
    with pytest.raises(UnknownNameError, match="Did you mean 'params'"):
        TABLE.metric(3, "parms")


def test_draw__other_objective__turns_evidence_and_view():
    own, other = (
        draw(make_task(TABLE), TABLE, 0),
        draw(make_task(TABLE, objective="accuracy"), TABLE, 0),
    )
    assert (other.view.objective, other.view.direction) == (
        "accuracy",
        "max",
    ) and own.view.objective == "val_loss"
    assert np.array_equal(own.rows, other.rows) and np.array_equal(
        own.view.evidence[0].points, other.view.evidence[0].points
    )
    assert not np.array_equal(
        own.view.evidence[0].loss, other.view.evidence[0].loss
    )


def test_episode__other_objective__is_judged_by_it():
    episode = start(
        make_task(
            TABLE,
            objective="accuracy",
            setting="pool-visible",
            target_rows="all",
        ),
        TABLE,
        0,
    )
    best = int(np.nanargmax(TABLE.metric(3, "accuracy")))
    trial = episode.run_candidate(best)
    assert trial.objective == TABLE.metric(3, "accuracy")[best] == -trial.loss
    assert (
        episode.regret_curve()[0] == 0
        and episode.regret_curve(latent=True)[0] == 0
    )
    own = start(
        make_task(TABLE, setting="pool-visible", target_rows="all"), TABLE, 0
    )
    own.run_candidate(best)
    assert own.regret_curve()[0] > 0


def test_text__other_objective__speaks_of_its_losses():
    said = [
        TextEnv(
            lambda o=o: start(make_task(TABLE, objective=o), TABLE, 0)
        ).reset()
        for o in ("", "accuracy")
    ]
    assert said[0] != said[1]


@given(
    st.floats(500, 1100),
    st.floats(500, 1100),
    st.integers(0, 1000),
    st.sampled_from(["declared", "pool-visible"]),
)
def test_draw__any_bounds__keeps_four_fifths_of_the_feasible_rows(
    most, least, seed, setting
):
    params = TABLE.metric(3, "params")
    task = make_task(
        TABLE, constraints=(Constraint("params", most, least),), setting=setting
    )
    wanted = np.flatnonzero((params <= most) & (params >= least))
    if not len(wanted):
        with pytest.raises(EpisodeError, match="no row of toy 3 keeps"):
            draw(task, TABLE, seed)
        return
    drawn = draw(task, TABLE, seed)
    assert set(drawn.rows) <= set(wanted) and len(drawn.rows) == max(
        1, round(0.8 * len(wanted))
    )
    assert np.array_equal(feasible_rows(task, TABLE), wanted)
    if setting == "pool-visible":
        assert np.array_equal(
            drawn.view.candidates, TABLE.points[3][drawn.rows]
        )


def test_draw__without_constraints__is_what_it_was():
    plain = make_table()
    assert np.array_equal(
        draw(make_task(TABLE), TABLE, 5).rows,
        draw(make_task(plain), plain, 5).rows,
    )


def test_episode__infeasible_proposal__costs_its_trial_and_gives_no_outcome():
    episode = start(make_task(TABLE, constraints=BOUND, trials=4), TABLE, 0)
    space = episode.drawn.view.space
    large, small = (
        space.decode(np.array([-8.0, 10.0])),
        space.decode(TABLE.points[3][episode.drawn.rows[0]]),
    )
    trials = [episode.run(c) for c in (large, small, large)]
    assert [t.status for t in trials] == [
        "infeasible",
        "ok",
        "infeasible",
    ] and [t.row for t in trials] == [-1, 0, -1]
    assert (
        np.isnan(trials[0].loss)
        and trials[0].configuration == large
        and episode.ledger.trials_left == 1
    )
    assert episode.ledger.cost_flops == 1.0 and episode.incumbent is trials[1]
    assert (
        episode.drawn.view.constraints == BOUND
        and str(BOUND[0]) == "params <= 800"
    )


def test_episode__feasible_regret__reads_feasible_rows_only():
    tight = (Constraint("params", 750),)
    episode = start(
        make_task(
            TABLE, constraints=tight, target_rows="all", setting="pool-visible"
        ),
        TABLE,
        0,
    )
    rows = feasible_rows(episode.drawn.task, TABLE)
    losses = TABLE.losses(3)[rows]
    episode.run_candidate(int(np.argmin(losses)))
    assert (
        episode.regret_curve()[0] == 0 and losses.min() > TABLE.losses(3).min()
    )
    episode.run_candidate(4)
    assert episode.trials[1].loss == losses[4] and np.array_equal(
        episode.losses, losses
    )


def test_episode__infeasible_submission__is_refused_and_another_may_follow():
    env = TextEnv(lambda: start(make_task(TABLE, constraints=BOUND), TABLE, 0))
    env.reset()
    episode, space = env.episode, env.episode.drawn.view.space
    with pytest.raises(SpaceError, match="breaks params <= 800"):
        episode.submit(space.decode(np.array([-8.0, 10.0])))
    far = {
        "learning_rate": -8.0 - env.reference[0],
        "batch_tokens": 10.0 - env.reference[1],
    }
    assert env.submit(far) == "error: infeasible"
    assert env.run_experiment("target", far) == "infeasible left 2"
    assert episode.submit(space.decode(episode.points[2])) == 2


def test_constraint__bound_of_twelve_digits__is_kept_by_its_own_rounding():
    bound = Constraint("flops", 575_508_316_160)
    assert (
        bound.holds(
            np.array(
                [
                    575_508_316_000,
                    575_508_316_160,
                    575_508_320_000,
                    575_509_000_000,
                    np.nan,
                ]
            )
        ).tolist()
        == [True] * 3 + [False] * 2
    )
    assert (
        str(Constraint("x", 2, 1)) == "1 <= x <= 2"
        and str(bound) == "flops <= 575508316160"
    )


def test_bounds__objective_and_constraints__are_taken_over():
    task = make_task(TABLE, objective="accuracy", constraints=BOUND)
    rows = feasible_rows(task, TABLE)
    losses, surface = (
        TABLE.losses(3, "accuracy")[rows],
        TABLE.latent(3, "accuracy")[rows],
    )
    assert random_expectation([task], TABLE, 2) == expected_random_regret(
        losses, 2
    )
    assert smoothed_oracle([task], TABLE, 1) == regret(
        losses[np.argmin(surface)], losses
    )
    assert (
        noise_bound([task], TABLE, 1, np.random.default_rng(0), 10)[0]
        != noise_bound(
            [make_task(TABLE)], TABLE, 1, np.random.default_rng(0), 10
        )[0]
    )


SUITE = """
suite_id = "rich-v1"
version = 1
family = "pretraining"
source = "toy"
description = "d"
objectives = ["val_loss", "accuracy"]
[constraint]
metric = "params"
max = 800
[experiments]
"a" = { params = 1 }
"b" = { params = 2 }
[[tasks]]
split = "test"
target = "b"
evidence = ["a"]
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    (tmp_path / "rich-v1.toml").write_text(SUITE)
    monkeypatch.setattr(suite_files, "FOLDER", tmp_path)
    return suites.load_suite("rich-v1")


def test_suite__objectives_and_constraint__make_a_task_each(suite):
    assert [t.task_id for t in suite.tasks] == [
        "rich-v1/b/val_loss",
        "rich-v1/b/accuracy",
    ]
    assert [t.objective for t in suite.tasks] == ["val_loss", "accuracy"]
    assert {t.constraints for t in suite.tasks} == {
        (Constraint("params", 800.0),)
    }
    assert {t.target for t in suites.load_suite("rich-v1-masked").tasks} == {
        t.target for t in suite.tasks
    }


def test_suite__table_without_a_metric__misses_it(suite):
    ids = {"a": suite.tasks[0].evidence[0], "b": suite.tasks[0].target}
    rich, plain = make_rich_table(n_experiments=2), make_table(n_experiments=2)
    for table in (rich, plain):
        for experiment, name in zip(table.experiments, "ab", strict=True):
            object.__setattr__(experiment, "experiment_id", ids[name])
    assert suite.missing(rich) == []
    assert suite.missing(plain) == sorted(
        [
            f"{ids['a']} with accuracy",
            f"{ids['b']} with accuracy",
            f"{ids['b']} with params",
        ]
    )
