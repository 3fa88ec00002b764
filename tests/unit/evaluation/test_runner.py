"""Many episodes: resuming, workers, agents, refusals."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from autollm.errors import ComparisonError, SnapshotError, UnknownNameError
from autollm.evaluation import runner
from autollm.evaluation.contenders import agent, registered
from autollm.evaluation.episodes import load_results, write_part
from autollm.evaluation.protocol import play
from autollm.evaluation.runner import evaluate, evaluation_id, tasks_of
from autollm.gym.episode import start
from autollm.gym.storage import list_names
from autollm.gym.suites import Suite
from autollm.policies import make_policy
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(noise=0.02)
SUITE = Suite("toy-v1", 1, "pretraining", "toy", "", (make_task(TABLE), make_task(TABLE, task_id="toy/v", split="validation")))
FAST = ["random", "copy-nearest"]


class CentreAgent:
    """Plays the first candidates, in its own loop."""

    def play_many(self, tasks, table, seeds):
        return [self._play(start(task, table, seed)) for task in tasks for seed in seeds]

    def _play(self, episode):
        while not episode.done:
            episode.run_candidate(len(episode.trials))
        return SimpleNamespace(episode=episode, conversation=[{"role": "user", "content": "go"}], n_calls=9, n_malformed=1)


def test_evaluate__run_twice__plays_nothing_again(tmp_path, monkeypatch) -> None:
    first = evaluate([SUITE], FAST, 3, TABLE, out_url=str(tmp_path))
    parts = list_names(str(tmp_path / "toy"))
    monkeypatch.setattr(runner, "play", lambda *_: pytest.fail("played again"))
    assert evaluate([SUITE], FAST, 3, TABLE, out_url=str(tmp_path)) == first
    assert list_names(str(tmp_path / "toy")) == parts
    assert [(r.policy, r.seed) for r in first] == [(p, s) for p in FAST for s in range(3)]


def test_evaluate__killed_midway__goes_on_with_what_is_missing(tmp_path, monkeypatch) -> None:
    whole = evaluate([SUITE], FAST, 3, TABLE, out_url=str(tmp_path / "whole"))
    played: list[int] = []

    def dying(*arguments):
        played.append(1)
        if len(played) > 4:
            raise KeyboardInterrupt
        return play(*arguments)

    monkeypatch.setattr(runner, "play", dying)
    with pytest.raises(KeyboardInterrupt):
        evaluate([SUITE], FAST, 3, TABLE, out_url=str(tmp_path / "cut"))
    assert len(load_results(str(tmp_path / "cut"), "toy")) == 3, "the finished chunk was kept"
    monkeypatch.setattr(runner, "play", play)
    assert evaluate([SUITE], FAST, 3, TABLE, out_url=str(tmp_path / "cut")) == whole


def test_evaluate__more_seeds_later__adds_only_those(tmp_path) -> None:
    evaluate([SUITE], ["random"], 2, TABLE, out_url=str(tmp_path))
    assert len(evaluate([SUITE], ["random"], 5, TABLE, out_url=str(tmp_path))) == 5
    assert len(load_results(str(tmp_path), "toy")) == 5


def test_evaluate__two_worker_processes__give_the_same_results(tmp_path) -> None:
    alone = evaluate([SUITE], [*FAST, "moving-bowl"], 2, TABLE, out_url=str(tmp_path / "1"), jobs=1)
    assert evaluate([SUITE], [*FAST, "moving-bowl"], 2, TABLE, out_url=str(tmp_path / "2"), jobs=2) == alone


def test_evaluate__agent__is_made_once_and_only_when_needed(tmp_path) -> None:
    made: list[int] = []
    contender = agent("agent-x", "digest", lambda: made.append(1) or CentreAgent(), stage="sft", traced_numbers=lambda c: (1, 2))
    results = evaluate([SUITE], [contender, "random"], 2, TABLE, out_url=str(tmp_path))
    assert evaluate([SUITE], [contender, "random"], 2, TABLE, out_url=str(tmp_path)) == results
    own = [r for r in results if r.policy == "agent-x"]
    assert made == [1]
    assert [(r.n_calls, r.malformed, r.n_numbers, r.stage) for r in own] == [(9, 1, 2, "sft")] * 2
    assert [bool(r.transcript_json) for r in own] == [True, False]


def test_evaluate__memory_store__works_without_a_disk() -> None:
    assert len(evaluate([SUITE], ["random"], 1, TABLE, out_url="memory://reports/episodes")) == 1
    assert len(load_results("memory://reports/episodes", "toy")) == 1


def test_evaluate__unknown_policy__suggests_the_nearest(tmp_path) -> None:
    with pytest.raises(UnknownNameError, match="moving-bowl"):
        evaluate([SUITE], ["moving-bowel"], 1, TABLE, out_url=str(tmp_path))


def test_tasks_of__split_and_protocol__are_those_asked_for() -> None:
    tasks = tasks_of([SUITE], TABLE, setting="pool-visible", target_rows="all", split="validation", trials=2)
    assert [(t.task_id, t.setting, t.target_rows, t.trials) for t in tasks] == [("toy/v", "pool-visible", "all", 2)]


def test_tasks_of__experiments_missing_in_the_table__says_which_source() -> None:
    with pytest.raises(SnapshotError, match="source toy"):
        tasks_of([SUITE], make_table(2), setting="declared", target_rows="all", split="test")


def test_evaluation_id__two_snapshots__is_refused() -> None:
    one = play(make_policy("random"), make_task(TABLE), TABLE, 0)
    with pytest.raises(ComparisonError, match="2 snapshots"):
        evaluation_id([one, replace(one, table_id="other")])


def test_write_part__same_keys_twice__leaves_one_file(tmp_path) -> None:
    one = play(make_policy("random"), make_task(TABLE), TABLE, 0)
    assert write_part(str(tmp_path), "toy", [one]) == write_part(str(tmp_path), "toy", [one])
    assert load_results(str(tmp_path), "toy") == {one.key: one}


def test_registered__version__names_policy_and_code() -> None:
    version = registered("random").player.version
    assert version.startswith("1-") and len(version) == 10
