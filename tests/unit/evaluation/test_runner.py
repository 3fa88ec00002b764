"""Many episodes: resuming, workers, agents, refusals."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from autollm.core.errors import (
    ComparisonError,
    SetupError,
    SnapshotError,
    UnknownNameError,
)
from autollm.core.files import list_names
from autollm.core.records import content_hash
from autollm.evaluation import runner
from autollm.evaluation.contenders import agent, registered
from autollm.evaluation.episodes import load_results, write_parts
from autollm.evaluation.protocol import play, task_digest
from autollm.evaluation.runner import evaluate, evaluation_id, tasks_of
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.suites import Suite
from autollm.policies.registry import make_policy
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(noise=0.02)
SUITE = Suite(
    "toy-v1",
    1,
    "pretraining",
    "toy",
    "",
    (make_task(TABLE), make_task(TABLE, task_id="toy/v", split="validation")),
)
POSED = {"setting": "declared", "target_rows": "redraw"}
DIGEST = task_digest(SUITE.tasks[0].with_(**POSED), TABLE)
FAST = ["random", "copy-nearest"]


class CentreAgent:
    """Plays the first candidates, in its own loop."""

    def play_many(self, tasks, table, seeds):
        return [
            self._play(start(task, table, seed))
            for task in tasks
            for seed in seeds
        ]

    def _play(self, episode):
        while not episode.done:
            episode.run_candidate(len(episode.trials))
        return SimpleNamespace(
            episode=episode,
            conversation=[{"role": "user", "content": "go"}],
            n_calls=9,
            n_malformed=1,
        )


def test_evaluate__run_twice__plays_nothing_again(
    tmp_path, monkeypatch
) -> None:
    first = evaluate([SUITE], FAST, 3, TABLE, out_url=str(tmp_path))
    parts = list_names(str(tmp_path / DIGEST))
    monkeypatch.setattr(runner, "play", lambda *_: pytest.fail("played again"))
    assert evaluate([SUITE], FAST, 3, TABLE, out_url=str(tmp_path)) == first
    assert list_names(str(tmp_path / DIGEST)) == parts
    assert [(r.policy, r.seed) for r in first] == [
        (p, s) for p in FAST for s in range(3)
    ]


def test_evaluate__killed_midway__goes_on_with_what_is_missing(
    tmp_path, monkeypatch
) -> None:
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
    assert len(load_results(str(tmp_path / "cut"), [DIGEST])) == 3, (
        "the finished chunk was kept"
    )
    monkeypatch.setattr(runner, "play", play)
    assert (
        evaluate([SUITE], FAST, 3, TABLE, out_url=str(tmp_path / "cut"))
        == whole
    )


SLOW = """
import sys, time
sys.path.insert(0, sys.argv[1])
from autollm.evaluation import runner
from tests.unit.evaluation.test_runner import FAST, SUITE, TABLE
runner.FLUSH_S = 0
played = runner.play
runner.play = lambda *a: (time.sleep(0.2), played(*a))[1]
if __name__ == "__main__":
    print("begun", flush=True)
    runner.evaluate([SUITE], FAST, 3, TABLE, out_url=sys.argv[2])
