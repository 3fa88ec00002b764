"""Numbers that are not chosen: where they stand, and what that does to the advice."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

from autollm.advisor.evidence.evidence import LogOptions
from autollm.advisor.evidence.resting import at_rest, chosen, rested
from autollm.advisor.recommend import explore
from autollm.advisor.showing.page import advice_page
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.gym.tables.outcome_table import OutcomeTable
from tests.unit.advisor.sweeps import best_loss, write_csv

LEVELS = ((2e7, 4e8), (4e7, 8e8), (8e7, 1.6e9), (1.6e8, 3.2e9), (3.2e8, 6.4e9))
FACTORS = {"adamw": 1.0, "lion": 0.25, "muon": 8.0}
WORSE = {"adamw": 0.02, "lion": 0.04, "muon": 0.0}
SPACE = Space(
    (
        Knob("opt", "categorical", ("adam", "sgd")),
        Knob("lr", "log", (1.0, 2.0, 4.0, 8.0), when=("opt", ("sgd",))),
    )
)


def best_rate(optimizer, params):
    """log2: falls with the root of size, other heights by optimizer."""
    return math.log2(0.6 * params**-0.35 * FACTORS[optimizer])


def loss_at(optimizer, rate, params, tokens):
    off = math.log2(rate) - best_rate(optimizer, params)
    return best_loss(params, tokens) + 0.03 * off**2 + WORSE[optimizer]


def sweep():
    rng = np.random.default_rng(0)
    rows = []
    for (params, tokens), name in itertools.product(LEVELS, FACTORS):
        middle = round(best_rate(name, params))
        for off in (-2, -1, 0, 1, 2):
            rate = 2.0 ** (middle + off)
            loss = loss_at(name, rate, params, tokens)
            rows.append(
                {
                    "optimizer": name,
                    "lr": f"{rate:.5g}",
                    "params": int(params),
                    "tokens": int(tokens),
                    "val_loss": loss + 0.002 * rng.normal(),
                }
            )
    return rows


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    path = write_csv(tmp_path_factory.mktemp("sweep") / "runs.csv", sweep())
    planned = {"optimizer": "lion", "lr": 1e-4}
    said = LogOptions(objective="val_loss:min")
    return explore(path, "params=2B,tokens=40B", said=said, planned=planned)


def test_recommend__rates_of_several_optimizers__the_better_one(answered):
    _, advice = answered
    first = advice.recommendations[0]
    assert first.configuration["optimizer"] == "muon"
    off = math.log2(first.configuration["lr"]) - best_rate("muon", 2e9)
    assert abs(off) < 1.1  # one step of the sweep
    assert first.acceptable["optimizer"] == ["muon"]
    low, high = first.acceptable["lr"]
    assert low <= first.configuration["lr"] <= high


def test_check__plan_of_one_optimizer__reads_its_rate_alone(answered):
    checked = answered[1].checked
    assert checked.configuration == {"optimizer": "lion", "lr": 1e-4}
    assert set(checked.distance_to_optimum) == {"optimizer", "lr"}
    assert 0 < checked.loses.mean < 0.08


def test_page__numbers_that_are_not_chosen__are_no_error(answered):
    page = advice_page(*answered)
    assert "of muon" in page


def points(*rows):
    return np.array([SPACE.encode(row) for row in rows])


def test_chosen__by_the_parent__in_every_row():
    found = points({"opt": "adam"}, {"opt": "sgd", "lr": 2.0})
    assert chosen(SPACE, found, "lr").tolist() == [False, True]
    assert chosen(SPACE, found, "opt").all()


def test_at_rest__what_is_chosen__is_not_touched():
    found = points({"opt": "adam"}, {"opt": "sgd", "lr": 2.0})
    moved = at_rest(SPACE, found, np.array([np.nan, np.nan, 7.0]))
    assert moved[:, 2].tolist() == [7.0, 1.0]
    assert at_rest(SPACE, found, np.full(3, np.nan)) is found


def test_rested__best_runs_of_an_experiment__are_the_place():
    rows = points(
        {"opt": "adam"},
        *({"opt": "sgd", "lr": rate} for rate in (1.0, 2.0, 4.0, 8.0)),
    )
    loss = np.array([1.0, 3.0, 2.0, 0.0, 3.0])
    experiments = []
    for name, flops in (("a", 1.0), ("b", 4.0)):
        experiments.append(
            SimpleNamespace(
                experiment_id=name,
                space=SPACE,
                compute_flops=flops,
                direction="min",
                objective="loss",
            )
        )
    table = OutcomeTable(
        "t",
        tuple(experiments),
        np.array([0, 5, 6]),
        {"objective": np.append(loss, 1.0)},
        (rows, rows[:1]),
    )
    found = rested(table)
    assert found.points[0][0, 2] == pytest.approx(2.0, abs=0.05)  # lr 4
    assert found.points[0][1:, 2].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert found.points[1][0, 2] == found.points[0][0, 2]  # its neighbour's
