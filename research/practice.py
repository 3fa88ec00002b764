"""Practice for the base model: generated landscapes, explored at random, with the
all-knowing teacher's opinion at every turn.

What the teacher would have tried instead of the played trial is the target of each
value's position, as a distribution over quarter steps (`decisions`).

Invariant: an example is determined by its seed, in any process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autollm.agent.labels import Grid
from autollm.agent.landscapes import Landscape, make_landscape
from autollm.agent.practice import (
    N_NUMBERS,
    explore,
    exploring_width,
    offered,
)
from autollm.agent.transcript import (
    Message,
    play_turn,
    run_call,
    submit_call,
    user_message,
)
from autollm.gym.environments.text import LIMIT, QUARTERS, TextEnv
from autollm.gym.tasks.episode import start

N_QUARTERS = int(2 * LIMIT * QUARTERS) + 1
"""Distinct numbers that the text view says."""
N_VALUES = N_QUARTERS + N_NUMBERS
"""What a value may be: a quarter of a coordinate, or a candidate's number."""
FIRST_TRIAL = 2.0
"""Weight of the first decision relative to the later ones, which are more: it is the
one that an expensive experiment rests on.
"""


@dataclass(frozen=True)
class Example:
    """A conversation, and per `run_experiment` turn the teacher's distribution over
    each value given the played ones before it: float32 [n_values, N_VALUES], a value a
    coordinate or the one number; `importance` [n_turns] weighs turns by how much there
    is to gain.
    """

    messages: list[Message]
    decisions: list[np.ndarray]
    importance: list[float]


def practice_example(seed: int) -> Example:
    """The example of a seed; see make_landscape."""
    return play_example(make_landscape(seed), seed)


def play_example(landscape: Landscape, seed: int) -> Example:
    """Explore a landscape to the end of its trials, then submit the best."""
    env = TextEnv(lambda: start(landscape.task, landscape.table, seed))
    rng = np.random.default_rng([23, seed])
    messages, decisions, importance = [user_message(env.reset())], [], []
    grid, width = Grid(env.episode), exploring_width(rng)
    while not env.episode.done:
        weights = grid.weights()
        cell = explore(env, grid, rng, width)
        decisions.append(_call_targets(env, grid, weights, cell))
        sayable = (
            weights if env.shortlist is None else weights[env.shortlist.indices]
        )
        importance.append(
            float(np.clip(sayable.mean() / 0.15, 0.5, 2.0))
            * (1.0 if env.episode.trials else FIRST_TRIAL)
        )
        play_turn(env, messages, run_call(env, grid.cells[cell]))
    play_turn(env, messages, submit_call(env))
    return Example(messages, decisions, importance)


def _call_targets(
    env: TextEnv, grid: Grid, weights: np.ndarray, cell: int
) -> np.ndarray:
    """The teacher's distribution over each value of the call that plays a cell,
    [n_values, N_VALUES].
    """
    if env.shortlist is None:
        return value_targets(env, grid.cells, weights, grid.cells[cell])
    _, share = offered(env, grid, weights)
    out = np.zeros((1, N_VALUES), dtype=np.float32)
    out[0, N_QUARTERS : N_QUARTERS + len(share)] = share
    return out


def value_targets(
    env: TextEnv, cells: np.ndarray, weights: np.ndarray, played: np.ndarray
) -> np.ndarray:
    """Distribution of each knob's value under the weights, given the played values of
    the knobs before it: [n_knobs, N_VALUES].

    A slice where nothing has weight falls back to the slice before it.
    """
    out = np.zeros((cells.shape[1], N_VALUES), dtype=np.float32)
    kept = weights
    for j, value in enumerate(played):
        index = np.rint(
            (np.clip(cells[:, j] - env.reference[j], -LIMIT, LIMIT) + LIMIT)
            * QUARTERS
        ).astype(int)
        out[j] = np.bincount(index, kept, N_VALUES)
        out[j] /= out[j].sum()
        narrowed = np.where(np.abs(cells[:, j] - value) < 1e-6, kept, 0.0)
        kept = narrowed if narrowed.sum() > 1e-9 else kept
    return out
