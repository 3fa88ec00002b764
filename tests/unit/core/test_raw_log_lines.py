"""Lines of a raw log: each is a record that writes back, or a reason; never a guess and
never a foreign error.
"""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.errors import RecordError
from autollm.core.records import (
    STATUSES,
    RunEnd,
    RunHeader,
    RunStep,
    parse_number,
    parse_record,
    to_line,
)

NUMBERS = st.floats() | st.integers(-(2**53), 2**53)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
METRICS = st.dictionaries(NAMES, NUMBERS, max_size=4)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | NAMES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = (
    "kind",
    "run_id",
    "source",
    "family",
    "config",
    "fidelity",
    "seed",
    "schema",
    "step",
    "metrics",
    "tokens",
    "status",
    "final",
    "cost",
    "reason",
)


@st.composite
def records(draw):
    """Any record that the project's own writers may make."""
    kind = draw(st.sampled_from(["header", "step", "end"]))
    if kind == "header":
        return RunHeader(
            draw(st.text("abc-1", min_size=1)),
            draw(st.text("abc", min_size=1)),
            "pretraining",
            draw(st.dictionaries(NAMES, st.integers() | NAMES, max_size=3)),
            draw(st.dictionaries(NAMES, st.floats(allow_nan=False))),
            draw(st.integers()),
            created_at="2026-01-01T00:00:00+00:00",
        )
    if kind == "step":
        return RunStep(
            draw(st.integers()),
            draw(METRICS),
            draw(st.none() | st.floats(allow_nan=False)),
            draw(st.none() | st.floats(0, 1e9)),
        )
    return RunEnd(
        draw(st.sampled_from(STATUSES)),
        draw(METRICS),
        draw(st.dictionaries(NAMES, st.floats(0, 1e30), max_size=2)),
        draw(NAMES),
    )


def same(a, b):
    """Equal, with NaN equal to itself."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    return a == b


@given(records())
def test_parse_record__what_we_write__comes_back_with_the_same_meaning(record):
    line = to_line(record)
    back = parse_record(line)
    assert type(back) is type(record)
    for name, value in vars(record).items():
        assert same(getattr(back, name), value), name
    assert to_line(parse_record(line)) == to_line(back)
    assert "\n" not in line


@given(st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES))
def test_parse_record__any_object_of_known_fields__parses_or_says_why(raw):
    for kind in ("header", "step", "end"):
        line = json.dumps({**raw, "kind": kind})
        try:
            record = parse_record(line)
        except RecordError:
            continue
        assert parse_record(to_line(record)) is not None


@given(JSON_VALUES)
def test_parse_record__any_json__parses_or_says_why(value):
    with pytest.raises(RecordError):
        parse_record(json.dumps([value]))
    with pytest.raises(RecordError):
        parse_record(json.dumps({"value": value}))


def header(**changes):
    """A header line, with some fields changed; None leaves one out."""
    raw = {
        "kind": "header",
        "run_id": "r",
        "source": "s",
        "family": "f",
        "config": {},
        "fidelity": {},
        "seed": 0,
        **changes,
    }
    return json.dumps({k: v for k, v in raw.items() if v is not None})


@pytest.mark.parametrize(
    "name", ["run_id", "source", "family", "config", "fidelity", "seed"]
)
def test_parse_record__header_without_a_field__names_it(name):
    with pytest.raises(RecordError, match=f"missing field {name!r}"):
        parse_record(header(**{name: None}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run_id": ""}, "run_id must be a non-empty string, got ''"),
        ({"source": 3}, "source must be a non-empty string, got 3"),
        ({"family": ["f"]}, "family must be a non-empty string"),
        ({"seed": "1"}, "seed must be an integer, got '1'"),
        ({"seed": 1.5}, "seed must be an integer, got 1.5"),
        ({"seed": True}, "seed must be an integer, got True"),
        ({"config": []}, "config must be an object"),
        ({"model": 3}, "model must be an object, got 3"),
        ({"versions": "1.0"}, "versions must be an object"),
        ({"hardware": [1]}, "hardware must be an object"),
        ({"created_at": 3}, "created_at must be a string, got 3"),
        ({"schema": "autollm.run/2"}, "schema 'autollm.run/2' is not"),
        ({"fidelity": {"params": "7B"}}, "fidelity.params must be a number"),
        ({"fidelity": {"params": True}}, "fidelity.params must be a number"),
        ({"fidelity": {"n": 10**400}}, "fidelity.n is beyond float64"),
        ({"speed": 3}, "unknown field 'speed' in a header line"),
    ],
)
def test_parse_record__header_of_wrong_types__says_field_and_value(
    changes, said
):
    with pytest.raises(RecordError, match=said):
        parse_record(header(**changes))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"kind":"step","step":true,"metrics":{}}', "step must be an integer"),
        ('{"kind":"step","step":1,"metrics":[]}', "metrics must be an object"),
        ('{"kind":"step","step":1,"metrics":{"a":true}}', "metrics.a must be"),
        ('{"kind":"step","step":1,"metrics":{"a":null}}', "metrics.a must be"),
        ('{"kind":"step","step":1,"metrics":{},"tokens":"x"}', "tokens must"),
        ('{"kind":"step","step":1,"step":2,"metrics":{}}', "'step' stands twi"),
        (
            '{"kind":"step","step":1,"metrics":{"a":1,"a":2}}',
            "the key 'a' stands twice",
        ),
        ('{"kind":"end","status":"running"}', "status 'running', expected"),
        ('{"kind":"end","status":"finished","final":3}', "final must be an"),
        ('{"kind":"end","status":"finished","cost":[]}', "cost must be an"),
        ('{"kind":"end","status":"finished","reason":5}', "reason must be a"),
        ('{"kind":"end"}', "missing field 'status'"),
        ('{"step":1,"metrics":{}}', "unknown kind None"),
        ("null", "expected a JSON object, got NoneType"),
        ("3", "expected a JSON object, got int"),
        ("\ufeff{}", "not a JSON line"),
        ("[" * 100_000, "not a JSON line"),
        (
            f'{{"kind":"step","step":{"9" * 5000},"metrics":{{}}}}',
            "thousands of digits",
        ),
        (
            f'{{"kind":"step","step":1,"metrics":{{"a":{"9" * 400}}}}}',
            "metrics.a is beyond float64",
        ),
    ],
)
def test_parse_record__bad_line__is_a_record_error_with_the_reason(line, said):
    with pytest.raises(RecordError, match=said):
        parse_record(line)


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("nan", math.nan),
        ("NaN", math.nan),
        ("-nan", math.nan),
        ("inf", math.inf),
        ("+inf", math.inf),
        ("-inf", -math.inf),
        ("Infinity", math.inf),
        ("-INFINITY", -math.inf),
        (3, 3.0),
        (-2.5, -2.5),
        (2**63, 2.0**63),
    ],
)
def test_parse_number__number_or_spelling_of_no_finite_one__is_a_float(
    written, number
):
    found = parse_number(written, "x")
    assert isinstance(found, float) and same(found, number)


@pytest.mark.parametrize(
    "written",
    [
        "+-inf",
        "--inf",
        "inf ",
        " nan",
        "infin",
        "1.5",
        "",
        "nan()",
        None,
        True,
        [],
        {},
        10**400,
        "İnf",
    ],
    ids=repr,
)
def test_parse_number__anything_else__says_where_and_what(written):
    with pytest.raises(RecordError, match=r"loss\.val "):
        parse_number(written, "loss.val")
