from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

import autollm
from autollm.advisor.deciding.belief import Belief, Runs
from autollm.advisor.deciding.plan import (
    Budget,
    _Plan,
    budget_of,
    parse_budget,
    plan_of,
)
from autollm.core.errors import QuestionError
from tests.unit.advisor.studies import study_of
from tests.unit.advisor.sweeps import (
    LEVELS,
    RATES,
    best_batch,
    best_rate,
    rows_of,
    write_csv,
)

RAY = ((1e8, 2e9), (2e8, 4e9), (4e8, 8e9), (8e8, 1.6e10))


def planned(study, budget: str = ""):
    return plan_of(study, budget_of(study, budget))


def test_plan__collinear_levels_and_a_target_off_their_line__first_run_leaves_it(
    tmp_path,
):
    study = study_of(tmp_path, rows_of(RAY), params=7e9, tokens=2e10)
    first = planned(study)[0]
    ratio = first.experiment["tokens"] / first.experiment["params"]
    assert (
        abs(np.log2(ratio / 20)) >= 1
    )  # every level has 20 tokens a parameter
    assert first.expected_regret_after < 0.7 * first.expected_regret_before


def test_plan__optimum_at_the_edge__first_step_goes_beyond_it(tmp_path):
    study = study_of(tmp_path, rows_of(rates=RATES[:6]))
    steps = [run for run in planned(study) if run.step == 1]
    assert max(run.configuration["lr"] for run in steps) > 1.5 * RATES[5]


def test_plan__noise_dominates_and_nobody_repeated__repeats_the_baseline(
    tmp_path,
):
    study = study_of(tmp_path, rows_of(noise=0.2))
    first = planned(study)[0]
    best = min(
        (r for r in study.evidence.runs if r["objective_value"] is not None),
        key=lambda r: (r["cost_flops"], r["objective_value"]),
    )
    assert first.experiment == json.loads(best["fidelity_json"])
    config = json.loads(best["config_json"])
    assert first.configuration["lr"] == pytest.approx(config["lr"], rel=1e-3)
    assert "noise decides" in first.why


def test_plan__noise_is_known_from_repeats__does_not_come_first(tmp_path):
    study = study_of(tmp_path, rows_of(noise=0.2, seeds=2))
    assert "noise decides" not in planned(study)[0].why


def test_plan__good_sweep__spends_nothing(tmp_path):
    study = study_of(tmp_path, rows_of(), params=1.6e9, tokens=6e10)
    (only,) = planned(study)
    assert only.experiment is None and only.cost["flops"] == 0
    assert only.expected_regret_after == only.expected_regret_before


def test_plan__budget__is_kept_and_more_of_it_never_hurts(tmp_path):
    study = study_of(tmp_path, rows_of(RAY), params=7e9, tokens=2e10)
    last = 1.0
    for flops in (1e18, 1e19, 1e20):
        runs = planned(study, f"{flops:g}flops")
        assert sum(run.cost["flops"] for run in runs) <= flops * (1 + 1e-6)
        assert runs[-1].expected_regret_after <= last + 1e-9
        last = runs[-1].expected_regret_after


def test_plan__steps__regret_falls_from_step_to_step(tmp_path):
    study = study_of(tmp_path, rows_of(RAY), params=7e9, tokens=2e10)
    runs = planned(study)
    for before, after in itertools.pairwise(runs):
        if after.step != before.step:
            assert after.expected_regret_before == pytest.approx(
                before.expected_regret_after
            )


def test_gain__of_any_batch__is_not_negative_and_grows_with_another(tmp_path):
    study = study_of(tmp_path, rows_of(RAY), params=7e9, tokens=2e10)
    plan = _Plan(study, budget_of(study, ""))
    gains = [plan.gain([n]) for n in range(len(plan._batches))]
    assert min(gains) >= 0
    best = int(np.argmax(gains))
    assert gains[best] <= plan.regret * 1.05
    for other in range(0, len(gains), 7):
        assert plan.gain([best, other]) >= gains[best] - 0.003


def test_belief__centre__is_the_true_optimum_at_levels_and_beyond(tmp_path):
    belief = Belief(study_of(tmp_path, rows_of()))
    for params, tokens in (*LEVELS, (1.6e9, 6e10)):
        centre = belief.centre(np.log2([params, tokens]))
        assert centre[0] == pytest.approx(best_rate(params, tokens), abs=0.15)
        assert centre[1] == pytest.approx(best_batch(tokens), abs=0.3)


def test_belief__a_run_that_was_made__is_expected_as_it_came_out(tmp_path):
    study = study_of(tmp_path, rows_of())
    belief = Belief(study)
    seen, u = belief.evidence
    outlook = belief.of(Runs(seen.points[::9], seen.z[::9]))
    mean = sum(o.weight * o.mean for o in outlook)
    good = u[::9] < 1
    assert good.sum() > 10
    assert np.abs(mean - u[::9])[good].mean() < 0.1


def test_parse_budget__units__are_read():
    assert parse_budget("200device-hours") == (200.0, "device_hours")
    assert parse_budget("1.5 gpu hours") == (1.5, "device_hours")
    assert parse_budget("1e19flops") == (1e19, "flops")
    assert parse_budget("5%") == (0.05, "share")
    for wrong in ("much", "-1", "3 apples", "0"):
        with pytest.raises(QuestionError, match="--budget"):
            parse_budget(wrong)


def test_budget_of__hours_that_nobody_logged__is_a_question_error(tmp_path):
    study = study_of(tmp_path, rows_of())
    with pytest.raises(QuestionError, match="do not say how many hours"):
        budget_of(study, "20device-hours")


def test_budget_of__hours_that_are_logged__are_spent(tmp_path):
    rows = rows_of(RAY)
    for row in rows:
        row["gpu_hours"] = row["params"] * row["tokens"] / 1e18
    study = study_of(tmp_path, rows, params=7e9, tokens=2e10)
    assert budget_of(study, "20gpu-hours") == Budget(20.0, "device_hours")
    runs = planned(study, "20gpu-hours")
    assert runs[0].experiment is not None
    assert sum(run.cost["device_hours"] for run in runs) <= 20


def test_plan__in_python__whole_plan_within_the_budget(tmp_path):
    path = write_csv(tmp_path / "runs.csv", rows_of(RAY))
    target = {"params": 7e9, "tokens": 2e10}
    whole = autollm.plan(path, target, "1%", objective="val_loss:min")
    first = autollm.recommend(path, target, objective="val_loss:min")
    budget = 0.01 * whole.target.compute_flops
    assert sum(run.cost["flops"] for run in whole.plan) <= budget
    assert {run.step for run in first.plan} <= {0, 1} and first.plan
    more = autollm.plan(path, target, "2%", objective="val_loss:min")
    assert len({a.advice_id for a in (whole, more, first)}) == 3
    assert "plan" in first.to_json()


def test_plan__logs_without_flops__costs_are_shares_and_shown_as_null(tmp_path):
    study = study_of(tmp_path, rows_of(RAY), params=7e9, tokens=2e10)
    unknown = replace(study.evidence, has_flops=False)
    study = replace(study, evidence=unknown)
    assert all(run.cost["flops"] in (None, 0.0) for run in planned(study))
    with pytest.raises(QuestionError, match="do not say how many"):
        budget_of(study, "1e19flops")
