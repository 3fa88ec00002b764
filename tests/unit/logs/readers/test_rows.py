import math

import pytest

from autollm.core.errors import RecordError
from autollm.logs.readers import cells as cells_module
from autollm.logs.readers import rows, spilled_points
from autollm.logs.readers.cells import (
    cell,
    column_of,
    flat_cells,
    metric_role,
    number,
    whole_number,
)
from autollm.logs.readers.rows import RelationBuilder


@pytest.mark.parametrize(
    "cells, kind, told",
    [
        ([1, None, 3], "int64", [1, None, 3]),
        ([1, 2.5], "double", [1.0, 2.5]),
        ([2**60, 2.5], "string", [str(2**60), "2.5"]),
        ([0.001, "auto"], "string", ["0.001", "auto"]),
        ([None, None], "string", [None, None]),
    ],
)
def test_column_of__cells__is_the_narrowest_type_that_loses_nothing(
    cells, kind, told
):
    column = column_of(cells)
    assert (str(column.type), column.to_pylist()) == (kind, told)


@pytest.mark.parametrize(
    "value, told",
    [
        (True, "true"),
        (None, None),
        (2**70, str(2**70)),
        ([0.5, {"b": 1, "a": None}], '[0.5,{"a":null,"b":1}]'),
        ("\ud800x", "\\ud800x"),
    ],
)
def test_cell__values_of_settings__are_cells(value, told):
    assert cell(value) == told


def test_number__spellings__are_numbers_or_none():
    assert number("NaN") != number("NaN")
    assert number("-Infinity") == -math.inf
    assert number(10**400) == math.inf
    assert number(True) is None and number("3") is None
    assert whole_number(3.0) == 3 and whole_number(3.5) is None
    assert whole_number(2**70) is None


def test_flat_cells__too_many_names__are_refused(monkeypatch):
    monkeypatch.setattr(cells_module, "MAX_COLUMNS", 3)
    assert flat_cells({"a": {"b": 1, "c": {}}}) == {"a.b": 1, "a.c": "{}"}
    with pytest.raises(RecordError, match="more than 3 names"):
        flat_cells({str(i): i for i in range(4)})


def test_metric_role__clocks_and_rates__are_measured():
    measured = (
        "train/grad_norm",
        "lr",
        "learning rate",
        "tok/sec",
        "epoch",
        "tokens",
    )
    assert {metric_role(name) for name in measured} == {"measured"}
    results = ("val/loss", "eval_loss", "reward", "accuracy", "lm loss", "bpb")
    assert {metric_role(name) for name in results} == {"result"}


@pytest.mark.parametrize("n_points", [0, 1, 200_000, 700_000])
def test_builder__many_points__are_all_there_in_order(n_points, monkeypatch):
    monkeypatch.setattr(spilled_points, "MAX_BATCHES", 4)
    builder = RelationBuilder("x", "run")
    for i in range(n_points):
        builder.add_point("a", "loss", i / 2, i, line=i)
    points = builder.relation().points
    if not n_points:
        assert points is None
        return
    assert points.num_rows == n_points
    assert points["step"].to_pylist() == list(range(n_points))
    assert points["value"][n_points - 1].as_py() == (n_points - 1) / 2


def test_builder__more_bad_lines_than_are_listed__are_counted(monkeypatch):
    monkeypatch.setattr(rows, "_MAX_BAD", 2)
    builder = RelationBuilder("x")
    for line in range(1, 6):
        builder.n_lines += 1
        builder.add_bad(line, "odd", b"x")
    relation = builder.relation()
    assert (relation.n_lines, relation.n_lines_bad) == (5, 5)
    assert len(relation.bad) == 3
