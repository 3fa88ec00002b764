from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autollm.advisor.deciding.allocation import split_of
from tests.unit.advisor.studies import study_of
from tests.unit.advisor.sweeps import best_loss

TARGET = {"params": 1.6e9, "tokens": 6e10}
COMPUTE = TARGET["params"] * TARGET["tokens"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return study_of(tmp_path_factory.mktemp("sweep"), **TARGET)


def test_split_of__known_law__holds_the_best_size_and_keeps_the_compute(study):
    split = split_of(study.question, study.loss_law)
    sizes = np.geomspace(1e8, 1e11, 4001)
    losses = [best_loss(n, COMPUTE / n) for n in sizes]
    truth = sizes[int(np.argmin(losses))]
    mean, low, high = split.params
    assert low < truth < high
    assert mean * split.tokens[0] == pytest.approx(COMPUTE)
    assert low * split.tokens[2] == pytest.approx(COMPUTE)


def test_split_of__flat_range__costs_about_one_percent_of_compute(study):
    split = split_of(study.question, study.loss_law)
    mean = split.params[0]
    off = best_loss(
        mean * split.flat_within, COMPUTE / mean / split.flat_within
    )
    lost = off - best_loss(mean, COMPUTE / mean)
    one_percent = best_loss(mean, COMPUTE / mean) - best_loss(
        mean * 1.01**0.5, COMPUTE / mean * 1.01**0.5
    )
    assert 1.05 < split.flat_within < 2
    assert lost < 4 * one_percent


def test_split_of__law_without_a_term_each__is_none(study):
    assert split_of(study.question, None) is None
    assert split_of(study.question, replace(study.loss_law, draws=None)) is None


def test_split_of__compute_that_is_no_product__is_none(study):
    question = study.question
    first, *rest = question.table.experiments
    odd = replace(first, compute_flops=2 * first.compute_flops)
    table = replace(question.table, experiments=(odd, *rest))
    assert split_of(replace(question, table=table), study.loss_law) is None
