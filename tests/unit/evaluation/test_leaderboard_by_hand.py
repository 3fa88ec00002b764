"""The leaderboard's numbers computed again, one episode at a time."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from autollm.core.errors import ComparisonError
from autollm.evaluation import leaderboard
from autollm.evaluation.intervals import resampled_means
from autollm.evaluation.markdown import markdown, score_rows
from autollm.evaluation.results import (
    mean_score,
    results_by_policy,
    score_matrix,
    total,
)
from autollm.evaluation.runner import evaluation_id
from autollm.evaluation.scores import Leaderboard
from autollm.evaluation.standings import standing
from autollm.evaluation.terminal import by_policy
from tests.helpers.judged import judged, played

RNG = np.random.default_rng(0)


def random_results(policies=("a", "b"), n_tasks=3, n_seeds=4, seed=0):
    """Results whose every score differs."""
    rng = np.random.default_rng(seed)
    out = []
    for policy in policies:
        for one in judged(policy, rng.random((n_tasks, n_seeds))):
            curve = np.minimum.accumulate(rng.random(5))
            out.append(
                replace(
                    one,
                    regret=curve.tolist(),
                    latent_regret=(curve / 2).tolist(),
                    raw_gap=(3 * curve).tolist(),
                    rank=rng.integers(1, 30, 5).tolist(),
                    oracle_regret=(curve / 4).tolist(),
                    inference_regret=float(rng.random()),
                    diverged_first=bool(rng.random() < 0.5),
                    n_calls=int(rng.integers(5, 9)),
                    malformed=int(rng.integers(0, 3)),
                    repeated=int(rng.integers(0, 3)),
                    off_table=int(rng.integers(0, 3)),
                    cost_device_hours=float(rng.random()),
                )
            )
    return out


def board_of(results):
    return leaderboard.build(results, command="c", commit="d")


def mean_over_tasks(results, value):
    """Seeds first, then tasks, by the definition."""
    tasks = {}
    for result in results:
        tasks.setdefault(result.task_id, []).append(value(result))
    return np.mean([np.mean(values) for values in tasks.values()])


def test_build__every_score__is_the_mean_of_task_means():
    results = random_results()
    for row in board_of(results).rows:
        own = [r for r in results if r.policy == row.policy]
        k = row.k - 1
        for name, value in {
            "regret_mean": lambda r, k=k: r.regret[k],
            "latent_regret_mean": lambda r, k=k: r.latent_regret[k],
            "raw_gap": lambda r, k=k: r.raw_gap[k],
            "rank_mean": lambda r, k=k: r.rank[k],
            "oracle_regret": lambda r, k=k: r.oracle_regret[k],
            "inference_regret": lambda r: r.inference_regret,
            "diverged_first": lambda r: r.diverged_first,
        }.items():
            expected = mean_over_tasks(own, value)
            assert getattr(row, name) == pytest.approx(expected), name
        n_calls = sum(r.n_calls for r in own)
        for name in ("malformed", "repeated", "off_table"):
            n_bad = sum(getattr(r, name) for r in own)
            assert getattr(row, name) == pytest.approx(n_bad / n_calls)
        assert row.cost_device_hours == pytest.approx(
            np.mean([r.cost_device_hours for r in own])
        )
        assert (row.n_tasks, row.n_seeds, row.n_calls) == (3, 4, n_calls)


def test_build__unequal_numbers_of_seeds__weigh_tasks_alike():
    results = judged("a", np.array([[0.0, np.nan, np.nan], [0.9, 0.9, 0.9]]))
    assert board_of(results).rows[0].regret_mean == pytest.approx(0.45)


def test_build__cost_that_is_unknown__is_null_and_no_number():
    results = judged("a", np.zeros((2, 2)), cost_device_hours=math.nan)
    board = board_of(results)
    assert board.rows[0].cost_device_hours is None
    json.dumps(board.as_json(), allow_nan=False)


def test_build__results_in_another_order__has_the_same_scores():
    results = random_results()
    shuffled = [results[i] for i in RNG.permutation(len(results))]
    one, other = board_of(results), board_of(shuffled)
    assert one.evaluation_id == other.evaluation_id
    places = {(r.policy, r.k): r for r in one.rows}
    for row in other.rows:
        there = places.pop((row.policy, row.k))
        assert row.cost_device_hours == pytest.approx(there.cost_device_hours)
        same_cost = {"cost_device_hours": there.cost_device_hours}
        assert row.model_copy(update=same_cost) == there
    assert not places


def test_build__another_policy_beside_it__changes_no_score():
    results = random_results(("a", "b", "c"))
    alone = board_of([r for r in results if r.policy == "b"]).rows
    beside = [r for r in board_of(results).rows if r.policy == "b"]
    assert list(alone) == beside


def test_build__paired_difference__is_the_mean_of_differences():
    results = random_results(("copy-nearest", "x"), n_tasks=6)
    (pair,) = [
        p for p in board_of(results).pairs if p.measure == "regret" and p.k == 3
    ]
    own = {(r.task_id, r.seed): r for r in results if r.policy == "x"}
    base = [r for r in results if r.policy == "copy-nearest"]
    expected = mean_over_tasks(
        base, lambda r: own[r.task_id, r.seed].regret[2] - r.regret[2]
    )
    assert pair.difference == pytest.approx(expected)
    assert (pair.policy, pair.baseline, pair.n_pairs) == (
        "x",
        "copy-nearest",
        24,
    )
    assert pair.low <= pair.difference <= pair.high


def test_build__pair_of_which_one_missed_seeds__is_over_those_both_played():
    whole = judged("copy-nearest", np.full((2, 4), 0.5))
    scores = np.full((2, 4), 0.7)
    scores[:, 2:] = np.nan
    board = board_of([*whole, *judged("x", scores)])
    assert {p.n_pairs for p in board.pairs} == {4}
    assert board.pairs[0].difference == pytest.approx(0.2)


def test_build__trials_of_three__have_no_row_at_five():
    results = [replace(r, trials=3) for r in judged("a", np.zeros((1, 2)))]
    assert [row.k for row in board_of(results).rows] == [1, 3]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.lists(
            st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=6, max_size=6
        ),
        min_size=2,
        max_size=5,
    )
)
def test_standing__any_regrets__ranks_are_scipys(regrets):
    scores = np.array(regrets).reshape(len(regrets), 2, 3)
    names = [f"p{i}" for i in range(len(scores))]
    found = standing(
        {n: judged(n, s) for n, s in zip(names, scores, strict=True)}, 1
    )
    expected = rankdata(scores, axis=0).mean(axis=2).mean(axis=1)
    by_name = {row.policy: row.rank for row in found["rows"]}
    assert [by_name[n] for n in names] == pytest.approx(expected)
    ranks = [row.rank for row in found["rows"]]
    assert ranks == sorted(ranks)
    assert sum(ranks) == pytest.approx(sum(range(1, len(names) + 1)))


def test_standing__critical_difference__is_the_quantile_of_the_widest_gap():
    scores = np.random.default_rng(3).random((3, 6, 8))
    names = ["a", "b", "c"]
    found = standing(
        {n: judged(n, s) for n, s in zip(names, scores, strict=True)}, 1
    )
    ranks = rankdata(scores, axis=0)
    means = ranks.mean(axis=2).mean(axis=1)
    moved = [resampled_means(own, True) for own in ranks]
    widest = []
    for draw in zip(*moved, strict=True):
        gaps = np.array(draw) - means
        widest.append(gaps.max() - gaps.min())
    assert found["cd"] == pytest.approx(np.quantile(widest, 0.95))


@settings(max_examples=20, deadline=None)
@example(345, 2)  # the gap is the critical difference itself
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_standing__cliques__are_the_longest_runs_within_the_difference(
    seed, n_policies
):
    rng = np.random.default_rng(seed)
    names = [f"p{i}" for i in range(n_policies)]
    shifts = rng.random(n_policies)
    by_name = {}
    for name, shift in zip(names, shifts, strict=True):
        by_name[name] = judged(name, shift + rng.random((5, 6)))
    found = standing(by_name, 1)
    order = [row.policy for row in found["rows"]]
    rank = {row.policy: row.rank for row in found["rows"]}
    runs = []
    for i, j in itertools.combinations(range(n_policies), 2):
        if rank[order[j]] - rank[order[i]] <= found["cd"] + 1e-12:
            runs.append(tuple(order[i : j + 1]))
    longest = [
        run for run in runs if not any(set(run) < set(other) for other in runs)
    ]
    assert sorted(found["cliques"]) == sorted(longest)


def test_score_matrix__missing_episode__is_nan_in_sorted_places():
    scores = np.array([[0.1, np.nan], [0.3, 0.4]])
    found = score_matrix(judged("a", scores)[::-1], "regret", 1)
    assert np.array_equal(found, scores, equal_nan=True)
    assert mean_score(judged("a", scores), "regret", 1) == pytest.approx(0.225)
    assert total(judged("a", scores), "seed") == 1


def test_results_by_policy__order__is_that_of_the_first_result():
    results = [*judged("b", [[0.1]]), *judged("a", [[0.1]])]
    assert list(results_by_policy(results)) == ["b", "a"]


def test_evaluation_id__what_was_played_by_whom__names_it():
    results = random_results()
    here = evaluation_id(results)
    assert evaluation_id(results[:-1]) != here
    changed = replace(results[0], policy_identity="other")
    assert evaluation_id([changed, *results[1:]]) != here
    scored = replace(results[0], regret=[0.0] * 5)
    assert evaluation_id([scored, *results[1:]]) == here


@pytest.mark.parametrize("n_policies", [1, 2])
def test_leaderboard__json_and_back__is_equal(n_policies):
    names = ["copy-nearest", "ünï <b>|x"][:n_policies]
    board = board_of(random_results(names, n_tasks=6))
    text = json.dumps(board.as_json(), allow_nan=False)
    assert Leaderboard.of_json(json.loads(text)) == board


def test_leaderboard__on_another_snapshot__has_its_id_everywhere():
    board = board_of(random_results()).on_table("other")
    assert board.table_id == "other"
    assert {row.table_id for row in board.rows} == {"other"}


def test_latest__pointer_that_is_no_text__is_no_foreign_error(tmp_path):
    pointer = tmp_path / "reports" / "latest"
    pointer.parent.mkdir()
    pointer.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ComparisonError, match="Fix: autollm evaluate"):
        leaderboard.load(str(tmp_path))


def test_markdown__cells__keep_to_their_columns():
    rows = [
        {"policy": "a|b", "regret": 0.123456, "note": "two\nlines"},
        {"policy": "c", "regret": 1e-9, "note": None},
    ]
    lines = markdown(rows).splitlines()
    assert lines[0] == "| policy | regret | note |"
    assert lines[2] == "| a\\|b | 0.1235 | two lines |"
    assert lines[3] == "| c | 1e-09 | None |"
    assert markdown([]) == ""


def test_markdown__more_rows_than_shown__says_how_many():
    text = markdown([{"n": i} for i in range(70)], limit=60)
    assert text.endswith("\n\n... and 10 more")
    assert len(text.splitlines()) == 2 + 60 + 2


def test_score_rows__best_policy_first_within_its_suite():
    good, bad = judged("z", np.zeros((2, 3))), judged("a", np.ones((2, 3)))
    other = judged("a", np.ones((2, 3)), suite="b-v1")
    rows = score_rows(board_of([*bad, *good, *other]))
    assert [(r["suite"], r["policy"]) for r in rows] == [
        ("b-v1", "a"),
        ("toy-v1", "z"),
        ("toy-v1", "a"),
    ]
    assert rows[1]["k=1"] == "0.000 [0.000, 0.000]"


def test_by_policy__rows__are_by_k_and_the_lowest_regret_first():
    board = board_of([*judged("b", [[0.9]]), *judged("a", [[0.1]])])
    found = by_policy(board.rows)
    assert [ks[1].policy for ks in found] == ["a", "b"]
    assert list(found[0]) == [1, 3, 5]


def test_played__of_this_file__has_five_trials():
    assert len(played().regret) == played().trials == 5
