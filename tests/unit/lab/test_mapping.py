"""Mappings made from families' declarations."""

from __future__ import annotations

import pytest

from autollm.lab.families import FAMILIES
from autollm.lab.mapping import lab_mappings, mapping_of

MAPPING_IDS = {
    "pretraining": "40a7a5f0f9c5f111",
    "optimizer": "3848cc3982e4ea20",
    "architecture": "d4120a8caab7e602",
    "data_mixture": "582d5b43cdc16eb8",
    "rl_tuning": "62d915064ede24f1",
}
"""What has landed is named by these: another one lands all of a source anew."""


def test_lab_mappings__every_family__has_a_source_of_its_own():
    assert [m.source for m in lab_mappings()] == [
        f"lab-{name}" for name in FAMILIES
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_mapping_of__family__is_what_its_logs_landed_by(name):
    assert mapping_of(FAMILIES[name]).mapping_id == MAPPING_IDS[name]


def test_mapping_of__pretraining__says_window_steps_columns_and_signal():
    mapping = mapping_of(FAMILIES["pretraining"])
    rate, batch = mapping.knobs
    assert (rate.column, rate.step, rate.window) == (
        "config.learning_rate",
        0.5,
        (2**-9, 2**-4.5),
    )
    assert (batch.unit, batch.role, batch.window) == (
        "tokens",
        "size",
        (64, 2048),
    )
    assert [q.column for q in mapping.fidelity] == [
        "fidelity.params",
        "fidelity.tokens",
    ]
    assert (mapping.signal.name, mapping.signal.direction) == (
        "train_loss",
        "min",
    )


def test_mapping_of__families_with_rules_of_their_own__say_them():
    assert mapping_of(FAMILIES["optimizer"]).family == "pretraining"
    assert mapping_of(FAMILIES["rl_tuning"]).group.column == "model.task"
    assert (
        mapping_of(FAMILIES["architecture"]).cost.flops.text
        == "fidelity.flop_budget"
    )
    mixture = mapping_of(FAMILIES["data_mixture"]).knobs[0]
    assert (mixture.columns, mixture.prefix) == (
        ("config.mixture.*",),
        "config.mixture.",
    )
