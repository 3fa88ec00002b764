"""Judged episodes and looks on disk: whole or absent, whatever was killed."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from autollm.core import files as storage
from autollm.core.errors import ComparisonError
from autollm.evaluation.episodes import SCHEMA, load_results, write_parts
from autollm.evaluation.look_log import (
    load_looks,
    looks_url,
    record_look,
    record_opening,
)
from autollm.evaluation.protocol import play
from autollm.evaluation.runner import evaluation_id
from autollm.policies.base import RankingPolicy
from tests.helpers.judged import judged, played
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(noise=0.02)
HOSTILE = "<script>|\n\t\x00ü\u202e'; DROP TABLE"


@pytest.fixture(params=["disk", "memory"])
def out(request, tmp_path):
    """URL of a folder for parts."""
    url = str(tmp_path / "episodes")
    if request.param == "memory":
        url = "memory://episodes"
    yield url
    if storage.exists(url):
        storage.remove(url)


def parts_in(out, digest):
    return storage.list_names(storage.join(out, digest))


def test_write_and_load__all_fields__come_back_equal(out):
    one = replace(
        played(),
        policy=HOSTILE,
        error=HOSTILE,
        transcript_json=json.dumps([{"role": "user", "content": HOSTILE}]),
        cost_device_hours=float("nan"),
        regret=[0.1 + 0.2, 5e-324, 1.0, 0.0, 1e308],
    )
    write_parts(out, [one])
    (found,) = load_results(out, [one.task_digest]).values()
    assert repr(found) == repr(one)


def test_load__several_tasks__are_by_key_and_only_those_asked_for(out):
    results = judged("a", np.zeros((3, 4)))
    assert len(write_parts(out, results)) == 3
    digests = [r.task_digest for r in results]
    assert load_results(out, digests) == {r.key: r for r in results}
    some = load_results(out, digests[:1])
    assert set(some) == {r.key for r in results if r.task_digest == digests[0]}
    assert load_results(out, ["unknown"]) == {}


def test_write__same_results_twice__is_one_part(out):
    results = judged("a", np.zeros((1, 4)))
    assert write_parts(out, results) == write_parts(out, results)
    assert len(parts_in(out, results[0].task_digest)) == 1


def test_write__nothing__writes_nothing(out):
    assert write_parts(out, []) == []
    assert not storage.exists(out)


def test_load__altered_part__is_removed_and_answers_nothing(out):
    results = judged("a", np.zeros((1, 4)), task_digest="d")
    (url,) = write_parts(out, results)
    data = storage.read_bytes(url)
    storage.write_atomic(url, data[:-1] + bytes([data[-1] ^ 1]))
    assert load_results(out, ["d"]) == {}
    assert not storage.exists(url)


@pytest.mark.parametrize("keep", [0, 1, 100])
def test_load__half_a_part__is_removed_and_the_others_answer(out, keep):
    first = judged("a", np.zeros((1, 2)), task_digest="d")
    second = judged("b", np.zeros((1, 2)), task_digest="d")
    (url,) = write_parts(out, first)
    write_parts(out, second)
    storage.write_atomic(url, storage.read_bytes(url)[:keep])
    assert load_results(out, ["d"]) == {r.key: r for r in second}


def test_load__part_of_another_schema__answers_nothing_and_stays(out):
    (url,) = write_parts(out, judged("a", np.zeros((1, 2)), task_digest="d"))
    part = pq.read_table(io.BytesIO(storage.read_bytes(url)))
    older = part.drop_columns(["error"])
    buffer = io.BytesIO()
    pq.write_table(older, buffer)
    from autollm.core.records import content_hash

    name = f"part-{content_hash(buffer.getvalue())}.parquet"
    storage.remove(url)
    old_url = storage.join(out, "d", name)
    storage.write_atomic(old_url, buffer.getvalue())
    assert load_results(out, ["d"]) == {}
    assert storage.exists(old_url)


def test_load__other_files_in_the_folder__are_left_alone(out):
    results = judged("a", np.zeros((1, 2)), task_digest="d")
    write_parts(out, results)
    stranger = storage.join(out, "d", "notes.txt")
    storage.write_atomic(stranger, b"mine")
    temporary = storage.join(out, "d", ".tmp-part-1.parquet")
    storage.write_atomic(temporary, b"half")
    assert len(load_results(out, ["d"])) == 2
    assert storage.exists(stranger)


def test_schema__fields_of_a_result__are_all_there():
    assert set(SCHEMA.names) == set(vars(played()))


class Quoting(RankingPolicy):
    """A policy whose error quotes what UTF-8 cannot hold."""

    policy_id = "quoting"

    def scores(self):
        raise ValueError("half a pair: \ud83d")


def test_play__error_with_half_a_surrogate_pair__is_stored(out):
    result = play(Quoting(), make_task(TABLE), TABLE, 0)
    assert result.error.startswith("ValueError: half a pair: ")
    write_parts(out, [result])
    assert load_results(out, [result.task_digest]) == {result.key: result}


class Odd(RankingPolicy):
    """A policy that answers what no policy should."""

    policy_id = "odd"

    def __init__(self, answer):
        self._answer = answer

    def ask(self, n=1, pending=()):
        return self._answer


@pytest.mark.parametrize(
    "answer",
    [
        [],
        None,
        [None],
        [3],
        ["x"],
        [("toy:0", {})],
        [("a", {}, 1.0, "one too many")],
        [()],
        [{"learning_rate": 10**400, "batch_tokens": float("nan")}],
        [(["unhashable"], {"learning_rate": 0.001, "batch_tokens": 64})],
        [({}, {}, {})],
        np.zeros(3),
        "text",
        7,
    ],
    ids=repr,
)
def test_play__policy_that_answers_nonsense__spends_its_trials_as_malformed(
    answer,
):
    result = play(Odd(answer), make_task(TABLE), TABLE, 0)
    assert (result.malformed, result.n_calls) == (3, 3)
    assert result.regret == [1.0, 1.0, 1.0]
    assert result.inference_regret == 1.0
    assert json.loads(result.trials_json) == [["malformed", [], None]] * 3


@pytest.mark.parametrize(
    "raised", [MemoryError(), RecursionError(), OSError(28)]
)
def test_play__policy_that_fails_in_any_way__is_a_result(raised):
    class Failing(RankingPolicy):
        policy_id = "failing"

        def prepare(self):
            raise raised

    result = play(Failing(), make_task(TABLE), TABLE, 0)
    assert result.error.startswith(type(raised).__name__)
    assert result.malformed == 3


def test_evaluation_id__live_beside_recorded__is_refused():
    results = judged("a", np.zeros((1, 2)))
    with pytest.raises(ComparisonError, match="live"):
        evaluation_id([results[0], replace(results[1], live=True)])


def look(home, number, **fields):
    return record_look(
        home,
        command=f"evaluate {number}",
        evaluation_id=str(number),
        suites=["s"],
        policies=["p"],
        **fields,
    )


def ids(home):
    return [entry["evaluation_id"] for entry in load_looks(home)]


def test_looks__after_a_line_that_a_kill_cut_off__the_next_one_counts(tmp_path):
    """A look that vanishes would hide a choice by test scores."""
    home = str(tmp_path)
    look(home, 1)
    with open(looks_url(home), "a") as file:
        file.write('{"time": "20')
    look(home, 2)
    look(home, 3)
    assert ids(home) == ["1", "2", "3"]


def test_looks__on_another_file_system__append_too():
    home = "memory://looks-of-a-test"
    look(home, 1)
    storage.write_atomic(
        looks_url(home), storage.read_bytes(looks_url(home)) + b'{"half'
    )
    look(home, 2)
    assert ids(home) == ["1", "2"]
    storage.remove(home)


@pytest.mark.parametrize("line", ["3", "null", '"x"', "[]", "\xff", "{}}"])
def test_looks__line_that_is_no_look__is_left_out(tmp_path, line):
    home = str(tmp_path)
    look(home, 1)
    with open(looks_url(home), "a") as file:
        file.write(f"{line}\n")
    look(home, 2)
    assert ids(home) == ["1", "2"]


def test_looks__none_yet__are_none(tmp_path):
    assert load_looks(str(tmp_path)) == []


def test_looks__many_threads__lose_none(tmp_path):
    home = str(tmp_path)
    threads = []
    for number in range(12):
        thread = threading.Thread(target=look, args=(home, number))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    assert sorted(map(int, ids(home))) == list(range(12))


def test_record_opening__reason__stands_before_any_evaluation(tmp_path):
    record_opening(
        str(tmp_path),
        command="evaluate",
        suites=["b", "a"],
        policies=["p"],
        reason=HOSTILE,
        commit="abc",
    )
    (entry,) = load_looks(str(tmp_path))
    assert entry["opened_because"] == HOSTILE
    assert entry["evaluation_id"] == "" and entry["suites"] == ["a", "b"]
    assert entry["commit"] == "abc"