"""


def test_evaluate__killed_outright__keeps_whole_parts_and_goes_on(
    tmp_path,
) -> None:
    script, out = tmp_path / "slow.py", tmp_path / "episodes"
    script.write_text(SLOW)
    child = subprocess.Popen(
        [sys.executable, str(script), str(Path(__file__).parents[3]), str(out)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "begun\n"
        until = time.monotonic() + 120
        while not load_results(str(out), [DIGEST]) and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert 0 < len(load_results(str(out), [DIGEST])) < 6, (
        "killed between the parts"
    )
    assert evaluate([SUITE], FAST, 3, TABLE, out_url=str(out)) == evaluate(
        [SUITE], FAST, 3, TABLE, out_url=str(tmp_path / "whole")
    )


def test_evaluate__worker_dies__says_so_and_keeps_the_rest(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(runner, "_play_in_worker", _die)
    with pytest.raises(SetupError, match=r"worker processes died.*Fix"):
        evaluate([SUITE], FAST, 1, TABLE, out_url=str(tmp_path), jobs=2)


def _die(*_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_evaluate__agent_that_stores_task_by_task__is_asked_task_by_task(
    tmp_path,
) -> None:
    asked: list[int] = []

    class Counting(CentreAgent):
        def play_many(self, tasks, table, seeds):
            asked.append(len(tasks))
            return super().play_many(tasks, table, seeds)

    suite = replace(
        SUITE,
        tasks=tuple(make_task(TABLE, task_id=f"toy/{i}") for i in range(3)),
    )
    for at_once in (1, 0):
        evaluate(
            [suite],
            [
                agent(
                    f"agent-{at_once}",
                    "d",
                    Counting,
                    stage="sft",
                    tasks_at_once=at_once,
                )
            ],
            2,
            TABLE,
            out_url=str(tmp_path),
        )
    assert asked == [1, 1, 1, 3]


def test_evaluate__parts__are_one_row_an_episode(tmp_path) -> None:
    evaluate([SUITE], FAST, 2, TABLE, out_url=str(tmp_path))
    rows = pq.read_table(str(tmp_path / DIGEST)).to_pylist()
    assert {(r["policy"], r["seed"]) for r in rows} == {
        (p, s) for p in FAST for s in range(2)
    } and len(rows) == 4
    assert all(
        len(r["regret"]) == 3 and r["table_id"] == "toy" and r["policy_version"]
        for r in rows
    )


def test_evaluate__more_seeds_later__adds_only_those(tmp_path) -> None:
    evaluate([SUITE], ["random"], 2, TABLE, out_url=str(tmp_path))
    assert (
        len(evaluate([SUITE], ["random"], 5, TABLE, out_url=str(tmp_path))) == 5
    )
    assert len(load_results(str(tmp_path), [DIGEST])) == 5


def test_evaluate__two_worker_processes__give_the_same_results(
    tmp_path,
) -> None:
    alone = evaluate(
        [SUITE],
        [*FAST, "moving-bowl"],
        2,
        TABLE,
        out_url=str(tmp_path / "1"),
        jobs=1,
    )
    assert (
        evaluate(
            [SUITE],
            [*FAST, "moving-bowl"],
            2,
            TABLE,
            out_url=str(tmp_path / "2"),
            jobs=2,
        )
        == alone
    )


def test_evaluate__agent__is_made_once_and_only_when_needed(tmp_path) -> None:
    made: list[int] = []
    contender = agent(
        "agent-x",
        "digest",
        lambda: made.append(1) or CentreAgent(),
        stage="sft",
        traced_numbers=lambda c: (1, 2),
    )
    results = evaluate(
        [SUITE], [contender, "random"], 2, TABLE, out_url=str(tmp_path)
    )
    assert (
        evaluate(
            [SUITE], [contender, "random"], 2, TABLE, out_url=str(tmp_path)
        )
        == results
    )
    own = [r for r in results if r.policy == "agent-x"]
    assert made == [1]
    assert [(r.n_calls, r.malformed, r.n_numbers, r.stage) for r in own] == [
        (9, 1, 2, "sft")
    ] * 2
    assert [bool(r.transcript_json) for r in own] == [True, False]


def test_evaluate__memory_store__works_without_a_disk() -> None:
    assert (
        len(
            evaluate(
                [SUITE],
                ["random"],
                1,
                TABLE,
                out_url="memory://reports/episodes",
            )
        )
        == 1
    )
    assert len(load_results("memory://reports/episodes", [DIGEST])) == 1


def test_evaluate__unknown_policy__suggests_the_nearest(tmp_path) -> None:
    with pytest.raises(UnknownNameError, match="moving-bowl"):
        evaluate([SUITE], ["moving-bowel"], 1, TABLE, out_url=str(tmp_path))


def test_tasks_of__split_and_protocol__are_those_asked_for() -> None:
    tasks = tasks_of(
        [SUITE],
        TABLE,
        setting="pool-visible",
        target_rows="all",
        split="validation",
        trials=2,
    )
    assert [(t.task_id, t.setting, t.target_rows, t.trials) for t in tasks] == [
        ("toy/v", "pool-visible", "all", 2)
    ]


def test_tasks_of__objectives__are_those_asked_for_alone() -> None:
    posed = {"setting": "declared", "target_rows": "all", "split": "test"}
    objective = tasks_of([SUITE], TABLE, **posed)[0].objective
    assert tasks_of([SUITE], TABLE, objectives=[objective], **posed) == [
        t for t in tasks_of([SUITE], TABLE, **posed) if t.objective == objective
    ]
    with pytest.raises(
        UnknownNameError, match=f"unknown objective 'los'.*{objective}"
    ):
        tasks_of([SUITE], TABLE, objectives=["los"], **posed)


def test_tasks_of__experiments_missing_in_the_table__says_which_source() -> (
    None
):
    with pytest.raises(SnapshotError, match="source toy"):
        tasks_of(
            [SUITE],
            make_table(2),
            setting="declared",
            target_rows="all",
            split="test",
        )


def test_evaluation_id__two_snapshots__is_refused() -> None:
    one = play(make_policy("random"), make_task(TABLE), TABLE, 0)
    with pytest.raises(ComparisonError, match="2 snapshots"):
        evaluation_id([one, replace(one, table_id="other")])


def test_write_part__same_keys_twice__leaves_one_file(tmp_path) -> None:
    one = play(make_policy("random"), make_task(TABLE), TABLE, 0)
    assert write_parts(str(tmp_path), [one]) == write_parts(
        str(tmp_path), [one]
    )
    assert load_results(str(tmp_path), [one.task_digest]) == {one.key: one}


def test_evaluate__another_snapshot_with_the_same_rows__plays_nothing_again(
    tmp_path, monkeypatch
) -> None:
    first = evaluate([SUITE], FAST, 2, TABLE, out_url=str(tmp_path))
    monkeypatch.setattr(runner, "play", lambda *_: pytest.fail("played again"))
    later = replace(TABLE, table_id="later")
    again = evaluate([SUITE], FAST, 2, later, out_url=str(tmp_path))
    assert again == [replace(r, table_id="later") for r in first]
    assert evaluation_id(again) == evaluation_id(first)


def test_evaluate__rows_that_changed_under_the_same_id__do_not_answer(
    tmp_path,
) -> None:
    columns = dict(TABLE.columns)
    columns["objective"] = columns["objective"] + 0.5 * (
        np.arange(TABLE.offsets[-1]) % 7
    )
    damaged = replace(TABLE, columns=columns)
    wrong = evaluate([SUITE], ["random"], 3, damaged, out_url=str(tmp_path))
    right = evaluate([SUITE], ["random"], 3, TABLE, out_url=str(tmp_path))
    assert [r.regret for r in wrong] != [r.regret for r in right]
    assert right == evaluate(
        [SUITE], ["random"], 3, TABLE, out_url=str(tmp_path / "2")
    )


def test_evaluate__damaged_part__is_played_again(tmp_path, caplog) -> None:
    first = evaluate([SUITE], FAST, 2, TABLE, out_url=str(tmp_path))
    (part,) = (tmp_path / DIGEST).glob("part-*.parquet")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 4
    part.write_bytes(bytes(data))
    assert evaluate([SUITE], FAST, 2, TABLE, out_url=str(tmp_path)) == first
    assert "was altered: its episodes are played again" in caplog.text
    part.write_bytes(b"")
    assert load_results(str(tmp_path), [DIGEST]) == {} and not part.exists()


def test_load_results__parts_of_an_older_schema__answer_nothing(
    tmp_path,
) -> None:
    evaluate([SUITE], ["random"], 1, TABLE, out_url=str(tmp_path))
    (part,) = (tmp_path / DIGEST).glob("part-*.parquet")
    rows = pq.read_table(part).replace_schema_metadata(
        {"schema": "autollm.episodes/1"}
    )
    part.unlink()
    sink = io.BytesIO()
    pq.write_table(rows, sink)
    old = tmp_path / DIGEST / f"part-{content_hash(sink.getvalue())}.parquet"
    old.write_bytes(sink.getvalue())
    assert load_results(str(tmp_path), [DIGEST]) == {} and old.exists()


def test_registered__identities__are_the_policys_own(tmp_path) -> None:
    found = [
        registered(p).player for p in ("random", "copy-nearest", "copy-largest")
    ]
    assert {p.version for p in found} <= {"1", "2", "3"}
    assert found[0].identity != found[1].identity
    live = registered("random", ["autollm.lab.live"]).player
    assert live.identity != found[0].identity


ORPHANS = """
import multiprocessing, time
from autollm.evaluation.contenders import registered
from autollm.evaluation.runner import Chunk, _play_policies
from tests.unit.gym.tables import make_table, make_task
if __name__ == "__main__":
    table = make_table()
    playing = _play_policies([Chunk(registered("random"), make_task(table), (seed,)) for seed in range(4)], table, 2)
    next(playing)
    print(*(p.pid for p in multiprocessing.active_children()), flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_evaluate__killed__leaves_no_worker_behind():
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANS],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        workers = [int(pid) for pid in child.stdout.readline().split()]
        child.kill()
    assert len(workers) == 2
    for _ in range(300):
        if not any(map(_lives, workers)):
            break
        time.sleep(0.1)
    assert [pid for pid in workers if _lives(pid)] == []


def _lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            != "Z"
        )
    except OSError:
        return False
