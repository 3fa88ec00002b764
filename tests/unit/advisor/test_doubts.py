from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autollm.advisor.answering import doubts as doubts_module
from autollm.advisor.answering.doubts import doubts
from autollm.advisor.deciding.decide import Backtest
from tests.unit.advisor.studies import study_of
from tests.unit.advisor.sweeps import BATCHES, LEVELS, RATES, rows_of


def codes(study) -> set[str]:
    return {warning.code for warning in doubts(study)}


def plain():
    return rows_of(seeds=2)


def one_scale():
    return rows_of(LEVELS[-1:])


def few_rows():
    return [r for r in rows_of() if int(r["run_id"][1:]) % 7 == 0]


def edge():
    return rows_of(rates=RATES[:6])


def collinear():
    return rows_of(((1e8, 2e9), (2e8, 4e9), (4e8, 8e9), (8e8, 1.6e10)))


def together():
    pairs = dict(zip(RATES[3:8], BATCHES, strict=True))
    kept = {(f"{rate:.6g}", batch) for rate, batch in pairs.items()}
    return [r for r in rows_of(seeds=3) if (r["lr"], r["batch_size"]) in kept]


def effort():
    rows = rows_of(seeds=2)
    order = {(int(p), int(t)): i for i, (p, t) in enumerate(LEVELS)}
    keep = []
    for n, row in enumerate(rows):
        level = order[row["params"], row["tokens"]]
        if n % (len(LEVELS) - level) == 0:
            keep.append(row)
    return keep


def failures_deleted():
    return [
        r
        for r in rows_of(seeds=2)
        if np.isfinite(r["val_loss"])
        and (float(r["lr"]) < RATES[-4] or r["batch_size"] <= 128)
    ]


def contradiction():
    rows = rows_of(seeds=2)
    first = next(r for r in rows if np.isfinite(r["val_loss"]))
    first["val_loss"] += 0.05
    return rows


def noisy():
    return rows_of(noise=0.2, seeds=2)


def confounded():
    rows = rows_of()
    for row in rows:
        row["optimizer"] = "adamw" if row["params"] < 4e8 else "muon"
    return rows


def direction():
    rows = rows_of()
    for row in rows:
        row["val_loss"] = 10 - row["val_loss"]
    return rows


@pytest.mark.parametrize(
    ("code", "rows"),
    [
        ("one-scale", one_scale),
        ("few-rows", few_rows),
        ("edge", edge),
        ("collinear", collinear),
        ("together", together),
        ("effort", effort),
        ("failures-deleted", failures_deleted),
        ("replicas", contradiction),
        ("noise", noisy),
        ("confounded", confounded),
        ("direction", direction),
    ],
)
def test_doubts__a_sweep_with_the_flaw__is_warned_of_and_a_good_one_is_not(
    tmp_path, code, rows
):
    found = codes(study_of(tmp_path, rows()))
    assert code in found or (code == "confounded" and "context" in found)
    (tmp_path / "good").mkdir()
    assert code not in codes(
        study_of(tmp_path / "good", plain(), params=1.6e9, tokens=6e10)
    )


def test_doubts__target_far_along_or_across__is_said(tmp_path):
    along = study_of(tmp_path, plain(), params=8e11, tokens=1e14)
    across = study_of(tmp_path, plain(), params=4e10, tokens=4e9)
    near = study_of(tmp_path, plain(), params=1e9, tokens=4e10)
    assert "far-along" in codes(along)
    assert "far-across" in codes(across)
    assert not {"far-along", "far-across"} & codes(near)


def test_doubts__good_sweep__no_warning_at_all(tmp_path):
    assert not codes(study_of(tmp_path, plain(), params=1e9, tokens=4e10))


def test_doubts__stopped_runs__are_said(tmp_path):
    study = study_of(tmp_path, plain(), params=1e9, tokens=4e10)
    runs = [dict(run) for run in study.evidence.runs]
    assert "unfinished" not in codes(study)
    runs[0]["status"] = "killed"
    stopped = replace(study, evidence=replace(study.evidence, runs=tuple(runs)))
    (warning,) = [w for w in doubts(stopped) if w.code == "unfinished"]
    assert "1 killed" in warning.text


def test_doubts__what_reading_noticed__is_a_warning(tmp_path):
    study = study_of(tmp_path, plain(), params=1e9, tokens=4e10)
    notes = (("changed-together", "lr and wd"), ("sampled", "every tenth row"))
    told = replace(study, evidence=replace(study.evidence, notes=notes))
    assert [w.code for w in doubts(told)] == ["together"]


def test_doubts__every_code__stands_in_the_docs():
    page = (
        Path(__file__).parents[3] / "docs" / "advice-warnings.md"
    ).read_text()
    source = Path(doubts_module.__file__).read_text()
    found = set(re.findall(r'yield Warn\(\s*"([a-z-]+)"', source))
    assert len(found) >= 16
    assert all(f"| `{code}` |" in page for code in found)


def test_doubts__the_line_and_the_decider_apart__is_said(tmp_path):
    study = study_of(tmp_path, plain(), params=1e9, tokens=4e10)
    assert "disagree" not in codes(study)
    trend = study.trends["lr"]
    off = replace(trend, at_target=trend.at_target + 2.0)
    apart = replace(study, trends=study.trends | {"lr": off})
    (warning,) = [w for w in doubts(apart) if w.code == "disagree"]
    assert "put the best lr a factor of" in warning.text
    unsure = replace(off, sd=2.0)  # a line that loose contradicts nothing
    loose = replace(study, trends=study.trends | {"lr": unsure})
    assert "disagree" not in codes(loose)


def test_doubts__own_backtests_that_lost__is_said(tmp_path):
    study = study_of(tmp_path, plain(), params=1e9, tokens=4e10)

    def lost(regret, policy=study.policy.policy_id):
        made = Backtest(policy, "hidden", 8.0, regret, regret, 0.1, regret)
        return replace(study, backtests=(made, made))

    (warning,) = [w for w in doubts(lost(0.4)) if w.code == "backtests"]
    assert "2 hidden experiments" in warning.text and "40%" in warning.text
    assert "backtests" not in codes(lost(0.2))
    assert "backtests" not in codes(lost(0.9, "another-policy"))
