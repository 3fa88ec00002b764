from __future__ import annotations

import json
import math

import numpy as np
import pytest

from autollm.advisor.evidence.evidence import LogOptions
from autollm.advisor.recommend import recommend
from autollm.core.errors import AdviceError, QuestionError
from tests.unit.advisor.sweeps import (
    LEVELS,
    best_batch,
    best_loss,
    best_rate,
    loss_at,
    rows_of,
    write_csv,
)

TARGET = (1.6e9, 6e10)
SAID = LogOptions(objective="val_loss:min")


@pytest.fixture(scope="module")
def advice(tmp_path_factory):
    path = write_csv(
        tmp_path_factory.mktemp("sweep") / "runs.csv", rows_of(seeds=2)
    )
    plan = {"optim.lr": 4 * 2 ** best_rate(*TARGET), "batch_size": 512}
    return recommend(path, "params=1.6B,tokens=60B", said=SAID, planned=plan)


def test_recommend__known_truth__first_configuration_is_within_half_a_step(
    advice,
):
    first = advice.recommendations[0].configuration
    assert abs(math.log2(first["lr"]) - best_rate(*TARGET)) <= 0.3
    assert abs(math.log2(first["batch_size"]) - best_batch(6e10)) <= 0.6
    assert set(first) == {"lr", "batch_size"}  # the user's own names


def test_recommend__at_the_scale_that_was_run__runs_of_the_evidence_are_told(
    tmp_path,
):
    rows = rows_of()
    params, tokens = LEVELS[-1]
    found = recommend(
        write_csv(tmp_path / "runs.csv", rows),
        {"params": params, "tokens": tokens},
        said=SAID,
        trials=8,
    )
    had = {}
    for row in rows:
        if (row["params"], row["tokens"]) == (params, tokens):
            key = f"{float(row['lr']):.4g}", int(row["batch_size"])
            had[key] = float(row["val_loss"])
    told = [e for e in found.recommendations if e.known_outcome is not None]
    assert told
    for entry in found.recommendations:
        c = entry.configuration
        known = had.get((f"{c['lr']:.4g}", c["batch_size"]))
        assert entry.known_outcome == (known and pytest.approx(known, rel=1e-5))
        text = f"you have this run: {known or 0:.4g}"
        assert entry.why.startswith(text) == (known is not None)


def test_recommend__known_truth__interval_holds_the_outcome(advice):
    for entry in advice.recommendations:
        c = entry.configuration
        truth = loss_at(c["lr"], c["batch_size"], *TARGET)
        assert entry.predicted.low < truth < entry.predicted.high


def test_recommend__acceptable_range__costs_about_one_percent_of_compute(
    advice,
):
    first = advice.recommendations[0]
    best = first.configuration
    budget = best_loss(1.6e9 / 1.005, 6e10 / 1.005) - best_loss(*TARGET)
    for name, (low, high) in first.acceptable.items():
        assert low <= best[name] <= high
        for edge in (low, high):
            moved = loss_at(
                **(
                    {"rate": best["lr"], "batch": best["batch_size"]}
                    | {{"lr": "rate", "batch_size": "batch"}[name]: edge}
                ),
                params=TARGET[0],
                tokens=TARGET[1],
            )
            at_best = loss_at(best["lr"], best["batch_size"], *TARGET)
            assert moved - at_best < 4 * budget


def test_recommend__trials__differ_and_are_ranked(advice):
    entries = advice.recommendations
    assert [e.rank for e in entries] == [1, 2, 3]
    assert len({json.dumps(e.configuration) for e in entries}) == 3
    first = entries[0].expected_regret.mean
    assert all(first <= e.expected_regret.mean for e in entries)


def test_recommend__laws__exponents_of_the_truth(advice):
    laws = {(law["knob"], law["per"]): law for law in advice.laws}
    assert laws["lr", "params"]["exponent"] == pytest.approx(-0.5, abs=0.05)
    assert laws["lr", "tokens"]["exponent"] == pytest.approx(0.25, abs=0.05)
    assert laws["batch_size", "tokens"]["exponent"] == pytest.approx(
        0.5, abs=0.08
    )


def test_recommend__planned_rate_two_octaves_high__is_wasteful_and_says_by_how_much(
    advice,
):
    checked = advice.checked
    assert checked.verdict in ("wasteful", "risky")
    assert checked.distance_to_optimum["lr"] == pytest.approx(2, abs=0.3)
    lost = loss_at(4 * 2 ** best_rate(*TARGET), 512, *TARGET) - best_loss(
        *TARGET
    )
    assert checked.loses.low < lost < checked.loses.high * 1.5
    assert checked.compute_equivalent > 1.05
    assert checked.nearest_diverged["run_id"]


def test_recommend__divergence__likelier_above_the_cliff(advice):
    assert advice.recommendations[0].p_diverge < 0.1
    assert advice.checked.p_diverge > advice.recommendations[0].p_diverge


def test_recommend__noise__is_that_of_the_replicas(advice):
    noise = advice.evidence["noise"]
    assert noise["from"] == "replicas"
    assert noise["sd"] == pytest.approx(0.001, rel=0.2)


def test_recommend__json__holds_finite_numbers_or_null_and_all_contracted_fields(
    advice,
):
    found = advice.to_json()
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == found
    contracted = (
        "schema advice_id source table_id basis objective target assumptions constants "
        "can_answer recommendations checked allocation decided_by evidence laws loss_law "
        "history plan warnings command"
    )
    assert set(contracted.split()) <= set(found)
    assert found["schema"] == "autollm.recommendation/1"
    assert {a["from"] for a in found["assumptions"]} <= {"said", "guessed"}


