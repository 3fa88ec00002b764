"""Natural units of plain numbers: one step of what was tried."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from autollm.advisor.evidence.evidence import LogOptions, read_evidence
from autollm.advisor.evidence.steps import with_steps
from autollm.advisor.recommend import recommend
from tests.unit.advisor.sweeps import write_csv


def knob_of(values, **stated):
    """The declared knob once the values of `x` are known."""
    raw = {"name": "x", "scale": "linear"} | stated
    key = {"source": "s", "space_id": "a"}
    spaces = [key | {"space_json": json.dumps({"knobs": [raw]})}]
    outcomes = [key | {"config_json": json.dumps({"x": v})} for v in values]
    found = with_steps(
        pa.Table.from_pylist(spaces), pa.Table.from_pylist(outcomes)
    )
    (row,) = found.to_pylist()
    return json.loads(row["space_json"])["knobs"][0]


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ((0.0, 0.1, 0.2, 0.3), 0.1),
        ((0.9, 0.95, 0.99), 0.045),
        ((100, 2000), 1900),
        (tuple(n / 100 for n in range(101)), 0.25),
    ],
)
def test_with_steps__linear_number__has_one_of_its_window(values, step):
    assert knob_of(values)["step"] == pytest.approx(step)


@pytest.mark.parametrize(
    "stated", [{"step": 0.5}, {"window": [0, 1]}, {"scale": "log"}]
)
def test_with_steps__what_is_stated__stays(stated):
    raw = {"name": "x", "scale": "linear"} | stated
    assert knob_of((0.0, 0.001, 0.01), **stated) == raw


def test_with_steps__one_value__has_no_step():
    assert "step" not in knob_of((0.1,))


def rewards():
    """KL coefficients by factors and a zero, the middle one best at every size."""
    rows = []
    for size in (0.5e9, 1.5e9, 3e9):
        for lr in (3e-7, 1e-6, 3e-6, 1e-5):
            for beta in (0.0, 0.001, 0.01):
                reward = 0.5 - 0.02 * abs(lr / 1e-6 - 1) ** 0.5
                reward -= 0.05 * (beta != 0.001)
                rows.append(
                    {
                        "lr": lr,
                        "kl_coef": beta,
                        "params": int(size),
                        "reward": reward,
                    }
                )
    return rows


def test_recommend__kl_by_factors_and_zero__the_best_one_that_was_tried(
    tmp_path,
):
    path = write_csv(tmp_path / "runs.csv", rewards())
    evidence = read_evidence([path], LogOptions(objective="reward:max"))
    advice = recommend(evidence, "params=7B")
    assert advice.recommendations[0].configuration["kl_coef"] == 0.001
    for run in advice.plan:
        assert (run.configuration or {"kl_coef": 0})["kl_coef"] >= 0
