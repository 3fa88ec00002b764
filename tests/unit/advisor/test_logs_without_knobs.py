"""Advice from logs in which no setting varies: what they can tell, and nothing else."""

import csv
import math

import pytest

from autollm.advisor.recommend import recommend

SIZES = (7e7, 1.6e8, 4.1e8, 1e9)
TOKENS = (1e9, 3e9, 1e10, 3e10)


def loss(params, tokens):
    """The law of which the rows are, without noise."""
    return 1.69 + 406.4 / params**0.34 + 410.7 / tokens**0.28


def table(folder, rows):
    path = folder / "runs.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture(scope="module")
def law(tmp_path_factory):
    rows = []
    for params in SIZES:
        for tokens in TOKENS:
            value = round(loss(params, tokens), 4)
            rows.append({"N": int(params), "D": int(tokens), "loss": value})
    path = table(tmp_path_factory.mktemp("law"), rows)
    return recommend(path, "N=7e9,D=140e9")


def answers(advice):
    return {row.question: row.answer for row in advice.can_answer}


def test_recommend__scaling_law__answers_size_and_outcome(law):
    assert answers(law)["size and tokens"] == "yes"
    assert answers(law)["achievable outcome"] == "yes"
    assert answers(law)["learning rate"] == "no"
    assert "other knobs" not in answers(law)


def test_recommend__scaling_law__forecast_holds_the_true_loss(law):
    (best,) = law.recommendations
    assert best.configuration == {"recipe": 1}
    truth = loss(7e9, 140e9)
    assert best.predicted.low <= truth <= best.predicted.high
    assert math.isclose(best.predicted.mean, truth, rel_tol=0.03)


def test_recommend__scaling_law__split_is_that_of_the_law(law):
    params = law.allocation["N"]
    compute = 6 * 7e9 * 140e9
    grid = [10 ** (9 + i / 100) for i in range(200)]
    best = min(grid, key=lambda n: loss(n, compute / (6 * n)))
    assert params.low / 1.3 <= best <= params.high * 1.3


def test_recommend__repeats_of_one_run__answer_the_noise_alone(tmp_path):
    rows = [{"seed": s, "val_loss": 3 + s / 100} for s in range(6)]
    advice = recommend(table(tmp_path, rows), "")
    assert answers(advice)["noise"] == "yes"
    assert answers(advice)["achievable outcome"] == "no"


def test_recommend__one_run__is_an_answer_with_its_doubts(tmp_path):
    rows = [
        {"step": s, "val_loss": 3 + math.exp(-s / 300)}
        for s in range(0, 900, 100)
    ]
    advice = recommend(table(tmp_path, rows), "steps=8000")
    assert answers(advice)["achievable outcome"] == "no"
    assert {warning.code for warning in advice.warnings} >= {"one-scale"}
