"""Numbers whose optimum no run shows: the effect of a step, by hand, and what is then
advised.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from autollm.advisor.evidence.evidence import LogOptions
from autollm.advisor.recommend import recommend
from autollm.advisor.statistics.rows import Rows
from autollm.advisor.statistics.tried import ends_of
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from tests.unit.advisor.sweeps import best_loss, best_rate, write_csv

LEVELS = ((1e8, 2e9), (1e8, 8e9), (4e8, 4e9), (4e8, 1.6e10), (8e8, 1.6e10))
WARMUP = Knob("warmup", "log", (0.01, 0.05))
RATE = Knob("lr", "log", tuple(2.0**k for k in range(-12, -3)))
SPACE = Space((RATE, WARMUP))


def sweep(effect, noise=0.001, values=(0.01, 0.05), name="warmup_frac"):
    """Rates around each level's optimum by `values`, of which each costs `effect`."""
    rng = np.random.default_rng(0)
    rows = []
    for params, tokens in LEVELS:
        middle = round(2 * best_rate(params, tokens)) / 2
        for off, value in itertools.product((-2, -1, 0, 1, 2), values):
            away = middle + off - best_rate(params, tokens)
            loss = best_loss(params, tokens) + 0.02 * away**2 + effect(value)
            rows.append(
                {
                    "lr": f"{2.0 ** (middle + off):.6g}",
                    name: value,
                    "params": int(params),
                    "tokens": int(tokens),
                    "val_loss": loss + noise * rng.normal(),
                }
            )
    return rows


def advised(folder, rows, **options):
    path = write_csv(folder / "runs.csv", rows)
    said = LogOptions(objective="val_loss:min")
    return recommend(path, "params=2B,tokens=40B", said=said, **options)


def test_recommend__two_values_one_better__it_is_advised_alone(tmp_path):
    rows = sweep(lambda value: 0.05 if value == 0.01 else 0.0)
    planned = {"lr": 4e-4, "warmup_frac": 0.05}
    advice = advised(tmp_path, rows, planned=planned)
    for entry in advice.recommendations:
        assert entry.configuration["warmup_frac"] == 0.05
        assert entry.acceptable["warmup_frac"] == [0.05, 0.05]
    (row,) = [a for a in advice.can_answer if a.question == "other knobs"]
    assert row.answer == "no"
    assert "0.05 was better, by 0.05 over 5 experiments" in row.because
    (help_,) = row.would_help
    assert help_.configuration["warmup_frac"] == 0.25
    assert any(
        w.code == "edge" and "nothing above" in w.text for w in advice.warnings
    )
    assert "nothing" not in advice.checked.missing


def test_check__two_values__the_worse_one_loses_what_the_runs_say(tmp_path):
    rows = sweep(lambda value: 0.05 if value == 0.01 else 0.0)
    lost = {}
    for value in (0.01, 0.05):
        planned = {"lr": 4e-4, "warmup_frac": value}
        lost[value] = advised(tmp_path, rows, planned=planned).checked.loses
    assert lost[0.01].mean - lost[0.05].mean == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("value", [0.02, 0.2])
def test_check__value_nobody_tried_of_two__is_outside_without_numbers(
    tmp_path, value
):
    rows = sweep(lambda value: 0.05 if value == 0.01 else 0.0)
    planned = {"lr": 4e-4, "warmup_frac": value}
    found = advised(tmp_path, rows, planned=planned).checked
    assert found.verdict == "outside"
    assert found.predicted is None and found.loses is None
    assert "was tried at 0.01, 0.05 alone" in found.missing["predicted"]


def test_recommend__two_values_alike__both_are_acceptable(tmp_path):
    planned = {"lr": 4e-4, "warmup_frac": 0.01}
    rows = sweep(lambda value: 0.0, noise=0.002)
    advice = advised(tmp_path, rows, planned=planned)
    for entry in advice.recommendations:
        assert entry.configuration["warmup_frac"] in (0.01, 0.05)
        assert entry.acceptable["warmup_frac"] == [0.01, 0.05]
    (row,) = [a for a in advice.can_answer if a.question == "other knobs"]
    assert "not told apart" in row.because
    other = {"lr": 4e-4, "warmup_frac": 0.05}
    again = advised(tmp_path, rows, planned=other).checked
    assert again.loses.mean == pytest.approx(advice.checked.loses.mean)


def test_recommend__share_best_at_its_last_value__nothing_inside_of_it(
    tmp_path,
):
    costs = {0.9: 0.04, 0.95: 0.02, 0.99: 0.0}
    rows = sweep(costs.__getitem__, values=tuple(costs), name="beta2")
    advice = advised(tmp_path, rows)
    for entry in advice.recommendations:
        assert entry.configuration["beta2"] == 0.99
        assert entry.acceptable["beta2"] == [0.99, 0.99]
    for run in advice.plan:
        assert (run.configuration or {"beta2": 0.9})["beta2"] <= 1


def rows_by_hand(gap, n=5, seed=0):
    """One experiment: rates by two warm-ups, the longer one better by `gap`."""
    rng = np.random.default_rng(seed)
    points = []
    loss = []
    for rate, warmup in itertools.product(range(-9, -9 + n), (0.01, 0.05)):
        points.append([rate, WARMUP.encode(warmup)])
        cost = 2 + 0.1 * (rate + 7) ** 2 + (gap if warmup == 0.01 else 0.0)
        loss.append(cost + 1e-4 * rng.normal())
    z = np.array([27.0, 31.0])
    flags = np.zeros(len(loss), bool)
    return Rows("e", z, np.array(points), np.array(loss), flags)


class Seen:
    names = ("lr",)


def test_ends_of__pairs__gap_is_their_mean_difference():
    rows = [rows_by_hand(0.03, seed=seed) for seed in range(4)]
    (found,) = ends_of(SPACE, rows, Seen, {})
    assert found.value == 0.05 and found.is_better and found.n == 4
    assert found.gap == pytest.approx(0.03, abs=1e-4)


def test_ends_of__experiments_that_contradict__the_most_expensive_decides():
    gaps = (0.04, -0.04, 0.04, -0.04)
    rows = [rows_by_hand(gap, seed=i) for i, gap in enumerate(gaps)]
    (found,) = ends_of(SPACE, rows, Seen, {})
    assert not found.is_better and found.value == 0.01


def test_ends_of__number_with_an_optimum__has_no_ends():
    rows = [rows_by_hand(0.03, seed=seed) for seed in range(4)]

    class Both:
        names = ("lr", "warmup")

    assert ends_of(SPACE, rows, Both, {"lr": 0, "warmup": 0}) == ()


def test_ends_of__optimum_beyond__inner_values_are_not_proposed():
    rows = [rows_by_hand(0.03, seed=seed) for seed in range(4)]
    for one in rows:
        one.loss[:] = -0.1 * one.points[:, 0]
    (rate,) = [e for e in ends_of(SPACE, rows, Seen, {"lr": 1}) if e.side]
    moving = Space((replace(RATE, role="rate"), WARMUP))
    assert not [e for e in ends_of(moving, rows, Seen, {"lr": 1}) if e.side]
    assert rate.low == RATE.encode(2.0**-4) and rate.high == np.inf
    assert rate.holds(np.array([-6.0, -4.0, -3.0])).tolist() == [
        False,
        True,
        True,
    ]
