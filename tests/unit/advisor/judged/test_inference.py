from __future__ import annotations

import numpy as np
import pytest

from autollm.advisor.judged.inference import (
    Estimate,
    compare,
    estimate,
    mean_of_sources,
)


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_mean_of_sources__many_experiments_of_one__weigh_as_one_source():
    scores = {
        "large": [column(0.0, 0.0)] * 9,
        "small": [column(1.0, 1.0)],
    }
    assert mean_of_sources(scores)[0] == 0.5


def test_mean_of_sources__seeds_of_one_experiment__do_not_outweigh_another():
    scores = {"a": [column(0.0, 0.0, 0.0), column(0.9)]}
    assert mean_of_sources(scores)[0] == pytest.approx(0.45)


def test_estimate__one_source__has_no_interval():
    found = estimate({"a": [column(0.2), column(0.4)]})
    assert (found.mean, found.low, found.high) == (
        pytest.approx(0.3),
        None,
        None,
    )


def test_estimate__sources_apart_and_seeds_alike__interval_spans_the_sources():
    scores = {f"s{i}": [column(*[i / 4] * 20)] for i in range(5)}
    found = estimate(scores)
    sd_of_mean = np.std([i / 4 for i in range(5)]) / np.sqrt(5)
    assert found.mean == pytest.approx(0.5)
    assert found.high - found.low == pytest.approx(
        2 * 1.96 * sd_of_mean, rel=0.1
    )


def test_compare__pairs__difference_is_certain_where_each_source_agrees():
    rng = np.random.default_rng(0)
    scores = {}
    for source in "abcdef":
        level = rng.random((4, 1))
        scores[source] = [np.concatenate([level, level + 0.1], axis=1)]
    found = compare(scores, ["ours", "theirs"], "ours")
    gap = found.differences["theirs"]
    for value in (gap.mean, gap.low, gap.high):
        assert value == pytest.approx(-0.1)
    assert found.upper == pytest.approx(-0.1) and found.verdict == "below .05"


def test_compare__best_other__is_taken_anew_in_every_resample():
    # each source has another best policy: the best of a resample is better than any
    # policy is overall, so that the bound lies above the difference of means
    scores = {}
    for i in range(6):
        row = np.full(4, 0.5)
        row[0] = 0.3
        row[1 + i % 3] = 0.1
        scores[f"s{i}"] = [row[None]]
    names = ["ours", "p", "q", "r"]
    found = compare(scores, names, "ours")
    assert found.against_best == pytest.approx(0.3 - (0.1 + 0.5 + 0.5) / 3)
    assert found.upper > found.against_best + 0.05
    assert found.verdict == "not resolved"
    with pytest.raises(ValueError, match="nobody"):
        compare({"a": [column(0.1)]}, ["ours"], "ours")


@pytest.mark.parametrize(
    ("low", "high", "side"),
    [
        (-0.3, -0.1, "below"),
        (-0.3, 0.1, "not resolved"),
        (0.1, 0.3, "above"),
        (None, None, "not resolved"),
    ],
)
def test_side__interval__lies_on_one_or_is_not_resolved(low, high, side):
    assert Estimate(0.0, low, high).side == side
