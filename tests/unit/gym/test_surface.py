import dataclasses

import numpy as np
import pytest

from autollm.gym.environments.summary import summarize
from autollm.gym.environments.surface import APART, MAX_ROWS, Surface
from autollm.gym.tasks.episode import start
from tests.unit.gym.tables import make_mixed_table, make_table, make_task

TABLE = make_table()


def opened(table=TABLE, **changes):
    episode = start(make_task(table, **changes), table, 0)
    return episode, Surface(
        episode.drawn.view, summarize(episode.drawn.view).spread
    )


def first_of(surface, trials):
    return surface.lowest(trials)[0]


def test_lowest__no_trials__near_the_dear_experiments_optima():
    episode, surface = opened()
    most_expensive = summarize(episode.drawn.view).fits[-1].optimum
    assert (
        np.abs(
            episode.drawn.view.candidates[first_of(surface, [])]
            - most_expensive
        ).max()
        <= 1.0
    )


def test_lowest__places_that_were_proposed_or_evaluated__are_left_out():
    episode, surface = opened(trials=8)
    seen = []
    while not episode.done:
        seen.append(first_of(surface, episode.trials))
        episode.run_candidate(seen[-1])
    assert len(set(seen)) == 8 and first_of(surface, episode.trials) not in seen
    elsewhere = dataclasses.replace(
        episode.trials[0],
        proposed=tuple(episode.drawn.view.candidates[seen[1]]),
    )
    assert first_of(surface, [elsewhere]) not in seen[:2]


def test_lowest__a_better_trial__draws_it_nearer():
    episode, surface = opened(trials=2)
    far = episode.drawn.view.candidates[
        np.argmax(
            np.abs(
                episode.drawn.view.candidates
                - episode.drawn.view.candidates[first_of(surface, [])]
            ).sum(axis=1)
        )
    ]
    first, second = (
        episode.run_candidate(first_of(surface, [])),
        episode.run_point(far),
    )
    better = [first, dataclasses.replace(second, loss=first.loss - 1.0)]

    def distance(trials):
        return np.linalg.norm(
            episode.drawn.view.candidates[first_of(surface, trials)]
            - np.array(second.point)
        )

    assert distance(better) < distance([first, second])


@pytest.mark.parametrize("direction", ["min", "max"])
def test_lowest__follows_suggestions__ends_near_the_targets_best_row(direction):
    table = make_table(direction=direction)
    episode, surface = opened(table, trials=6)
    while not episode.done:
        episode.run_candidate(first_of(surface, episode.trials))
    assert episode.regret_curve()[-1] < 0.1


def test_lowest__no_evidence__the_middle_first():
    episode, surface = opened(evidence=())
    middle = episode.drawn.view.candidates.mean(axis=0)
    assert (
        np.abs(
            episode.drawn.view.candidates[first_of(surface, [])] - middle
        ).max()
        <= 0.5
    )
    assert first_of(
        surface, [episode.run_candidate(first_of(surface, []))]
    ) != first_of(surface, [])


def test_surface__targets_outcomes_changed__nothing_changes_before_a_trial():
    poisoned = make_table()
    poisoned.columns["objective"][poisoned.offsets[3] :] = 99.0
    assert opened(poisoned)[1].lowest([], 3) == opened()[1].lowest([], 3)


def test_surface__many_rows_of_a_mixed_space__thinned_and_finite():
    table = make_mixed_table(n_rows=MAX_ROWS)
    episode, surface = opened(table)
    trial = episode.run_candidate(first_of(surface, []))
    assert 0 <= first_of(surface, [trial]) < len(episode.drawn.view.candidates)


def test_lowest__several__are_apart_and_the_first_is_the_lowest():
    episode, surface = opened()
    several = surface.lowest([], 4)
    places = episode.drawn.view.candidates[several]
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)[
        np.triu_indices(4, 1)
    ]
    assert several[0] == first_of(surface, []) and apart.min() >= APART
    assert len(surface.lowest([], 10**6)) < len(episode.drawn.view.candidates)


def test_lowest__proposal_snapped_from_afar__nothing_nearer_to_it_is_suggested():
    episode, surface = opened()
    proposed = episode.drawn.view.candidates[first_of(surface, [])]
    trial = dataclasses.replace(
        episode.run_point(proposed),
        point=tuple(proposed + np.array([0.0, 2.0])),
        proposed=tuple(proposed),
    )
    places = episode.drawn.view.candidates[surface.lowest([trial], 5)]
    assert np.linalg.norm(places - proposed, axis=1).min() >= 2.0
