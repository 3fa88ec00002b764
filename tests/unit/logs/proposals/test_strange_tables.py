"""Kinds of tables that people keep and that a first look reads wrong."""

import itertools
import math

import pytest

from autollm.core.errors import MappingError
from autollm.core.values import parse_number
from tests.unit.logs.proposals.tables import (
    codes,
    knobs,
    loss,
    proposed,
    roles,
    sweep,
)


def test_propose__decay_that_goes_with_the_optimizer__the_word_stands_for_both(
    tmp_path,
):
    rows = sweep(opt=lambda i: ("adamw", "lion", "sophia")[i % 3], wd=lambda i: (0.1, 1.0, 0.2)[i % 3])  # fmt: skip
    found = proposed(tmp_path, rows)
    assert roles(found)["wd"] == "fixed" and roles(found)["opt"] == "knob"
    assert {"lr_adamw", "lr_lion", "lr_sophia"} <= set(knobs(found))


def test_propose__length_that_grows_with_the_size__parts_no_sizes(tmp_path):
    rows = sweep(seq_len=lambda i: (1024, 2048, 4096)[i // 9])
    found = proposed(tmp_path, rows)
    assert not found.mapping.context and "confounded-context" in codes(found)
    assert found.summary.n_experiments == 3


def test_propose__rate_and_a_tenth_of_it__the_ratio_is_told(tmp_path):
    rows = sweep()
    for row in rows:
        row["min_lr"] = row["lr"] / 10
    (note,) = [
        n
        for n in proposed(tmp_path, rows).notes
        if n.code == "changed-together"
    ]
    assert note.text.startswith("min_lr divided by lr is the same number")


def test_propose__outcome_called_index__is_not_taken_for_the_rows(tmp_path):
    rows = []
    for rate, decay in itertools.product((0.0005, 0.001, 0.002), (0, 0.1, 0.2)):
        value = 5 + abs(math.log2(rate / 1e-3)) + decay
        rows.append({"lr": rate, "wd": decay, "index": value})
    with pytest.raises(MappingError, match="Columns that vary: lr, wd, index"):
        proposed(tmp_path, rows)
    found = proposed(tmp_path, rows, objective="index:min")
    assert set(knobs(found)) == {"lr", "wd"}


def test_propose__runs_that_a_search_stopped_at_rungs__have_no_outcome(
    tmp_path,
):
    rows = []
    for i, (rate, batch) in enumerate(
        itertools.product((0.0004, 0.0008, 0.0016, 0.0032), (32, 64, 128))
    ):
        steps = 20 if i in (2, 4, 5, 7, 8, 9) else 5
        value = loss(5e7, rate, batch) + 2 / steps
        row = {
            "config.lr": rate,
            "config.bs": batch,
            "training_iteration": steps,
        }
        rows.append(row | {"metrics.val_loss": round(value, 4)})
    found = proposed(tmp_path, rows)
    assert found.summary.statuses == {"finished": 6, "pruned": 6}
    for row in rows:  # a length that a setting decides is no early stop
        row["config.epochs"] = row["training_iteration"]
    found = proposed(tmp_path, rows)
    assert found.summary.statuses == {"finished": 12}


def test_propose__failed_runs_at_tokens_of_their_own__are_no_experiments(
    tmp_path,
):
    rows = sweep(state="finished")
    for n, row in enumerate(rows[::9]):
        row |= {"state": "crashed", "tokens": 10**8 * (n + 2), "val_loss": ""}
    found = proposed(tmp_path, rows)
    assert found.summary.n_experiments == 3 and found.summary.n_runs == 27


def test_propose__unknown_numbers_that_hardly_repeat__are_said(tmp_path):
    rows = sweep(foo=lambda i: round(1.7 + math.sin(i) / 3, 5))
    (note,) = [
        n
        for n in proposed(tmp_path, rows).notes
        if n.code == "measured-or-chosen"
    ]
    assert note.columns == ("foo",)


def test_propose__shapes_of_one_size_beside_tokens__parameters_are_told(
    tmp_path,
):
    rows = []
    for depth, tokens, rate in itertools.product(
        (6, 12, 24, 48), (10**9, 4 * 10**9), (0.0005, 0.001)
    ):
        width = round((85e6 / 12 / depth) ** 0.5 / 64) * 64
        row = {
            "d_model": width,
            "n_layers": depth,
            "tokens": tokens,
            "lr": rate,
        }
        rows.append(row | {"val_loss": loss(85e6 * tokens / 1e9, rate)})
    found = proposed(tmp_path, rows)
    sizes = {q.name for q in found.mapping.fidelity}
    assert sizes == {"params", "tokens"} and "computed" in codes(found)
    assert found.summary.n_experiments == 2


@pytest.mark.parametrize(
    ("column", "family"),
    [
        ("lora_r", "finetuning"),
        ("base_model", "finetuning"),
        ("x", "pretraining"),
    ],
)
def test_propose__names_of_finetuning__tell_the_family(
    tmp_path, column, family
):
    found = proposed(tmp_path, sweep(**{column: "8"}))
    assert found.mapping.family == family


def test_propose__load_imbalance__is_measured(tmp_path):
    rows = sweep(**{"load imbalance": lambda i: 1.1 + 0.017 * i})
    assert roles(proposed(tmp_path, rows))["load imbalance"] == "measured"


@pytest.mark.parametrize(
    ("cell", "number"),
    [("1.6×10⁻³", 0.0016), ("10⁻⁴", 1e-4), ("3·10⁵", 3e5), ("2⁵", None)],
)
def test_parse_number__raised_digits__are_an_exponent_of_ten(cell, number):
    assert parse_number(cell) == number


def test_propose__sheet_of_experts__they_are_chosen_and_sizes_follow(tmp_path):
    rows = []
    for experts, top, grain in itertools.product((8, 16, 64), (1, 2), (1, 4)):
        row = {"#experts": experts, "top-k": top, "granularity": grain}
        row |= {"total params": f"{experts / 10}B", "active params": top * 1e8}
        row |= {"aux loss": 0.01 + experts / 1e4, "LM loss": 3 - experts / 100}
        rows.append(row)
    found = proposed(tmp_path, rows)
    assert {c.column for c in found.mapping.knobs} == {
        "#experts",
        "top-k",
        "granularity",
    }
    assert roles(found)["LM loss"] == "objective"


def test_propose__sizes_of_most_runs_alone__are_sizes(tmp_path):
    rows = sweep()
    for row in rows[1::3]:
        row |= {"params": "", "tokens": ""}
    found = proposed(tmp_path, rows)
    assert {q.name for q in found.mapping.fidelity} == {"params", "tokens"}
    assert found.n_land == 18 and "missing-values" in codes(found)
