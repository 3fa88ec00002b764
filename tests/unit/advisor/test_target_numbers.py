"""Targets and budgets given in Python: numbers that no run can have are refused."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from autollm.advisor.asking.target import NO_SIZE, parse_target, resolve_target
from autollm.advisor.recommend import target_of_budget
from autollm.core.errors import AdviceError, QuestionError

LEVELS = ({"params": 1e8, "tokens": 2e9}, {"params": 4e8, "tokens": 8e9})


def experiments_of(*fidelities, flops=None):
    found = []
    for fidelity in fidelities:
        product = math.prod(fidelity.values())
        found.append(
            SimpleNamespace(
                fidelity=fidelity,
                z=np.log2(list(fidelity.values())),
                compute_flops=6 * product if flops is None else flops(product),
            )
        )
    return found


def evidence_of(*fidelities, columns=None):
    told = columns or {}
    return SimpleNamespace(
        table=SimpleNamespace(experiments=experiments_of(*fidelities)),
        columns=told,
        native=lambda name: told.get(name, name),
    )


@pytest.mark.parametrize("value", [0, -1e9, math.nan, math.inf, -math.inf])
def test_resolve_target__number_that_no_size_can_be__is_refused(value):
    with pytest.raises(QuestionError, match="no coordinate") as caught:
        resolve_target(
            {"params": value, "tokens": 1e10}, experiments_of(*LEVELS), {}
        )
    assert "params" in str(caught.value)


@pytest.mark.parametrize("value", ["7 apples", None, [1], {"a": 1}, True])
def test_resolve_target__what_is_no_number__is_refused(value):
    with pytest.raises(QuestionError, match="no coordinate"):
        resolve_target(
            {"params": value, "tokens": 1e10}, experiments_of(*LEVELS), {}
        )


def test_resolve_target__numbers_as_people_write_them__are_read():
    found, _ = resolve_target(
        {"params": "7B", "tokens": "140B"}, experiments_of(*LEVELS), {}
    )
    assert found == {"params": 7e9, "tokens": 1.4e11}


def test_resolve_target__whole_number_beyond_any_size__is_refused():
    with pytest.raises(QuestionError, match="no coordinate"):
        resolve_target(
            {"params": 10**400, "tokens": 1e10}, experiments_of(*LEVELS), {}
        )


def test_resolve_target__numbers_of_numpy__are_plain_in_the_answer():
    found, assumptions = resolve_target(
        {"params": np.float32(7e9), "tokens": np.int64(2e9)},
        experiments_of(*LEVELS),
        {},
    )
    assert found["tokens"] == 2e9
    assert type(found["params"]) is float and type(found["tokens"]) is float
    assert {a.origin for a in assumptions} == {"said"}


@pytest.mark.parametrize("text", ["=7", " =7", "params=1,=2"])
def test_parse_target__value_without_a_name__is_refused(text):
    with pytest.raises(QuestionError, match="no coordinate"):
        parse_target(text)


def test_resolve_target__no_size_in_the_runs__one_is_assumed_and_said():
    found, assumptions = resolve_target(
        {"params": 7e9}, experiments_of({NO_SIZE: 1.0}), {}
    )
    assert found == {NO_SIZE: 1.0}
    assert "not at params = 7e+09" in assumptions[0].text


@pytest.mark.parametrize("budget", [6e20, 1.0, 1e30])
@pytest.mark.parametrize(
    "fixed", [{"params": 1e9}, {"tokens": 3e10}, {"PARAMS": 1e9}]
)
def test_target_of_budget__one_is_fixed__the_other_spends_the_rest(
    budget, fixed
):
    found = target_of_budget(evidence_of(*LEVELS), budget, fixed)
    assert 6 * found["params"] * found["tokens"] == pytest.approx(budget)
    name, value = next(iter(fixed.items()))
    assert found[name.lower()] == value


def test_target_of_budget__fixed_by_the_users_own_column__is_found():
    evidence = evidence_of(*LEVELS, columns={"params": "n_weights"})
    found = target_of_budget(evidence, 6e20, {"n_weights": 1e9})
    assert found == {"params": 1e9, "tokens": pytest.approx(1e11)}


def test_target_of_budget__both_are_fixed__is_refused():
    """A budget and both coordinates say compute twice."""
    with pytest.raises(QuestionError, match="--fix"):
        target_of_budget(
            evidence_of(*LEVELS), 6e20, {"params": 1e9, "tokens": 3e10}
        )


def test_target_of_budget__fixed_name_that_nobody_knows__is_refused():
    with pytest.raises(QuestionError, match="'depth'") as caught:
        target_of_budget(evidence_of(*LEVELS), 6e20, {"depth": 12})
    assert "params" in str(caught.value)


def test_target_of_budget__runs_without_tokens__are_not_split():
    with pytest.raises(AdviceError, match="steps") as caught:
        target_of_budget(evidence_of({"steps": 10.0}), 6e20, {})
    assert caught.value.code == "no-split" and "--target" in caught.value.remedy
