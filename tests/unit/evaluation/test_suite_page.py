"""What a suite is made of."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autollm.evaluation.suite_page import describe, rank_correlation, render
from autollm.gym.tasks.suites import Suite
from tests.unit.evaluation.test_report import EVIL, Tags
from tests.unit.gym.tables import make_mixed_table, make_table, make_task

TABLE = make_table(noise=0.02)
SUITE = Suite("toy-v1", 1, "pretraining", "toy", "A toy.", (make_task(TABLE),))
ORIGIN = {
    "rows": "measured",
    "licence": "MIT",
    "citation": "nobody",
    "address": "",
}


def test_describe__toy_suite__counts_what_is_there() -> None:
    about = describe(SUITE, TABLE, ORIGIN)
    assert (
        about["n_experiments"],
        about["n_outcomes"],
        about["n_configurations"],
    ) == (
        4,
        140,
        35,
    )
    assert about["compute_flops"] == [6e9, 6e9 * 16.0**3] and about[
        "splits"
    ] == {
        "train": 0,
        "validation": 0,
        "test": 1,
    }
    assert [e["role"] for e in about["experiments"]] == ["evidence"] * 3 + [
        "test target"
    ]
    assert [e["n_diverged"] for e in about["experiments"]] == [1] * 4 and about[
        "experiments"
    ][0]["replica_sd"] is None
    assert (
        about["tasks"][0]["compute_ratio"] == pytest.approx(16)
        and 0 < about["tasks"][0]["top_correlation"] <= 1
    )
    assert [b["k"] for b in about["bounds"]] == [1, 3, 5, 10] and about[
        "bounds"
    ][0]["random"] > about["bounds"][0]["noise_mean"]
    assert about == describe(SUITE, TABLE, ORIGIN)
    json.dumps(about, allow_nan=False)


def test_describe__noise_of_the_rows__is_about_what_was_put_in() -> None:
    found = [e["noise_sd"] for e in describe(SUITE, TABLE)["experiments"]]
    assert 0.005 < np.mean(found) < 0.03


def test_rank_correlation__same_losses_and_their_opposite__are_one_and_minus_one() -> (
    None
):
    table = make_table(2)
    table.columns["objective"][:] = np.concatenate(
        [np.arange(35.0), np.arange(35.0)]
    )
    assert rank_correlation(table, 0, 1) == pytest.approx(1)
    other = make_table(2)
    other.columns["objective"][:] = np.concatenate(
        [np.arange(35.0), -np.arange(35.0)]
    )
    assert rank_correlation(other, 0, 1) == pytest.approx(-1)


def test_rank_correlation__no_configuration_in_common__is_unknown() -> None:
    table = make_mixed_table()
    assert rank_correlation(table, 0, 2) is None
    about = describe(
        Suite("m", 1, "data_mixture", "m", "", (make_task(table),)), table
    )
    assert about["tasks"][0][
        "median_correlation"
    ] is None and "mixture (simplex)" in " ".join(about["knobs"])


def test_render__page__is_whole_loads_nothing_and_escapes() -> None:
    page = render(
        describe(
            Suite("toy-v1", 1, "pretraining", "toy", EVIL, SUITE.tasks),
            TABLE,
            ORIGIN,
        )
    )
    assert (
        "script" not in Tags(page).seen
        and "&lt;script&gt;" in page
        and "http" not in page
    )
    for text in (
        "MIT",
        "measured",
        "35 distinct configurations",
        "rank correlation",
        "smoothed oracle",
        "learning_rate",
    ):
        assert text in page, text
    assert "Surrogate rows" in render(
        describe(SUITE, TABLE, {**ORIGIN, "rows": "surrogate"})
    )
