"""Declarations of families: what contradicts itself is refused where it stands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autollm.core.errors import FamilyError
from autollm.core.metrics import Metric
from autollm.lab.families.pretraining import PRETRAINING
from autollm.lab.spec import Level


def first_level(**changes):
    return replace(PRETRAINING.levels[0], **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split": "testing"}, "split 'testing', expected one of"),
        ({"clock": "sun"}, "clock 'sun', expected one of"),
        ({"seeds": "ab"}, "seeds must be a list, got 'ab'"),
    ],
)
def test_level__value_of_no_kind__is_named(changes, said):
    with pytest.raises(FamilyError, match=said):
        first_level(**changes)


def test_level__unknown_field__has_its_nearest_named():
    with pytest.raises(FamilyError, match=r"'seed'\. Did you mean 'seeds'\?"):
        Level("a", "train", {}, seed=1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"levels": (first_level(), first_level())}, "two levels 'a1'"),
        (
            {"objective": Metric("loss", "nats")},
            "objective 'loss' has no direction",
        ),
        (
            {"fidelity": lambda level: {level.name: 1.0}},
            "fidelities a1 and a2, expected one ladder",
        ),
    ],
)
def test_family__contradiction__is_refused(changes, said):
    with pytest.raises(FamilyError, match=said):
        replace(PRETRAINING, **changes)
