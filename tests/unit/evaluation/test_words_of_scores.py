"""How scores are written: in a terminal, in Markdown, in a page; and standings where
little was played.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.evaluation.leaderboard import build
from autollm.evaluation.markdown import markdown
from autollm.evaluation.pages import digits, power
from autollm.evaluation.plots import ranks
from autollm.evaluation.report import publish
from autollm.evaluation.results import mean_score, score_matrix, total
from autollm.evaluation.standings import overall, standing
from autollm.evaluation.terminal import short
from tests.unit.evaluation.test_leaderboard import TABLE
from tests.unit.evaluation.test_leaderboard import results as played_by
from tests.unit.evaluation.test_standings import results

FEW = settings(max_examples=40)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, ".000"),
        (0.0524, ".052"),
        (-0.12, "-.120"),
        (1.0, "1.000"),
        (-1.5, "-1.500"),
        (0.9996, "1.000"),
        (-0.0001, "-.000"),
        (12.3456, "12.346"),
    ],
)
def test_short__number__has_three_decimals_and_no_leading_zero(value, text):
    assert short(value) == text


@FEW
@given(st.floats(-10, 10))
def test_short__any_number__reads_back_to_three_decimals(value):
    assert float(short(value)) == pytest.approx(value, abs=5.01e-4)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_digits__no_number__is_a_dash(value):
    assert digits(value) == power(value) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.35, "0.35"),
        (7.0, "7"),
        (4.2e21, "4.2e21"),
        (1.0e5, "1.0e5"),
        (12345.0, "1.2e4"),
        (1.5e-3, "0.0015"),
    ],
)
def test_power__count__is_two_digits(value, text):
    assert power(value) == text


@FEW
@given(st.floats(1e-3, 1e25))
def test_power__any_count__reads_back_to_two_digits(value):
    assert float(power(value)) == pytest.approx(value, rel=0.051)


@pytest.mark.parametrize(
    ("value", "n", "text"),
    [(1.23456, 3, "1.23"), (1.23456, 5, "1.2346"), (0, 3, "0")],
)
def test_digits__number__has_as_many(value, n, text):
    assert digits(value, n) == text


def test_markdown__name_with_a_bar__keeps_its_column():
    text = markdown([{"a|b": 1, "c\nd": 2}])
    for line in text.split("\n"):
        assert line.replace("\\|", "").count("|") == 3
    assert len(text.split("\n")) == 3


def test_markdown__values_of_all_kinds__stand_as_people_write_them():
    row = {"a": 0.123456, "b": 12, "c": None, "d": True, "e": "x"}
    assert (
        markdown([row]).split("\n")[-1] == "| 0.1235 | 12 | None | True | x |"
    )


def test_score_matrix__field_that_is_no_curve__is_told_as_it_is():
    own = results("a", np.array([[0.1, 0.2], [0.3, 0.4]]))
    found = score_matrix(own, "n_calls")
    assert found.shape == (2, 2) and np.isfinite(found).all()
    assert total(own, "n_calls") == int(found.sum())


def test_mean_score__tasks_of_unequal_seeds__weigh_alike():
    own = results("a", np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    some = [r for r in own if not (r.task_id == "a/1" and r.seed > 0)]
    assert mean_score(some, "regret", 1) == 0.5


def test_standing__nobody_played_what_another_did__says_nothing():
    """Policies that share no task and seed cannot be ranked."""
    one = results("a", np.array([[0.1, 0.2]]))
    other = results("b", np.array([[0.1, 0.2]]), suite="b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = standing({"a": one, "b": other}, 1)
    assert found["rows"] == () and found["cliques"] == ()
    assert found["cd"] is None and found["n_targets"] == 0


def test_overall__policies_that_share_no_seed__have_no_standing():
    first = results("a", np.full((1, 2), 0.1)) + results(
        "a", np.full((1, 2), 0.1), suite="b"
    )
    other = []
    for suite in ("a", "b"):
        for result in results("b", np.full((1, 4), 0.2), suite=suite):
            if result.seed > 1:
                other.append(result)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = overall([*first, *other], [1])
    assert found == []


def test_standing__one_policy__is_first_and_nothing_to_tell_apart():
    found = standing({"a": results("a", np.array([[0.1, 0.3]]))}, 1)
    (row,) = found["rows"]
    assert row.rank == 1.0 and row.regret_mean == pytest.approx(0.2)
    assert found["cd"] is None and found["cliques"] == ()


@FEW
@given(
    st.integers(2, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 999)
)
def test_standing__any_scores__ranks_sum_as_they_must(n, tasks, seeds, seed):
    rng = np.random.default_rng(seed)
    scores = {}
    for i in range(n):
        values = np.round(rng.random((tasks, seeds)), 1)
        scores[f"p{i}"] = results(f"p{i}", values)
    found = standing(scores, 1)
    ranks = [row.rank for row in found["rows"]]
    assert sum(ranks) == pytest.approx(n * (n + 1) / 2)
    assert ranks == sorted(ranks)
    for clique in found["cliques"]:
        assert len(clique) > 1


def test_build__policies_that_share_no_seed__have_scores_and_no_standing():
    one = results("a", np.array([[0.1, 0.2]]))
    other = results("b", np.full((1, 4), 0.3))[2:]
    board = build([*one, *other], command="autollm evaluate", commit="abc")
    assert {row.policy for row in board.rows} == {"a", "b"}
    assert board.standings == () and board.overall == ()


def test_ranks__no_standing__is_no_picture():
    assert ranks([], {}) == ""


def test_publish__policies_that_share_no_seed__is_a_page_all_the_same(tmp_path):
    played = played_by({"random": "", "pool-centre": ""})
    apart = []
    for result in played:
        if (result.policy == "random") == (result.seed % 2 == 0):
            apart.append(result)
    done = publish(
        apart, TABLE, str(tmp_path), command="autollm evaluate", commit="abc"
    )
    assert done.leaderboard.standings == ()
    folder = tmp_path / "reports" / done.leaderboard.evaluation_id
    page = (folder / "report.html").read_text()
    assert "pool-centre" in page and "not told apart" not in page
