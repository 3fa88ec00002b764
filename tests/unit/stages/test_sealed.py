"""Sealed suites: refused by all that plays, opened for a reason that is written down first."""

from dataclasses import replace

import pytest

from autollm.agent.profiles import load_profile
from autollm.core.errors import SealedError
from autollm.core.places import resolve
from autollm.evaluation.look_log import load_looks
from autollm.evaluation.report import publish
from autollm.evaluation.runner import evaluate
from autollm.evaluation.suite_page import describe
from autollm.gym.environments.scalar import LLMConfigEnv
from autollm.gym.environments.vector import LLMConfigVectorEnv
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.suites import Suite, held_out, load_suite, suite_ids
from autollm.stages import evaluation_request, judging
from autollm.stages.evaluation_request import EvaluationRequest
from autollm.stages.judging import judge, publish_report
from autollm.stages.settings import load_settings
from pipelines.requests import request_of
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table()
SEALED = Suite(
    "toy-v1", 1, "pretraining", "toy", "", (make_task(TABLE, sealed=True),)
)
REQUEST = EvaluationRequest(
    ("toy-v1",), ("random",), (), 2, load_profile("tiny"), jobs=1
)
FRESH = [suite_id for suite_id in suite_ids() if "-fresh-" in suite_id]


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A home whose published snapshot is the toy table, and `toy-v1` a sealed suite."""
    monkeypatch.setattr(judging, "open_snapshot", lambda _: TABLE)
    for module in (judging, evaluation_request):
        monkeypatch.setattr(module, "load_suite", lambda *_, **__: SEALED)
    return resolve(tmp_path)


def test_fresh_suites__one_a_family__are_sealed_with_their_masked_forms_and_no_other_is():
    sealed = {
        suite_id for suite_id in suite_ids() if load_suite(suite_id).sealed
    }
    families = (
        "architecture",
        "data_mixture",
        "optimizer",
        "pretraining",
        "rl_tuning",
    )
    assert (
        sealed
        == set(FRESH)
        == {f"lab-{family}-fresh-v1" for family in families}
    )
    assert all(load_suite(f"{suite_id}-masked").sealed for suite_id in FRESH)
    targets = {
        task.target for suite_id in FRESH for task in load_suite(suite_id).tasks
    }
    assert len(targets) == 5 and targets <= held_out()


@pytest.mark.parametrize(
    "play",
    [
        lambda task: start(task, TABLE, 0),
        lambda task: LLMConfigEnv(task, TABLE).reset(seed=0),
        lambda task: LLMConfigVectorEnv([task], TABLE),
        lambda task: describe(replace(SEALED, tasks=(task,)), TABLE),
        lambda task: evaluate(
            [replace(SEALED, tasks=(task,))],
            ["random"],
            1,
            TABLE,
            out_url="unused",
        ),
    ],
    ids=["episode", "environment", "vector", "describe", "evaluate"],
)
def test_sealed_task__whatever_plays_it__is_refused(play):
    with pytest.raises(
        SealedError,
        match=r"toy.* sealed.*Fix: autollm evaluate .*--open-sealed",
    ):
        play(SEALED.tasks[0])


@pytest.mark.parametrize("reason", ["", "  "])
def test_opened__no_reason__refused_and_with_one_it_plays(reason):
    with pytest.raises(SealedError, match="stated reason"):
        SEALED.opened(reason)
    (task,) = SEALED.opened("the last test").tasks
    assert start(task, TABLE, 0).run_candidate(0).status == "ok"


def test_judging__no_reason__refused_before_a_look_is_written(places):
    for judged in (judge, publish_report):
        with pytest.raises(SealedError, match="open-sealed"):
            judged(places, REQUEST)
    assert load_looks(places.home) == []


def test_publish_report__opened__look_with_commit_date_and_reason_comes_first_and_is_shown(
    places,
):
    request = replace(REQUEST, open_sealed="the agent's last test")
    done = publish_report(places, request)
    opening, look = load_looks(places.home)
    assert opening["opened_because"] == "the agent's last test" and opening[
        "suites"
    ] == ["toy-v1"]
    assert (
        opening["commit"]
        and opening["time"]
        and opening["policies"] == ["random"]
    )
    assert (
        opening["evaluation_id"] == ""
        and look["evaluation_id"] == done.leaderboard.evaluation_id
    )
    assert done.leaderboard.command.endswith(
        """--open-sealed 'the agent'"'"'s last test'"""
    )
    with open(done.html_url) as page:
        text = page.read()
    assert (
        "1 opened sealed suites" in text and "the agent&#39;s last test" in text
    )


def test_publish_report__play_that_fails__the_opening_is_on_record(
    places, monkeypatch
):
    def fail(*_):
        raise RuntimeError("cut off")

    monkeypatch.setattr(judging, "play", fail)
    with pytest.raises(RuntimeError):
        publish_report(places, replace(REQUEST, open_sealed="a try"))
    assert [look["opened_because"] for look in load_looks(places.home)] == [
        "a try"
    ]


def test_publish__suite_that_ships_sealed__has_its_page_once_played(
    places, monkeypatch
):
    monkeypatch.setattr(
        "autollm.evaluation.report.suite_ids", lambda: ["toy-v1"]
    )
    monkeypatch.setattr(
        "autollm.evaluation.report.load_suite", lambda *_, **__: SEALED
    )
    results = evaluate(
        [SEALED.opened("a test")], ["random"], 1, TABLE, out_url=places.episodes
    )
    assert publish(
        results, TABLE, places.home, command="c", commit="d"
    ).leaderboard.rows


@pytest.mark.parametrize("field", ["train_suites", "test_suites"])
def test_settings__sealed_suite__the_job_refuses_it_before_anything_starts(
    field,
):
    with pytest.raises(SealedError, match="lab-pretraining-fresh-v1"):
        load_settings(**{field: ["lab-pretraining-fresh-v1"]})


def test_request_of__main_job__opens_nothing(tmp_path):
    settings = load_settings()
    for split in ("test", "validation"):
        request = request_of(resolve(tmp_path), settings, split)
        assert request.open_sealed == "" and not set(request.suites) & set(
            FRESH
        )
