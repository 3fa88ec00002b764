from __future__ import annotations

import numpy as np
import pytest

from autollm.core.mappings.computed import computed
from autollm.core.mappings.expressions import parse_expression

COLUMNS = {
    "a": np.array([1.0, 2.0, 4.0]),
    "b": 2.0,
    "opt.name": np.array(["adam", "muon", "adam"]),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a * b - 1", [1, 3, 7]),
        ("-a ** 2 / b", [-0.5, -2, -8]),
        ("min(a, b, 3)", [1, 2, 2]),
        ("max(a, b)", [2, 2, 4]),
        ("mean(a, b)", [1.5, 2, 3]),
        ("log2(a) + sqrt(a * a)", [1, 3, 6]),
        ("1 < a <= 2", [False, True, False]),
        ("opt.name == 'adam' and not a > 3", [True, False, False]),
        ("opt.name in ('muon', 'sgd') or a == 1", [True, True, False]),
        ("b / (a - 2) > 0", [False, False, True]),
        ("b / (a - 2) != 7", [True, False, True]),
        ("log2(a - 1) < 9", [False, True, True]),
        ("sqrt(a - 2) != 1", [False, True, True]),
        ("exp(a * 500) > 1", [True, False, False]),
        ("(a - 2) ** 0.5 != 9", [False, True, True]),
        ("opt.name != 'muon'", [True, False, True]),
    ],
)
def test_computed__columns__row_by_row(text, expected):
    found = computed(parse_expression(text), COLUMNS)
    np.testing.assert_allclose(found, expected)


def test_computed__undefined__does_not_hold():
    rows = {"a": np.array([0.0, 4.0])}
    ratio = parse_expression("0 * a / a >= 0")
    assert computed(ratio, rows).tolist() == [False, True]


def test_computed__name_without_a_column__is_a_key_error():
    with pytest.raises(KeyError):
        computed(parse_expression("c > 1"), COLUMNS)
