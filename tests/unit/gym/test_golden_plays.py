"""What 50 generated landscapes say and give, word for word: prompts, tool answers,
draws and regrets of checkpoints that were trained on them.

A change here means that weights trained before it read another language. Such a change
needs new weights, not new digests. (Once it did not: since architectures list their
rows, a quarter of the landscapes offers other candidates, in the same words.)
"""

from __future__ import annotations

import hashlib
import inspect

import numpy as np
import pytest

from autollm.agent.landscapes import make_landscape
from autollm.agent.transcript import run_call, submit_call, thought
from autollm.gym.environments.text import TextEnv
from autollm.gym.tasks.episode import start

TOOLS = "88a13ac8a86e54e5"
GOLDEN = {
    0: "65acfe15cdbea1e7",
    10: "649c9daa31db94ee",
    20: "41933eacf3ba8531",
    30: "42428d5e6ebdf035",
    40: "dd5e9276a6dd855a",
}


def transcript(seed: int) -> list[str]:
    """Everything that is said in one play of a landscape: good, repeated, malformed and
    far calls, then a submission.
    """
    landscape = make_landscape(seed)
    env = TextEnv(lambda: start(landscape.task, landscape.table, seed))
    rng = np.random.default_rng([53, seed])
    said = [
        env.reset(),
        env.list_candidates(),
        env.query_experiments("e1"),
        env.query_experiments("e1", 99),
        env.query_experiments("e77"),
    ]
    cells, point = env.episode.drawn.view.candidates, None
    while not env.episode.done:
        pick = rng.random()
        if point is None or pick < 0.7:
            point = cells[int(rng.integers(len(cells)))]
        elif pick > 0.9:
            point = point + 7.0
        said.append(thought(env))
        arguments = (
            run_call(env, point).arguments
            if pick < 0.95
            else {"experiment": "target", "configuration": {"nothing": 1}}
        )
        said.append(env.run_experiment(**arguments))
    said += [
        thought(env),
        env.submit(**submit_call(env).arguments),
        env.run_experiment("target", {}),
    ]
    return said


def figures(seed: int) -> list[str]:
    """The draw and the scores of that play, to 9 digits."""
    landscape = make_landscape(seed)
    env = TextEnv(lambda: start(landscape.task, landscape.table, seed))
    env.reset()
    episode, rng = env.episode, np.random.default_rng([59, seed])
    while not episode.done:
        episode.run_candidate(
            int(rng.integers(len(episode.drawn.view.candidates)))
        )
    said = [
        episode.drawn.rows.tolist(),
        [len(e.points) for e in episode.drawn.view.evidence],
        [t.status for t in episode.trials],
        [t.row for t in episode.trials],
        *(
            [f"{v:.9g}" for v in values]
            for values in (
                [t.distance for t in episode.trials],
                [t.loss for t in episode.trials],
                episode.regret_curve(),
                episode.regret_curve(latent=True),
                [
                    episode.inference_regret(),
                    env.get_reward(),
                    episode.ledger.cost_flops,
                ],
                episode.drawn.view.candidates.ravel(),
                episode.drawn.view.space.window.ravel(),
            )
        ),
    ]
    return [repr(s) for s in said]


def digest(first: int) -> str:
    """Of ten landscapes."""
    text = "\n".join(
        line
        for seed in range(first, first + 10)
        for line in (*transcript(seed), *figures(seed))
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("first", range(0, 50, 10))
def test_landscapes__prompts_answers_draws_and_regrets__are_what_weights_were_trained_on(
    first,
):
    assert digest(first) == GOLDEN[first]


def test_tools__names_and_docstrings__are_what_weights_were_trained_on():
    """Public methods of TextEnv are the tools: chat templates render their signatures
    and docstrings. Where a docstring's lines break says nothing.
    """
    tools = [
        (name, str(inspect.signature(m)), " ".join(inspect.getdoc(m).split()))
        for name, m in inspect.getmembers(TextEnv, inspect.isfunction)
        if not name.startswith("_")
    ]
    assert hashlib.sha256(repr(tools).encode()).hexdigest()[:16] == TOOLS
