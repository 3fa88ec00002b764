"""Runs of one recipe (sizes, tokens, losses and no setting that varies): the law alone
answers.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from autollm.advisor.evidence.evidence import LogOptions
from autollm.advisor.recommend import recommend
from autollm.advisor.words import NO_CHOICE
from tests.unit.advisor.sweeps import best_loss, mapping_text

RECIPE = """[[derived]]
name = "recipe"
value = "1"
[[knobs]]
name = "recipe"
column = "recipe"
scale = "integer"
"""
KEY = """columns = ["params", "tokens"]
repeated = "quarantine"
"""
MAPPING = mapping_text("law", "law.csv", KEY, RECIPE)
SIZES = (5e7, 1e8, 2e8, 4e8)
TOKENS = (1e9, 4e9, 1.6e10)
TARGET = (1.6e9, 3.2e10)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("law")
    (folder / "mapping.toml").write_text(MAPPING)
    rng = np.random.default_rng(0)
    lines = ["params,tokens,val_loss"]
    for params in SIZES:
        for tokens in TOKENS:
            loss = best_loss(params, tokens) + 0.001 * rng.normal()
            lines.append(f"{params:.0f},{tokens:.0f},{loss:.6f}")
    (folder / "law.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def advice(runs):
    said = LogOptions(mapping=str(runs / "mapping.toml"))
    return recommend(runs / "law.csv", "params=1.6e9,tokens=3.2e10", said=said)


def test_recommend__one_recipe__forecasts_by_the_law(advice):
    (only,) = advice.recommendations
    assert only.configuration == {"recipe": 1}
    truth = best_loss(*TARGET)
    assert only.predicted.low < truth < only.predicted.high
    assert only.predicted.mean == pytest.approx(truth, abs=0.02)
    assert only.predicted.mean == pytest.approx(
        advice.loss_law["at_target"].mean
    )


def test_recommend__one_recipe__numbers_of_choices_are_null_with_the_reason(
    advice,
):
    (only,) = advice.recommendations
    assert only.expected_regret is None and only.probability_best is None
    assert only.compute_equivalent is None
    for field in ("expected_regret", "probability_best", "compute_equivalent"):
        assert only.missing[field] == NO_CHOICE
    assert advice.plan == ()
    assert "few-rows" not in {warning.code for warning in advice.warnings}
    json.dumps(advice.to_json(), allow_nan=False)


def test_recommend__one_recipe__splits_compute_between_size_and_tokens(advice):
    """6 N T of the target, best where both terms fall alike: .5 (N/4e8)^-.3 and
    .4 (T/1e10)^-.3 have equal exponents, so N/4e8 = (.5/.4)^(1/.6) (...)."""
    product = TARGET[0] * TARGET[1] / (4e8 * 1e10)
    best = 4e8 * np.sqrt(product) * (0.5 / 0.4) ** (1 / 0.6)
    split = advice.allocation["params"]
    assert split.low < best < split.high
    assert split.mean == pytest.approx(best, rel=0.4)


def test_recommend__one_recipe__a_budget_names_size_and_tokens(runs):
    said = LogOptions(mapping=str(runs / "mapping.toml"))
    budget = 6 * TARGET[0] * TARGET[1]
    found = recommend(runs / "law.csv", "", said=said, budget_flops=budget)
    fidelity = found.target.fidelity
    spent = 6 * fidelity["params"] * fidelity["tokens"]
    assert spent == pytest.approx(budget, rel=1e-6)
    assert found.recommendations[0].predicted is not None
