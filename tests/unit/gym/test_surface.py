import dataclasses

import numpy as np
import pytest

from autollm.gym.episode import start
from autollm.gym.summary import summarize
from autollm.gym.surface import MAX_ROWS, Surface
from tests.unit.gym.tables import make_mixed_table, make_table, make_task

TABLE = make_table()


def opened(table=TABLE, **changes):
    episode = start(make_task(table, **changes), table, 0)
    return episode, Surface(episode.drawn.view, summarize(episode.drawn.view).spread)


def test_lowest__no_trials__near_the_dear_experiments_optima():
    episode, surface = opened()
    dearest = summarize(episode.drawn.view).bowls[-1].optimum
    assert np.abs(episode.drawn.view.candidates[surface.lowest([])] - dearest).max() <= 1.0


def test_lowest__places_that_were_proposed_or_evaluated__are_left_out():
    episode, surface = opened(trials=8)
    seen = []
    while not episode.done:
        seen.append(surface.lowest(episode.trials))
        episode.run_candidate(seen[-1])
    assert len(set(seen)) == 8 and surface.lowest(episode.trials) not in seen
    elsewhere = dataclasses.replace(episode.trials[0], proposed=tuple(episode.drawn.view.candidates[seen[1]]))
    assert surface.lowest([elsewhere]) not in seen[:2]


def test_lowest__a_better_trial__draws_it_nearer():
    episode, surface = opened(trials=2)
    far = episode.drawn.view.candidates[np.argmax(np.abs(episode.drawn.view.candidates - episode.drawn.view.candidates[surface.lowest([])]).sum(axis=1))]
    first, second = episode.run_candidate(surface.lowest([])), episode.run_point(far)
    better = [first, dataclasses.replace(second, loss=first.loss - 1.0)]

    def distance(trials):
        return np.linalg.norm(episode.drawn.view.candidates[surface.lowest(trials)] - np.array(second.point))

    assert distance(better) < distance([first, second])


@pytest.mark.parametrize("direction", ["min", "max"])
def test_lowest__follows_suggestions__ends_near_the_targets_best_row(direction):
    table = make_table(direction=direction)
    episode, surface = opened(table, trials=6)
    while not episode.done:
        episode.run_candidate(surface.lowest(episode.trials))
    assert episode.regret_curve()[-1] < 0.1


def test_lowest__no_evidence__the_middle_first():
    episode, surface = opened(evidence=())
    middle = episode.drawn.view.candidates.mean(axis=0)
    assert np.abs(episode.drawn.view.candidates[surface.lowest([])] - middle).max() <= 0.5
    assert surface.lowest([episode.run_candidate(surface.lowest([]))]) != surface.lowest([])


def test_surface__targets_outcomes_changed__nothing_changes_before_a_trial():
    poisoned = make_table()
    poisoned.columns["objective"][poisoned.offsets[3] :] = 99.0
    assert opened(poisoned)[1].lowest([]) == opened()[1].lowest([])


def test_surface__many_rows_of_a_mixed_space__thinned_and_finite():
    table = make_mixed_table(n_rows=MAX_ROWS)
    episode, surface = opened(table)
    trial = episode.run_candidate(surface.lowest([]))
    assert 0 <= surface.lowest([trial]) < len(episode.drawn.view.candidates)
