import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.errors import RecordError, UnknownNameError
from autollm.core.ids import config_id
from autollm.core.records import (
    RunEnd,
    RunHeader,
    RunStep,
    canonical_json,
    parse_record,
    to_line,
)

HEADER = RunHeader(
    "r1", "lab", "pretraining", {"learning_rate": 0.1}, {"params": 10.0}, 1
)


@pytest.mark.parametrize(
    "record",
    [
        HEADER,
        RunStep(3, {"loss": 1.5}, 64.0, 0.1),
        RunEnd("finished", {"val_loss": 2.0}, {"flops": 1e9}),
    ],
)
def test_record__line_and_back__is_equal(record):
    assert parse_record(to_line(record)) == record


def test_record__non_finite_losses__survive():
    back = parse_record(
        to_line(RunStep(1, {"a": math.inf, "b": math.nan, "c": -math.inf}))
    )
    assert (
        back.metrics["a"] == math.inf
        and math.isnan(back.metrics["b"])
        and back.metrics["c"] == -math.inf
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "not a JSON line"),
        ('{"kind":"step"', "not a JSON line"),
        ("[1]", "expected a JSON object"),
        ('{"kind":"stop"}', "unknown kind 'stop'"),
        ('{"kind":["step"]}', "unknown kind"),
        ('{"kind":"step","metrics":{}}', "missing field 'step'"),
        ('{"kind":"step","step":1,"metrics":{},"x":1}', "unknown field 'x'"),
        ('{"kind":"step","step":1.5,"metrics":{}}', "must be an integer"),
        (
            '{"kind":"step","step":1,"metrics":{"loss":"high"}}',
            "metrics.loss must be a number",
        ),
        ('{"kind":"end","status":"done"}', "status 'done'"),
        (to_line(HEADER).replace("run/1", "run/9"), "no reader for it"),
        (
            to_line(HEADER).replace(
                '"config":{"learning_rate":0.1}', '"config":[]'
            ),
            "config must be an object",
        ),
    ],
)
def test_record__bad_line__says_why(line, said):
    with pytest.raises(RecordError, match=said):
        parse_record(line)


@given(st.text(max_size=200))
def test_record__any_text__parses_or_raises_record_error(text):
    try:
        parse_record(text)
    except RecordError:
        pass


def test_canonical_json__equal_numbers_and_orders__equal_ids():
    assert config_id({"a": 1, "b": 0.1234567}) == config_id(
        {"b": 0.12345670001, "a": 1.0}
    )
    assert json.loads(canonical_json({"x": 2e10})) == {"x": 20000000000}


def test_unknown_name__close_one__is_suggested():
    assert "Did you mean 'random'" in str(
        UnknownNameError("policy", "randm", ["random", "gp"])
    )
