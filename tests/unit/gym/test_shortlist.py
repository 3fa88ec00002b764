import numpy as np
import pytest

from autollm.gym.environments.shortlist import Shortlist
from autollm.gym.environments.text import TextEnv, spoken
from autollm.gym.tasks.episode import start
from tests.unit.gym.tables import make_family_table, make_table, make_task

CANDIDATES = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])


def opened(family, **changes):
    table = make_family_table(family)
    env = TextEnv(lambda: start(make_task(table, **changes), table, 1))
    return env, env.reset()


def test_shortlist__named_again__keeps_its_number():
    shortlist = Shortlist(CANDIDATES)
    assert [shortlist.number(i) for i in (2, 0, 2, 3)] == [
        0,
        1,
        0,
        2,
    ] and shortlist.indices == [2, 0, 3]
    assert shortlist.points.tolist() == CANDIDATES[[2, 0, 3]].tolist()


def test_shortlist__point__nearest_of_all_or_of_those_with_a_number():
    shortlist = Shortlist(CANDIDATES)
    shortlist.number(3)
    assert shortlist.named(np.array([0.9, 0.1])) == 0, (
        "the only one that has a number"
    )
    assert (
        shortlist.near(np.array([0.9, 0.1])) == 1
        and shortlist.named(np.array([0.9, 0.1])) == 1
    )


@pytest.mark.parametrize("family", ["architecture", "data_mixture"])
def test_text__many_coordinates__prompt_names_candidates_that_can_be_run(
    family,
):
    env, prompt = opened(family)
    assert (
        " best candidate " in prompt
        and "centre candidate " in prompt
        and "trend candidate " in prompt
    )
    assert prompt.count("\nsurface candidate ") == 1 and len(env.shortlist) >= 3
    for number in range(min(3, len(env.shortlist))):
        said = env.run_experiment("target", {"candidate": number})
        assert said.startswith(
            (
                "ok at candidate ",
                "off_table at candidate ",
                "repeated at candidate ",
            )
        )
    assert env.run_experiment(
        "target", {"candidate": len(env.shortlist)}
    ).startswith(("malformed", "error: no trials left"))


def test_text__no_evidence__prompt_still_names_candidates():
    _, prompt = opened("architecture", evidence=())
    assert "trend candidate 0" in prompt


@pytest.mark.parametrize("family", ["architecture", "data_mixture"])
def test_spoken__point_without_a_number__is_the_nearest_that_has_one(family):
    env, _ = opened(family)
    far = env.episode.drawn.view.candidates[-1]
    assert spoken(env, far) == {"candidate": env.shortlist.named(far)}


def test_text__listing__gives_numbers_to_what_it_shows_alone():
    env, _ = opened("architecture")
    before = len(env.shortlist)
    first = env.list_candidates()
    shown = [
        int(line.split()[1])
        for line in first.splitlines()
        if line.startswith("candidate ")
    ]
    assert (
        len(env.shortlist) <= before + len(shown)
        and env.list_candidates() == first
    )
    assert all(
        env.shortlist.near(env.episode.drawn.view.candidates[i]) == n
        for i, n in enumerate(shown)
    )


def test_text__few_coordinates__has_no_numbers():
    table = make_table()
    env = TextEnv(lambda: start(make_task(table), table, 1))
    assert "candidate" not in env.reset() and env.shortlist is None
