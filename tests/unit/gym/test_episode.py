import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import EpisodeError, SpaceError, UnknownNameError
from autollm.gym.tasks.drawing import draw
from autollm.gym.tasks.episode import Outcome, TableSource, start
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table()


def test_draw__same_seed__same_rows__other_seed__others():
    task = make_task(TABLE)
    a, b, c = (draw(task, TABLE, s) for s in (7, 7, 8))
    assert np.array_equal(a.rows, b.rows) and np.array_equal(
        a.view.evidence[0].points, b.view.evidence[0].points
    )
    assert not np.array_equal(a.rows, c.rows)


def test_draw__other_process_and_hash_seed__same_rows():
    code = (
        "from tests.unit.gym.tables import *; from autollm.gym.tasks.drawing import draw; t = "
        "make_table();"
        "print(draw(make_task(t), t, 3).rows.tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": h},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for h in ("1", "2")
    }
    assert outputs == {f"{draw(make_task(TABLE), TABLE, 3).rows.tolist()}\n"}


def test_draw__redraw__keeps_four_fifths_of_target_and_evidence():
    drawn = draw(make_task(TABLE), TABLE, 0)
    assert len(drawn.rows) == 28 and {
        len(e.points) for e in drawn.view.evidence
    } == {28}
    assert len(draw(make_task(TABLE, target_rows="all"), TABLE, 0).rows) == 35


def test_draw__declared__view_shows_the_grid_and_no_outcome_of_the_target():
    noisy = make_table(noise=0.01)
    drawn = draw(make_task(noisy), noisy, 0)
    assert np.array_equal(
        drawn.view.candidates, noisy.experiments[-1].space.grid
    )
    target = set(np.round(noisy.losses(3), 9))
    assert not any(
        target & set(np.round(e.loss, 9)) for e in drawn.view.evidence
    )


def test_task__unknown_setting__did_you_mean():
    with pytest.raises(UnknownNameError, match="Did you mean 'declared'"):
        make_task(TABLE, setting="declare")


def test_episode__best_row__zero_regret_from_then_on():
    episode = start(
        make_task(TABLE, target_rows="all", setting="pool-visible"), TABLE, 0
    )
    order = np.argsort(episode.losses)
    for row in (order[len(order) // 2], order[0], order[1]):
        episode.run_candidate(row)
    assert episode.regret_curve().tolist() == [1.0, 0.0, 0.0]
    assert episode.done and episode.incumbent.row == order[0]


def test_episode__repeat_malformed_and_far_calls__cost_a_trial_and_are_counted():
    episode = start(make_task(TABLE, trials=5, target_rows="all"), TABLE, 0)
    here = episode.drawn.view.space.decode(episode.points[0])
    statuses = [
        episode.run(c).status
        for c in (
            here,
            here,
            {"learning_rate": 1},
            {**here, "learning_rate": 1.0},
        )
    ]
    assert statuses == ["ok", "repeated", "malformed", "off_table"]
    assert episode.ledger.trials_left == 1 and episode.ledger.cost_flops == 2.0


def test_episode__nothing_found__regret_one():
    episode = start(make_task(TABLE), TABLE, 0)
    episode.malformed()
    assert (
        episode.regret_curve().tolist() == [1, 1, 1]
        and episode.inference_regret() == 1
    )


def test_episode__snap__is_reported_with_its_distance():
    episode = start(make_task(TABLE, target_rows="all"), TABLE, 0)
    trial = episode.run_point(episode.points[4] + [0.2, 0.0])
    assert (
        trial.row == 4
        and trial.distance == pytest.approx(0.2)
        and trial.status == "ok"
    )


def test_episode__after_the_end__says_so():
    episode = start(make_task(TABLE, trials=1), TABLE, 0)
    episode.run_candidate(0)
    with pytest.raises(EpisodeError, match="no trials left"):
        episode.run_candidate(1)


def test_episode__submit__inference_regret_of_that_row():
    episode = start(make_task(TABLE, target_rows="all"), TABLE, 0)
    best = int(np.argmin(episode.latent))
    assert (
        episode.submit(episode.drawn.view.space.decode(episode.points[best]))
        == best
    )
    assert episode.inference_regret() == 0
    with pytest.raises(EpisodeError, match="submitted already"):
        episode.submit({})


def test_episode__submit_nonsense__space_error():
    with pytest.raises(SpaceError):
        start(make_task(TABLE), TABLE, 0).submit({"lr": 1})


def test_episode__injected_source__answers_instead_of_the_table():
    class Flat(TableSource):
        def outcome(self, experiment, row):
            return Outcome(9.0, 9.0, False, 1.0, 1.0)

    assert (
        start(make_task(TABLE), TABLE, 0, Flat(TABLE)).run_candidate(0).loss
        == 9.0
    )


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000), st.lists(st.integers(0, 34), min_size=3, max_size=3)
)
def test_episode__any_calls__regret_never_rises_and_stays_in_bounds(
    seed, actions
):
    episode = start(make_task(TABLE), TABLE, seed)
    for action in actions:
        episode.run_candidate(action)
    curve = episode.regret_curve()
    assert np.all(np.diff(curve) <= 0) and np.all((curve >= 0) & (curve <= 1))
