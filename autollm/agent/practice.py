"""Exploration of generated landscapes: what is tried in practice, and what the
all-knowing teacher would have tried instead.

The trials that are played are exploratory (around the trend, around the best so far),
not the teacher's: a played near-optimal trial would tell the model where the optimum is
before it could know.
"""

from __future__ import annotations

import numpy as np

from autollm.agent.labels import Grid
from autollm.gym.environments.shortlist import Shortlist
from autollm.gym.environments.text import TextEnv, suggested

N_NUMBERS = 64
"""Candidates' numbers that are practised."""


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


def offered(
    env: TextEnv, grid: Grid, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cells that a call can name now, int [n], and the teacher's distribution over
    them, float64 [n] of sum 1. Where candidates have numbers, only those with a number
    count. Where no cell gains, the untried ones share the weight.
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
