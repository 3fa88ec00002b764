"""One episode, its views: scalar and vector environment, text and TRL's adapter give
equal rewards in every family's kind of space.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from autollm.evaluation.protocol import Player, result_of
from autollm.gym.environments.scalar import LLMConfigEnv
from autollm.gym.environments.text import TextEnv
from autollm.gym.environments.vector import LLMConfigVectorEnv
from autollm.gym.tasks.episode import start
from autollm.testing import EnvironmentContract
from tests.unit.gym.tables import (
    FAMILIES,
    make_family_table,
    make_task,
    with_curves,
)

TABLES = {family: make_family_table(family) for family in FAMILIES}
POSED = [
    (family, setting, masked)
    for family in FAMILIES
    for setting in ("declared", "pool-visible")
    for masked in (False, True)
]
WITH_TRL = pytest.mark.skipif(
    find_spec("trl") is None,
    reason="trl is not installed here. Fix: pip install 'autollm[train]'.",
)


def posed(family, setting="declared", masked=False):
    return make_task(
        TABLES[family], trials=4, setting=setting, masked=masked
    ), TABLES[family]


def numbers(task, table, seed):
    """Candidates to try: different ones, and the first again."""
    chosen = (
        np.random.default_rng(seed)
        .choice(
            LLMConfigEnv(task, table).action_space.n,
            task.trials - 1,
            replace=False,
        )
        .tolist()
    )
    return [*chosen, chosen[0]]


def played(task, table, seed):
    """The episode that all views have to equal, and its rewards: decreases of latent
    regret.
    """
    episode = start(task, table, seed)
    for number in numbers(task, table, seed):
        episode.run_candidate(number)
    curve = np.concatenate([[1.0], episode.regret_curve(latent=True)])
    return episode, (curve[:-1] - curve[1:]).tolist()


def told(env, task, table, seed):
    """Play the same candidates through a text view's tools; returns the environment's
    reward.
    """
    for number in numbers(task, table, seed):
        if env.shortlist is not None:
            configuration = {"candidate": env.shortlist.number(number)}
        else:
            point = env.episode.drawn.view.candidates[number]
            configuration = dict(
                zip(env._knobs, (point - env.reference).tolist(), strict=True)
            )
        env.run_experiment(experiment="target", configuration=configuration)
    return env.get_reward()


def outcomes(episode):
    return [(t.status, t.row, t.loss) for t in episode.trials]


@pytest.mark.parametrize(("family", "setting", "masked"), POSED)
def test_views__scalar_vector_and_text__give_equal_rewards(
    family, setting, masked
):
    task, table = posed(family, setting, masked)
    for seed in range(3):
        episode, wanted = played(task, table, seed)
        actions = numbers(task, table, seed)
        scalar, vector, text = (
            LLMConfigEnv(task, table),
            LLMConfigVectorEnv([task, task], table),
            TextEnv(lambda seed=seed: start(task, table, seed)),
        )
        scalar.reset(seed=seed)
        vector.reset(seed=[seed, seed])
        assert [scalar.step(a)[1] for a in actions] == wanted
        assert np.array(
            [vector.step(np.array([a, a]))[1] for a in actions]
        ).T.tolist() == [wanted, wanted]
        text.reset()
        bad = sum(t.status != "ok" for t in episode.trials)
        assert told(text, task, table, seed) == pytest.approx(
            1 - episode.regret_curve(latent=True).mean() - 0.1 * bad
        )
        assert (
            outcomes(text.episode)
            == outcomes(scalar.episode)
            == outcomes(vector.episode(1))
            == outcomes(episode)
        )


@pytest.mark.parametrize(("family", "setting", "masked"), POSED)
def test_episode__runs_paused_and_finished__give_the_trials_and_regrets_of_whole_runs(
    family, setting, masked
):
    task, table = posed(family, setting, masked)
    for seed in range(3):
        whole, _ = played(task, table, seed)
        paused = start(task.with_(pausable=True), with_curves(table), seed)
        for number, trial in zip(
            numbers(task, table, seed), whole.trials, strict=True
        ):
            for until in (
                (1.0,) if trial.status == "repeated" else (0.25, 0.5, 1.0)
            ):
                paused.run(
                    paused.drawn.view.space.decode(
                        paused.drawn.view.candidates[number]
                    ),
                    until=until,
                )
        assert outcomes(whole) == [
            o
            for o, t in zip(outcomes(paused), paused.trials, strict=True)
            if t.share == 1
        ]
        for latent in (False, True):
            assert (
                paused.regret_curve(latent).tolist()
                == whole.regret_curve(latent).tolist()
            )
        assert (
            paused.inference_regret() == whole.inference_regret()
            and paused.done
            and whole.done
        )
        assert (paused.ledger.cost_flops, paused.ledger.left) == pytest.approx(
            (whole.ledger.cost_flops, 0.0), abs=1e-9
        )
        judged = [result_of(e, Player("p")) for e in (paused, whole)]
        assert (
            len(
                {
                    (
                        str(r.raw_gap),
                        str(r.rank),
                        str(r.oracle_regret),
                        r.diverged_first,
                        r.trials,
                    )
                    for r in judged
                }
            )
            == 1
        )


@WITH_TRL
@pytest.mark.parametrize("family", FAMILIES)
def test_views__adapter_for_trl__gives_the_rewards_of_the_text_view(family):
    from autollm.agent.curriculum import episode_opener
    from autollm.agent.grpo import TrainingEnv

    task, table = posed(family)
    row = {
        "landscape": -1,
        "task_id": task.task_id,
        "evidence": ",".join(task.evidence),
        "masked": False,
        "seed": 7,
        "trials": task.trials,
        "prompt": [{"role": "user", "content": ""}],
    }
    adapter, text = (
        TrainingEnv(episode_opener([task], table)),
        TextEnv(lambda: start(task, table, 7)),
    )
    assert adapter.reset(**row) and text.reset()
    assert told(adapter, task, table, 7) == told(text, task, table, 7)
    assert (
        outcomes(adapter.episode)
        == outcomes(text.episode)
        == outcomes(played(task, table, 7)[0])
    )


class TestScalar(EnvironmentContract):
    @pytest.fixture(params=POSED, ids=str)
    def new_env(self, request):
        return lambda: LLMConfigEnv(*posed(*request.param))
