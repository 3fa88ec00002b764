"""Budgets of a plan, as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.advisor.deciding.plan import parse_budget
from autollm.core.errors import QuestionError


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("200device-hours", 200.0, "device_hours"),
        ("1.5device-hours", 1.5, "device_hours"),
        (" 200device-hours ", 200.0, "device_hours"),
        ("1e19flops", 1e19, "flops"),
        ("1e19", 1e19, "flops"),
        ("2.5e20 FLOPs", 2.5e20, "flops"),
        ("5%", 0.05, "share"),
        ("12.5 %", 0.125, "share"),
        ("100%", 1.0, "share"),
    ],
)
def test_parse_budget__what_people_write__is_an_amount_and_its_unit(
    text, amount, unit
):
    found = parse_budget(text)
    assert found[1] == unit and found[0] == pytest.approx(amount)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "much",
        "0",
        "-5%",
        "0device-hours",
        "-1device-hours",
        "5 apples",
        "device-hours",
        "nan",
        "inf",
        "5%%",
        "1e19 tokens",
        "2024-01-01",
        "9" * 500,
    ],
)
def test_parse_budget__anything_else__says_what_is_expected(text):
    with pytest.raises(QuestionError, match=r"--budget .*expected 200device-h"):
        parse_budget(text)


@given(st.floats(1e-6, 1e30))
def test_parse_budget__any_positive_amount__comes_back(amount):
    assert parse_budget(f"{amount!r}flops") == (amount, "flops")
    hours, unit = parse_budget(f"{amount!r}device-hours")
    assert (hours, unit) == (pytest.approx(amount), "device_hours")
