"""Clean deletes old state, never what a champion, a current agent or a report cites."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autollm.core.errors import BusyError, ComparisonError, SetupError
from autollm.core.files import join, write_atomic
from autollm.core.locks import hold
from autollm.core.places import resolve
from autollm.evaluation import leaderboard
from autollm.evaluation.contenders import policy_identity
from autollm.evaluation.episodes import write_parts
from autollm.evaluation.protocol import Player, play
from autollm.policies.registry import make_policy
from autollm.stages.cleaning import clean, removable, remove_litter
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table()


@pytest.fixture()
def places(tmp_path):
    """Snapshots s0 (oldest) ... s4, checkpoints sft-rl-c0 ... c4; s4 is published, a
    report cites s0 and the weights of c0.
    """
    places = resolve(tmp_path).prepare()
    for i in range(5):
        write_atomic(join(places.snapshots, f"s{i}", "manifest.json"), b"{}")
        write_atomic(
            str(places.checkpoints / f"sft-rl-c{i}" / "final" / "autollm.json"),
            json.dumps({"schema": 1, "table_id": f"s{i}"}).encode(),
        )
        write_atomic(
            str(places.checkpoints / f"sft-rl-c{i}" / "done.json"),
            json.dumps({"digest": f"w{i}"}).encode(),
        )
        for folder in (
            tmp_path / "snapshots" / f"s{i}",
            places.checkpoints / f"sft-rl-c{i}",
        ):
            os.utime(folder, (1000 + i, 1000 + i))
    write_atomic(join(places.snapshots, "current.json"), b'{"table_id": "s4"}')
    _report(places, "e1", "s0", "w0")
    return places


def _report(places, name, table_id, weights, live=False):
    """A leaderboard of one agent and one rule on a snapshot."""
    task = make_task(TABLE)
    players = [Player("agent", weights, "sft-rl"), Player("random")]
    results = [play(make_policy("random"), task, TABLE, 0, p) for p in players]
    results = [replace(r, table_id=table_id, live=live) for r in results]
    board = leaderboard.build(results, command="", commit="")
    board = board.model_copy(update={"evaluation_id": name})
    leaderboard.write(board, places.home)


def test_removable__damaged_leaderboard__deletes_nothing_unknown(places):
    write_atomic(join(places.reports, "e1", "leaderboard.json"), b"{")
    with pytest.raises(ComparisonError, match=r"leaderboard\.json is damaged"):
        removable(places, 0)


def test_clean__episodes__of_players_that_play_otherwise_today_go(places):
    task = make_task(TABLE)
    players = {
        "today": Player("random", identity=policy_identity("random")),
        "otherwise": Player("random", identity="0123456789abcdef"),
        "cited": Player("agent", "w0", "sft-rl", identity="a"),
        "gone": Player("agent", "w3", "sft-rl", identity="b"),
        "paid": Player("chat-x", "1", "chat", identity="c"),
    }
    parts = {}
    for name, player in players.items():
        result = play(make_policy("random"), task, TABLE, 0, player)
        (parts[name],) = write_parts(places.episodes, [result])
    old = Path(places.episodes) / "snapshot" / "part-older.parquet"
    old.parent.mkdir()
    pq.write_table(pa.table({"task": ["x"]}), old)
    clean(places, 5)
    stay = {name for name, part in parts.items() if Path(part).exists()}
    assert stay == {"today", "cited", "paid"} and not old.exists()


def _names(items):
    return {i.name for i in items}


def test_removable__keep_none__cited_and_published_stay(places):
    assert _names(removable(places, 0)) == {
        "s1",
        "s2",
        "s3",
        "sft-rl-c1",
        "sft-rl-c2",
        "sft-rl-c3",
        "sft-rl-c4",
    }


def test_removable__snapshot_that_was_played_live__stays(places):
    _report(places, "e2", "s1", "w9", live=True)
    assert "s1" not in _names(removable(places, 0)) and "s2" in _names(
        removable(places, 0)
    )


def test_removable__keep_two__the_newest_two_of_each_kind_stay(places):
    assert _names(removable(places, 2)) == {
        "s1",
        "s2",
        "sft-rl-c1",
        "sft-rl-c2",
    }


def test_removable__pointer_of_a_profile__its_checkpoint_and_snapshot_stay(
    places,
):
    pointer = {
        "stages": {"sft-rl": {"checkpoint": "checkpoints/sft-rl-c2/final"}}
    }
    (places.checkpoints / "agents-tiny.json").write_text(json.dumps(pointer))
    assert {"s2", "sft-rl-c2"}.isdisjoint(_names(removable(places, 0)))


def test_removable__champion__its_checkpoint_stays(places):
    from autollm.tracking import Tracker

    tracker = Tracker(places)
    with tracker.run("training", "i", "n", {}, {}) as run:
        pass
    version = tracker.register(
        "tiny",
        places.checkpoints / "sft-rl-c1" / "final",
        "w1",
        run.run_id,
        "card",
        {},
    )
    tracker.promote("tiny", version, {})
    assert {"s1", "sft-rl-c1"}.isdisjoint(_names(removable(places, 0)))


def test_clean__keep_none__deletes_exactly_what_was_removable(places):
    expected = _names(removable(places, 0))
    assert _names(clean(places, 0)) == expected and removable(places, 0) == []
    assert {p.name for p in places.checkpoints.iterdir()} == {"sft-rl-c0"}


def test_clean__while_a_run_goes_on__busy_and_nothing_deleted(places):
    with hold(places.locks / "run.lock", "a run"), pytest.raises(BusyError):
        clean(places, 0)
    assert len(list(places.checkpoints.iterdir())) == 5


def test_removable__home_in_an_object_store__says_so(places, monkeypatch):
    monkeypatch.setenv("AUTOLLM_LOCAL_HOME", str(places.local))
    with pytest.raises(SetupError, match="memory://x"):
        removable(resolve("memory://x"), 0)


def test_remove_litter__left_by_a_killed_process__goes_and_everything_else_stays(
    places,
):
    old = [
        places.checkpoints / ".tmp-folder" / "weights",
        places.checkpoints / "sft-1" / ".tmp-done",
        places.local / "reports" / "e1" / ".tmp-page",
    ]
    young, whole = (
        places.checkpoints / "sft-2" / ".tmp-done",
        places.checkpoints / "sft-1" / "done.json",
    )
    for path in (*old, young, whole):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    for path in (*old, old[0].parent, whole):
        os.utime(path, (1000, 1000))
    assert sorted(remove_litter(places)) == sorted(
        map(str, (old[0].parent, *old[1:]))
    )
    assert (
        not any(p.exists() for p in old) and young.exists() and whole.exists()
    )


def test_remove_litter__folder_that_is_still_filled__stays(places):
    weights = places.checkpoints / ".tmp-folder" / "weights"
    weights.parent.mkdir()
    weights.write_text("x")
    os.utime(weights.parent, (1000, 1000))
    assert remove_litter(places) == [] and weights.exists()
