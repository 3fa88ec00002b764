"""Practice for the base model: generated landscapes, explored at random, with the
all-knowing teacher's opinion at every turn.

The trials that are played are exploratory (around the trend, around the best so far),
not the teacher's: a played near-optimal trial would tell the model where the optimum is
before it could know. What the teacher would have tried instead is the target of each
value's position, as a distribution over quarter steps (`decisions`).

Invariant: an example is determined by its seed, in any process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autollm.agent.labels import Grid
from autollm.agent.landscapes import Landscape, make_landscape
from autollm.agent.transcript import (
    Call,
    Message,
    Turn,
    assistant_message,
    play_call,
    run_call,
    submit_call,
    thought,
    tool_message,
    user_message,
)
from autollm.gym.environments.shortlist import Shortlist
from autollm.gym.environments.text import LIMIT, QUARTERS, TextEnv, suggested
from autollm.gym.tasks.episode import start

N_QUARTERS = int(2 * LIMIT * QUARTERS) + 1
"""Distinct numbers that the text view says."""
N_NUMBERS = 64
"""Candidates' numbers that are practised."""
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
        _play(env, messages, run_call(env, grid.cells[cell]))
    _play(env, messages, submit_call(env))
    return Example(messages, decisions, importance)


def exploring_width(rng: np.random.Generator) -> float:
    """Standard deviation of one play's exploration around what it aims at, natural
    units: half of the plays are nearly greedy, as a trained model's are, so that what a
    good trial leaves to do is practised as often as what a poor one does.
    """
    return float(np.exp(rng.uniform(np.log(0.1), np.log(2.0))))


def explore(
    env: TextEnv, grid: Grid, rng: np.random.Generator, width: float
) -> int:
    """A cell near the best trial, the trend, the surface's lowest place, or a cheap
    experiment's best row, or anywhere; one in twenty may repeat. Where candidates have
    numbers, one of these, half of the time the surface's.
    """
    if env.shortlist is not None:
        if rng.random() < 0.5:
            return suggested(env)
        named = _named(env.shortlist)
        fresh = named[grid.untried()[named]]
        return int(
            rng.choice(fresh if len(fresh) and rng.random() > 0.05 else named)
        )
    best, view = env.episode.incumbent, env.episode.drawn.view
    pick = rng.random()
    if pick < 0.35 and best is not None:
        centre = np.array(best.point)
    elif pick < 0.55:
        centre = env.summary.power_law_optimum
    elif pick < 0.88 or not env.summary.fits:
        centre = view.candidates[suggested(env)]
    else:
        centre = env.summary.fits[
            int(rng.integers(len(env.summary.fits)))
        ].best_row
    wanted = (
        rng.uniform(*view.space.window)
        if rng.random() < 0.06
        else centre + rng.normal(0, width, len(centre))
    )
    distance = ((grid.cells - wanted) ** 2).sum(axis=1)
    if rng.random() > 0.05:
        distance = np.where(grid.untried(), distance, distance + 1e6)
    return int(np.argmin(distance))


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


def offered(
    env: TextEnv, grid: Grid, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cells that a call can name now, and the teacher's distribution over them: (int
    [n], float64 [n], of sum 1). Where candidates have numbers, those that have one; the
    untried of them where none gains.
    """
    cells = (
        np.arange(len(weights))
        if env.shortlist is None
        else _named(env.shortlist)
    )
    among = (
        weights[cells]
        if weights[cells].sum() > 1e-9
        else grid.untried()[cells] + 1e-9
    )
    return cells, among / among.sum()


def _named(shortlist: Shortlist) -> np.ndarray:
    """Candidates whose numbers are practised, int [n]."""
    return np.array(shortlist.indices[:N_NUMBERS])


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


def _play(env: TextEnv, messages: list[Message], call: Call) -> None:
    messages.append(assistant_message(Turn(thought(env), call)))
    messages.append(tool_message(call.name, play_call(env, call)))
