from __future__ import annotations

import numpy as np
import pytest

from autollm.advisor.asking.constraint import constraints_of
from autollm.advisor.deciding.plan import budget_of, plan_of
from autollm.advisor.evidence.evidence import LogOptions, read_evidence
from autollm.advisor.recommend import explore, recommend
from autollm.core.errors import AdviceError, QuestionError
from tests.unit.advisor.sweeps import best_batch, rows_of, write_csv

TARGET = "params=1.6B,tokens=60B"


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    rows = rows_of()[::2]
    for row in rows:
        row["seq_len"] = 2048
    path = write_csv(tmp_path_factory.mktemp("sweep") / "runs.csv", rows)
    return read_evidence(
        [path], LogOptions("val_loss:min", ("lr", "batch_size"))
    )


def test_constraint__on_batch__every_configuration_keeps_it(evidence):
    free = recommend(evidence, TARGET)
    kept = recommend(evidence, TARGET, constraints=("batch_size <= 256",))
    assert free.recommendations[0].configuration["batch_size"] > 300
    assert 2 ** best_batch(6e10) > 300
    for entry in kept.recommendations:
        assert entry.configuration["batch_size"] <= 256
        assert entry.acceptable["batch_size"][1] <= 256


def test_constraint__product_with_a_constant_of_the_logs__is_kept(evidence):
    advice = recommend(evidence, TARGET, constraints=("batch*seq <= 5.3e5",))
    assert advice.recommendations[0].configuration["batch_size"] * 2048 <= 5.3e5
    assert evidence.constants["seq_len"] == "2048"  # as the cells have it


def test_constraint__with_a_fidelity__is_of_the_runs_own_place(evidence):
    found, _ = explore(
        evidence,
        "params=7B,tokens=20B",
        constraints=("lr * params <= 1e6 and tokens >= 3e9",),
        trials=1,
    )
    for run in plan_of(found, budget_of(found, "")):
        if run.configuration is not None:
            place = run.experiment
            assert run.configuration["lr"] * place["params"] <= 1e6
            assert place["tokens"] >= 3e9


def test_constraint__nothing_keeps_it__is_no_answer_that_says_so(evidence):
    with pytest.raises(AdviceError, match="none of the") as caught:
        recommend(evidence, TARGET, constraints=("lr > 1",))
    assert caught.value.code == "infeasible"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("params <= 1e9", "broken by the target itself"),
        ("warmup <= 100", "unknown name 'warmup'"),
        ("batch_size * 2", "compares nothing"),
        ("__import__('os')", "unknown function"),
        ("lr <=", "cannot parse"),
        ("optimizer * 2 > 1", "no number"),
    ],
)
def test_constraint__that_cannot_be_asked__is_wrong_usage(evidence, text, said):
    with pytest.raises(QuestionError, match="--constraint") as caught:
        recommend(evidence, TARGET, constraints=(text,))
    assert said in str(caught.value)


def test_check__plan_that_breaks_a_constraint__is_infeasible(evidence):
    plan = {"lr": 0.001, "batch_size": 512}
    words = {"planned": plan, "trials": 1}
    broken = recommend(
        evidence, TARGET, constraints=("batch_size <= 256",), **words
    )
    fine = recommend(evidence, TARGET, **words)
    assert broken.checked.verdict == "infeasible"
    assert fine.checked.verdict != "infeasible"


def test_constraints__canonical_and_native_names__say_the_same(evidence):
    space = evidence.table.experiments[0].space
    points = evidence.table.points[0]
    fidelity = {"params": 1e9, "tokens": 2e10}
    native = constraints_of(["batch_size > 100"], evidence)
    by_word = constraints_of(["batch > 100"], evidence)
    a = native.keeps(space, points, fidelity)
    np.testing.assert_array_equal(a, by_word.keeps(space, points, fidelity))
    assert 0 < a.sum() < len(a)
