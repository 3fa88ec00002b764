import json

import pytest

from autollm.advisor.asking.native import names_of
from autollm.core.errors import QuestionError
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space

SPACE = Space(
    (
        Knob("learning_rate", "log", (0.001, 0.002)),
        Knob("batch_tokens", "log", (65536, 131072)),
        Knob("optimizer", "categorical", ("adamw", "muon")),
        Knob("mix", "simplex", ("code", "web")),
    )
)


def runs():
    for lr, bs in ((0.001, 32), (0.002, 64), (0.001, 64)):
        config = {
            "learning_rate": lr,
            "batch_tokens": bs * 2048,
            "optimizer": "adamw",
        }
        config["mix"] = {"code": 0.25, "web": 0.75}
        yield {
            "config_json": json.dumps(config),
            "cells": {"lr": lr, "bs": str(bs)},
        }


NAMES = names_of(
    SPACE,
    {"learning_rate": "lr", "mix.code": "w_code", "mix.web": "w_web"},
    runs(),
)
CONFIGURATION = {
    "learning_rate": 0.002,
    "batch_tokens": 131072,
    "optimizer": "muon",
    "mix": {"code": 0.5, "web": 0.5},
}
SHOWN = {
    "lr": 0.002,
    "bs": 64,
    "optimizer": "muon",
    "w_code": 0.5,
    "w_web": 0.5,
}


def test_show__derived_knob__is_told_in_the_unit_of_its_column():
    assert NAMES.show(CONFIGURATION) == SHOWN


@pytest.mark.parametrize(
    ("key", "column"), [("learning_rate", "lr"), ("global_batch", "batch_size")]
)
def test_read__another_name_of_a_column__names_the_near_key(key, column):
    names = names_of(Space((Knob(column, "log", (0.001, 0.002)),)), {}, [])
    with pytest.raises(
        QuestionError, match=f"add {column}, or rename {key} to it"
    ):
        names.read({"weight_decay": 0.1, key: 0.002})


def test_sums_of__mixture_of_90__both_sums():
    mixed = SHOWN | {"w_code": 0.4, "w_web": 0.5}
    assert NAMES.sums_of(SHOWN) == {}
    assert NAMES.sums_of(mixed)["mix"] == pytest.approx([0.9, 1.0])


def test_read__what_was_shown__is_the_configuration():
    assert NAMES.read(SHOWN) == CONFIGURATION


def test_read__canonical_names_and_nesting__both_work():
    nested = {"optim.lr": "2e-3", "batch_tokens": 64, "optimizer": "muon"}
    found = NAMES.read(nested | {"code": 1, "web": 1})
    assert found["learning_rate"] == 0.002 and found["mix"] == {
        "code": 0.5,
        "web": 0.5,
    }


def test_read__knob_missing__is_named():
    with pytest.raises(QuestionError, match="lacks lr"):
        NAMES.read({"bs": 64})


def test_read__beginning_of_a_tracker_left_out__is_the_same_column():
    space = Space((Knob("lr", "log", (0.001, 0.002)),))
    rows = [
        {
            "config_json": json.dumps({"lr": 0.001}),
            "cells": {"config.optim.lr": 0.001},
        }
    ]
    names = names_of(space, {"lr": "config.optim.lr"}, rows)
    for key in ("config.optim.lr", "optim.lr", "config/optim/lr", "lr"):
        assert names.read({key: 0.002}) == {"lr": 0.002}
    both = {"optim.lr": 0.002, "scheduler.lr": 0.5}
    assert names.read(both) == {"lr": 0.002}
    with pytest.raises(QuestionError, match=r"lacks config\.optim\.lr"):
        names.read({"sched.optim_lr": 0.002})


def test_read__number_of_another_category__is_not_asked_for():
    space = Space(
        (
            Knob("opt", "categorical", ("adam", "muon")),
            Knob("lr_adam", "log", (1e-4, 1e-3), when=("opt", ("adam",))),
            Knob("lr_muon", "log", (1e-3, 1e-2), when=("opt", ("muon",))),
        )
    )
    columns = {"lr_adam": "lr", "lr_muon": "lr"}
    names = names_of(space, columns, [])
    written = {"opt": "muon", "lr": 0.005}
    assert names.read(written) == {"opt": "muon", "lr_muon": 0.005}
    assert names.show(names.read(written)) == written


def test_show__level_of_many_digits__stays_one_that_can_be_read():
    space = Space((Knob("lr", "ordinal", ("none", 0.00048828)),))
    names = names_of(space, {}, [])
    shown = names.show({"lr": 0.00048828})
    assert names.read(shown) == {"lr": 0.00048828}