def test_recommend__backtests__are_of_hidden_experiments_once_a_policy(advice):
    tests = advice.decided_by["backtest"]
    keys = [(t["policy"], t["target"]) for t in tests]
    assert len(keys) == len(set(keys)) and len(keys) >= 8
    own = [
        t["regret"] for t in tests if t["policy"] == advice.decided_by["policy"]
    ]
    assert np.mean(own) < 0.1


def test_recommend__evidence_rows__name_run_and_file(advice):
    rows = advice.evidence["rows"]
    assert 0 < len(rows) <= 20
    assert all(
        r["file"] == "runs.csv" and r["run_id"].startswith("r") for r in rows
    )


def test_recommend__twice__the_same_answer(tmp_path, advice):
    path = write_csv(tmp_path / "runs.csv", rows_of(seeds=2))
    plan = {"lr": 4 * 2 ** best_rate(*TARGET), "batch_size": 512}
    again = recommend(path, "params=1.6B,tokens=60B", said=SAID, planned=plan)
    assert again.to_json() == advice.to_json()


def test_recommend__one_scale__prior_with_reasons_instead_of_numbers(tmp_path):
    path = write_csv(tmp_path / "runs.csv", rows_of(LEVELS[-1:], seeds=2))
    advice = recommend(path, "params=7B,tokens=140B", said=SAID)
    first = advice.recommendations[0]
    assert advice.basis == "prior"
    assert first.predicted is None and "law" in first.missing["predicted"]
    assert first.acceptable is None and advice.loss_law is None
    assert any(w.code == "one-scale" for w in advice.warnings)
    answers = {row.question: row for row in advice.can_answer}
    assert answers["achievable outcome"].answer == "no"
    (help_,) = answers["achievable outcome"].would_help
    assert help_.cost["flops"] < 6 * 8e8 * 4e10  # cheaper than what is there


def test_recommend__maximized_benchmark__is_ranked_and_not_forecast(tmp_path):
    rows = rows_of(seeds=2)
    for row in rows:
        row["accuracy"] = 1 / row.pop("val_loss")
    path = write_csv(tmp_path / "runs.csv", rows)
    advice = recommend(
        path, "params=1.6B,tokens=60B", said=LogOptions("accuracy:max")
    )
    first = advice.recommendations[0]
    assert abs(math.log2(first.configuration["lr"]) - best_rate(*TARGET)) <= 0.6
    assert (
        first.predicted is None
        and "unforecastable" in first.missing["predicted"]
    )


def test_recommend__unknown_direction__is_no_answer(tmp_path):
    rows = rows_of()
    for row in rows:
        row["metric_value"] = row.pop("val_loss")
    path = write_csv(tmp_path / "runs.csv", rows)
    with pytest.raises(AdviceError) as caught:
        recommend(path, "params=1.6B,tokens=60B")
    assert (
        caught.value.code == "direction"
        and caught.value.about == "metric_value"
    )


def test_recommend__no_table__is_no_answer(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text("hello\nworld\n")
    with pytest.raises(AdviceError) as caught:
        recommend(path, "params=1.6B")
    assert caught.value.code == "unreadable"


def test_recommend__coordinate_missing__is_a_question_error(tmp_path):
    path = write_csv(tmp_path / "runs.csv", rows_of())
    with pytest.raises(QuestionError, match="tokens"):
        recommend(path, "params=1.6B", said=SAID)


def test_recommend__target_that_was_run__history_lists_its_runs(tmp_path):
    path = write_csv(tmp_path / "runs.csv", rows_of())
    advice = recommend(path, {"params": 8e8, "tokens": 4e10}, said=SAID)
    outcomes = [h["outcome"] for h in advice.history]
    assert outcomes == sorted(outcomes) and advice.history[0]["rank"] == 1


def test_recommend__budget__takes_the_best_split_and_keeps_the_compute(
    tmp_path,
):
    path = write_csv(tmp_path / "runs.csv", rows_of())
    budget = 6 * TARGET[0] * TARGET[1]
    advice = recommend(path, {}, said=SAID, budget_flops=budget)
    size = advice.target.fidelity["params"]
    assert advice.target.compute_flops == pytest.approx(budget, rel=1e-3)
    assert (
        advice.allocation["params"].low
        < size
        < advice.allocation["params"].high
    )
    fixed = recommend(path, {"params": 1e9}, said=SAID, budget_flops=budget)
    assert fixed.target.fidelity["tokens"] == pytest.approx(budget / 6e9)


def test_recommend__budget_where_size_and_data_grew_together__is_no_answer(
    tmp_path,
):
    path = write_csv(
        tmp_path / "runs.csv", rows_of([(1e8, 2e9), (2e8, 4e9), (4e8, 8e9)])
    )
    with pytest.raises(AdviceError) as caught:
        recommend(path, {}, said=SAID, budget_flops=1e20)
    assert caught.value.code == "no-split"


def test_recommend__category__has_no_law_and_says_why(tmp_path):
    rows = rows_of()
    for number, row in enumerate(rows):
        row["optimizer"] = ("adamw", "muon")[number % 2]
    path = write_csv(tmp_path / "runs.csv", rows)
    said = LogOptions("val_loss:min", ("lr", "batch_size", "optimizer"))
    advice = recommend(path, "params=1.6B,tokens=60B", said=said, trials=1)
    (law,) = [law for law in advice.laws if law["knob"] == "optimizer"]
    assert law["verdict"] == "unknown" and law["exponent"] is None
    assert "no order" in law["because"]
