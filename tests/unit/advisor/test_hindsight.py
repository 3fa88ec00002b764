"""What the same rules would have said of experiments that are there."""

import numpy as np
import pytest

from autollm.advisor.answering.influence import influences, within
from autollm.advisor.deciding.hindsight import (
    expected_draws,
    hindcasts,
    regret_by_policy,
    saved,
)
from autollm.advisor.evidence.evidence import LogOptions, read_evidence
from autollm.advisor.kept.ledger import ReportedRun
from autollm.advisor.recommend import explore
from autollm.advisor.showing.pictures import law_along
from tests.unit.advisor.sweeps import best_loss, rows_of, write_csv


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    path = tmp_path_factory.mktemp("hindsight") / "runs.csv"
    evidence = read_evidence([write_csv(path, rows_of()[::2])], LogOptions())
    return explore(evidence, "params=1.6B,tokens=60B")


def test_expected_draws__one_of_ten__is_the_known_mean():
    rng = np.random.default_rng(0)
    firsts = []
    for _ in range(20_000):
        firsts.append(1 + int(np.argmax(rng.permutation(10) < 3)))
    assert expected_draws(10, 3) == pytest.approx(np.mean(firsts), rel=0.02)
    assert expected_draws(10, 10) == 1.0


def test_foretold__sweep_with_a_law__holds_what_the_formula_says(answered):
    found, _ = answered
    told = hindcasts(found)
    assert len(told) >= 2
    for one in told:
        assert one.low < one.mean < one.high
        assert "runs/" not in one.label
    level = max(found.response.levels, key=lambda one: one.z.sum())
    truth = best_loss(*2.0**level.z)
    assert told[-1].reached == pytest.approx(truth, abs=0.01)
    assert sum(one.inside for one in told) >= len(told) - 1


def test_saved__good_proposal__costs_several_random_runs(answered):
    found, _ = answered
    rows = saved(found)
    assert len(rows) == len(found.own_backtests) > 0
    best = min(rows, key=lambda row: row.regret)
    assert best.random_runs > 5 and best.flops > 0
    worse = max(rows, key=lambda row: row.regret)
    assert worse.random_runs <= best.random_runs


def test_regret_by_policy__all_backtests__best_first(answered):
    found, _ = answered
    rows = regret_by_policy(found.backtests)
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    assert sum(row[2] for row in rows) == len(found.backtests)


def test_influences__an_experiment_left_out__is_the_question_without_it(
    answered,
):
    found, advice = answered
    rows = influences(found, advice.recommendations[0])
    assert len(rows) == len(found.question.levels)
    for row in rows:
        assert set(row.moved) == set(row.configuration)
        assert abs(row.moved["lr"]) < 1.5, "six levels: none decides alone"


def test_influences__levels_that_contradict__move_the_advice(tmp_path):
    rows = rows_of()[::2]
    for row in rows:
        if row["params"] == int(
            8e8
        ):  # its rates are written eight times too high
            row["lr"] = f"{8 * float(row['lr']):.6g}"
    path = write_csv(tmp_path / "runs.csv", rows)
    found, advice = explore(
        read_evidence([path], LogOptions()), "params=1.6B,tokens=60B"
    )
    moved = influences(found, advice.recommendations[0])
    assert max(abs(row.moved["lr"]) for row in moved) >= 0.5


def test_law_along__target__is_the_sum_of_its_parts(answered):
    law = answered[0].loss_law
    at_target = law_along(law, np.zeros((1, len(law.names))))[0]
    parts = [v for k, v in law.parameters.items() if k in "EAB"]
    assert at_target == pytest.approx(sum(parts))
    further = law_along(law, np.full((1, len(law.names)), 3.0))[0]
    assert law.parameters["E"] < further < at_target


def test_trend_along__target_and_far__band_widens(answered):
    found, _ = answered
    trend = found.trends["lr"]
    n = len(found.ladder.names)
    line, half = trend.along(np.array([np.zeros(n), np.full(n, 20.0)]))
    assert line[0] == pytest.approx(trend.at_target)
    assert half[1] > half[0]


def test_influences__constraint_and_told_run__hold_there_too(tmp_path):
    path = write_csv(tmp_path / "runs.csv", rows_of()[::2])
    evidence = read_evidence([path], LogOptions())
    target = "params=1.6B,tokens=60B"
    options = {"constraints": ("batch_size <= 256",)}
    _, before = explore(evidence, target, **options)
    first = before.recommendations[0]
    told = ReportedRun(first.configuration, first.predicted.mean, rank=1)
    found, advice = explore(evidence, target, tried=(told,), **options)
    rows = influences(found, advice.recommendations[0])
    assert rows
    for row in rows:
        assert row.configuration["batch_size"] <= 256
        assert row.configuration != first.configuration


@pytest.mark.parametrize(
    ("value", "bounds", "is_category", "inside"),
    [
        (0.002, [0.001, 0.004], False, True),
        (0.005, [0.001, 0.004], False, False),
        (6, [4, 8], False, True),
        (6, [4, 8], True, False),  # two categories are no range
        (8, [4, 8], True, True),
        ("muon", ["adamw", "muon"], True, True),
        ("lion", ["adamw", "muon"], True, False),
    ],
)
def test_within__range_or_categories__by_what_the_setting_is(
    value, bounds, is_category, inside
):
    assert within(value, bounds, is_category) == inside
