"""An advice on the terminal and as JSON: whatever a user's files are called, it stays
text, fits the terminal, and numbers are finite or null.
"""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from autollm.advisor.answer import (
    Answerable,
    Assumption,
    Checked,
    Help,
    Interval,
    PlannedRun,
    Warn,
    error_json,
)
from autollm.advisor.deciding.worth import unsquashed
from autollm.advisor.showing.screen import show, show_plan
from autollm.gym.tables.squashing import unsquash
from tests.unit.advisor.test_ledger import advice

ESCAPES = (
    "\x1b[2J",
    "\x1b]8;;http://x\x07y",
    "[red]x[/red]",
    "[/bold]",
    "[",
    "\r",
    "\x00",
    "\x7f",
    "\x9b31m",
    "\u202e",
    "a\nb",
    "日本語",
    "😀",
    "%s {0} {x}",
    "\\[b]",
    "x" * 300,
)
HOSTILE = st.sampled_from(ESCAPES) | st.text(max_size=12)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
FEW = settings(max_examples=40, deadline=None)


def spoiled(text):
    """An advice in which every text of a user's files is this one."""
    regret = Interval(0.1, 0.0, 0.2)
    first = replace(
        advice().recommendations[0],
        configuration={text: text, f"{text}2": 0.001, "n": 12},
        acceptable={text: [text], f"{text}2": [0.0005, 0.002]},
        why=text,
        missing={"p_diverge": text},
    )
    checked = Checked(
        {text: text},
        Interval(2.0, 1.9, 2.1),
        regret,
        regret,
        1.2,
        None,
        {"configuration": {text: 1}, "run_id": text},
        {text: 0.5, "other": None},
        "wasteful",
        {"p_diverge": text},
    )
    helping = Help(
        {text: text}, {"flops": 1e18, "device_hours": None}, {text: 1e8}
    )
    planned = PlannedRun(
        {text: 1e8}, {text: text}, {"flops": 1e18}, 0.3, 0.2, 1, text
    )
    return advice(
        source=text,
        objective={"name": text, "direction": "min", "unit": text},
        target=replace(advice().target, fidelity={text: 1e9}),
        assumptions=(Assumption("target", text, "said"),),
        constants={text: text},
        can_answer=(
            Answerable(text, "yes", text),
            Answerable("noise", "no", text, (helping,)),
        ),
        recommendations=(first,),
        checked=checked,
        decided_by={"policy": "council", "backtest": []},
        evidence={"n_runs": 3, "n_experiments": 1, "noise": {"sd": 0.1}},
        warnings=(Warn("edge", text),),
        plan=(planned,),
    )


def screen(shown, width=80, function=show):
    out = io.StringIO()
    function(shown, Console(file=out, width=width, force_terminal=False))
    return out.getvalue()


@FEW
@given(HOSTILE)
def test_show__any_name__stays_text_and_writes_no_control_character(text):
    for function in (show, show_plan):
        shown = screen(spoiled(text), function=function)
        assert CONTROL.search(shown) is None
        assert "Next run at" in shown


@pytest.mark.parametrize("text", ["[red]lr[/red]", "[/]", "[link=x]y"])
def test_show__markup_in_a_name__is_shown_as_it_is(text):
    assert text in screen(spoiled(text), width=200)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_show__any_width__keeps_to_it(width):
    shown = screen(spoiled("learning_rate"), width)
    assert max(len(line) for line in shown.splitlines()) <= width


@FEW
@given(HOSTILE)
def test_to_json__any_name__is_strict_json_that_comes_back(text):
    told = json.dumps(spoiled(text).to_json(), allow_nan=False)
    back = json.loads(told)
    assert back["schema"] == "autollm.recommendation/1"
    assert back["source"] == json.loads(json.dumps(text))
    assert back["assumptions"][0]["from"] == "said"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (np.float64("nan"), None),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (1 / 3, 0.333333333),
        (np.array([1.0, math.nan]), [1.0, None]),
        ((1, "x", None), [1, "x", None]),
        ({1: math.inf}, {"1": None}),
    ],
)
def test_to_json__numbers__are_finite_or_null(value, plain):
    told = advice(constants={"x": value}).to_json()["constants"]["x"]
    assert told == plain and type(told) is type(plain)
    json.dumps(told, allow_nan=False)


def test_advice_id__question_and_rows__make_it_and_nothing_else():
    base = advice()
    assert base.advice_id == advice().advice_id
    assert re.fullmatch(r"[0-9a-f]{16}", base.advice_id)
    same = advice(command="other", warnings=(Warn("edge", "x"),))
    assert same.advice_id == base.advice_id
    for changes in (
        {"source": "other"},
        {"table_id": "other"},
        {"objective": {"name": "val_loss", "direction": "max", "unit": ""}},
        {"target": replace(base.target, fidelity={"params": 2e9})},
        {"recommendations": base.recommendations * 2},
        {"history": ({"rank": 1},)},
        {"assumptions": (Assumption("constraint", "lr <= 1", "said"),)},
    ):
        assert advice(**changes).advice_id != base.advice_id, changes


def test_error_json__any_words__are_the_contracted_object():
    told = error_json("unreadable", 'a "b"\n', "do\tthis")
    assert told == {
        "schema": "autollm.recommendation/1",
        "error": {
            "code": "unreadable",
            "text": 'a "b"\n',
            "remedy": "do\tthis",
        },
    }


@settings(max_examples=60)
@given(st.floats(-1, 9))
def test_unsquashed__any_u__is_the_gyms_inverse(u):
    """A share of median - best, as snapshots and judges unsquash it."""
    losses = np.array([0.0, 1.0, 2.0])
    assert unsquashed(u) == pytest.approx(float(unsquash(np.array(u), losses)))


def test_unsquashed__beyond_any_cliff__stays_finite():
    assert math.isfinite(unsquashed(1e6)) and unsquashed(1.0) == 1.0
