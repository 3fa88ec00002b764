import os
import subprocess
import sys

import numpy as np

from autollm.agent.labels import Grid
from autollm.agent.landscapes import make_landscape
from autollm.agent.practice import offered
from autollm.agent.transcript import run_call
from autollm.core.spaces.scales import ONE_COORDINATE
from autollm.gym.environments.shortlist import has_numbers
from autollm.gym.environments.text import TextEnv
from autollm.gym.tasks.episode import start
from research.practice import practice_example

DIGEST = """
import hashlib
from research.practice import practice_example
print(hashlib.sha256(repr([practice_example(s).messages for s in range(5)]).encode()).hexdigest())
"""


def test_landscape__other_process_and_hash_seed__is_the_same():
    said = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(h)},
        ).stdout
        for h in (1, 2)
    }
    assert len(said) == 1 and said != {""}


def test_landscapes__many_seeds__cover_the_stated_prior():
    made = [make_landscape(s) for s in range(300)]
    spaces = [m.table.experiments[0].space for m in made]
    assert {len(s) for s in spaces} >= {1, 2, 3, 4, 5, 6, 7}
    assert {k.scale for s in spaces for k in s.knobs} == {
        *ONE_COORDINATE,
        "categorical",
        "simplex",
    } - {"integer"}
    assert 0.2 < np.mean([has_numbers(s) for s in spaces]) < 0.4
    assert {len(m.task.evidence) for m in made} == set(range(1, 13))
    targets = [
        m.table.column("latent", m.table.index(m.task.target)) for m in made
    ]
    assert all(len(t) >= 5 and np.isfinite(t).all() for t in targets)
    for m in made:
        cost = [
            m.table.experiments[m.table.index(e)].compute_flops
            for e in (*m.task.evidence, m.task.target)
        ]
        assert max(cost[:-1]) <= 0.6 * cost[-1]
    edges = 0
    for m, latent in zip(made, targets, strict=True):
        target = m.table.index(m.task.target)
        best = m.table.points[target][np.argmin(latent)]
        edges += bool(np.any(best == m.table.experiments[target].space.window))
    assert 0.2 < edges / len(made) < 0.9


def test_landscapes__cheap_evidence__misleads_in_a_sixth(monkeypatch):
    kinds = []
    real = np.random.default_rng

    class Spy:
        def __init__(self, *seed):
            self._rng = real(*seed)

        def __getattr__(self, name):
            return getattr(self._rng, name)

        def choice(self, values, *rest, **named):
            out = self._rng.choice(values, *rest, **named)
            if isinstance(values, list) and values[0] == "law":
                kinds.append(str(out))
            return out

    monkeypatch.setattr(np.random, "default_rng", Spy)
    for s in range(600):
        make_landscape(s)
    assert (
        len(kinds) == 600 and 0.13 < np.mean([k != "law" for k in kinds]) < 0.21
    )


def test_grid_weights__tried_rows__gain_nothing_and_a_perfect_trial_ends_the_hunt():
    landscape = make_landscape(8)
    episode = start(landscape.task.with_(trials=5), landscape.table, 8)
    grid = Grid(episode)
    first = grid.weights()
    assert (
        first.max() == 1 and grid.regret[np.argmax(first)] == grid.regret.min()
    )
    episode.run_candidate(int(np.argmax(first)))
    second = grid.weights()
    assert second[grid.rows == episode.trials[0].row].max() == 0
    assert np.count_nonzero(second) < np.count_nonzero(first)


def test_practice__labels__do_not_depend_on_the_played_trial_of_the_same_turn():
    example = practice_example(4)
    roles = [m["role"] for m in example.messages]
    assert roles[0] == "user" and roles[1::2] == ["assistant"] * (
        len(roles) // 2
    )
    assert (
        example.messages[-1]["content"] == "submitted"
        and len(example.decisions) == roles.count("assistant") - 1
    )


def test_offered__numbered_candidates__are_named_ones_that_were_not_tried():
    wide = [
        m
        for m in map(make_landscape, range(60))
        if has_numbers(m.table.experiments[0].space) and m.task.trials > 1
    ]
    for landscape in wide:
        env = TextEnv(
            lambda landscape=landscape: start(
                landscape.task, landscape.table, 0
            )
        )
        env.reset()
        grid = Grid(env.episode)
        while not env.episode.done:
            cells, share = offered(env, grid, grid.weights())
            assert (
                set(cells) <= set(env.shortlist.indices)
                and abs(share.sum() - 1) < 1e-9
            )
            chosen = cells[np.argmax(share)]
            call = run_call(env, grid.cells[chosen]).arguments
            assert (
                env.shortlist.indices[call["configuration"]["candidate"]]
                == chosen
            )
            env.run_experiment(**call)
            left = grid.untried()[cells].any()
            assert env.episode.trials[-1].status != "repeated" or not left
    assert len(wide) > 5
