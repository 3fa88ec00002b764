"""Sizes that cheap runs are proposed at."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from autollm.advisor.deciding.sizes import buildable

LEVELS = ({"params": 2e7, "tokens": 4e8}, {"params": 8e7, "tokens": 1.6e9})
TARGET = {"params": 7e9, "tokens": 1.4e11}


def study():
    experiments = [SimpleNamespace(fidelity=level) for level in LEVELS]
    table = SimpleNamespace(experiments=experiments)
    return SimpleNamespace(
        evidence=SimpleNamespace(table=table),
        question=SimpleNamespace(fidelity=TARGET),
    )


@pytest.mark.parametrize(
    ("asked", "built", "about"),
    [
        ({"params": 2e7, "tokens": 2e8}, (2e7, 2e8), ()),
        ({"params": 2.5e7, "tokens": 123456789}, (2e7, 1.23e8), ()),
        ({"params": 6.1e9, "tokens": 4e8}, (7e9, 4e8), ()),
        ({"params": 31_250_000, "tokens": 4e8}, (3.1e7, 4e8), ("params",)),
        ({"params": 5e6, "tokens": 4e8}, (5e6, 4e8), ("params",)),
    ],
)
def test_buildable__size__is_one_that_there_is_or_is_called_about(
    asked, built, about
):
    found, told = buildable(study(), asked)
    assert tuple(found.values()) == built and told == about
