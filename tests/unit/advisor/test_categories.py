"""Categories at the target: a gap that every scale shows alike holds there, and the worse
one is not proposed.
"""

from __future__ import annotations

import csv

import numpy as np
import pytest

from autollm.advisor.deciding.study import after
from autollm.advisor.recommend import explore
from autollm.advisor.statistics.categories import _at_target, gaps_of
from autollm.advisor.statistics.told import Tried

LEVELS = ((1e8, 2e9), (2e8, 4e9), (4e8, 8e9), (8e8, 1.6e10))
TARGET = "params=3.2e9,tokens=6.4e10"
BEST = {"adamw": -9.5, "muon": -6.5, "lion": -12.0}
GAP = {"adamw": 0.02, "muon": 0.0, "lion": 0.05}
BEND = 0.015


def centre(optimizer, params):
    moves = 0.0 if optimizer == "muon" else 0.5
    return BEST[optimizer] - moves * np.log2(params / 4e8)


def write(path, noise=0.002, gap=GAP):
    """Three optimizers, each with a rate around its own best."""
    rng = np.random.default_rng(1)
    rows = []
    for params, tokens in LEVELS:
        floor = (
            1.6 + 0.5 * (params / 4e8) ** -0.3 + 0.4 * (tokens / 1e10) ** -0.3
        )
        for optimizer in BEST:
            at = centre(optimizer, params)
            for rate in 2.0 ** np.arange(round(at) - 2, round(at) + 3):
                lost = gap[optimizer] + BEND * (np.log2(rate) - at) ** 2
                sizes = {"params": int(params), "tokens": int(tokens)}
                loss = floor + lost + noise * rng.normal()
                rows.append(
                    {"optimizer": optimizer, "lr": rate}
                    | sizes
                    | {"val_loss": loss}
                )
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("optimizers") / "runs.csv")
    return explore([path], TARGET)


def test_gaps__same_at_every_scale__are_those_at_the_target(asked):
    found, _ = asked
    (gaps,) = gaps_of(found.question.view)
    knob = found.question.space.knobs[0]
    wanted = np.array([GAP[name] - GAP[knob.levels[0]] for name in knob.levels])
    off = gaps.mean - wanted / found.spread
    assert np.abs(off[1:] / gaps.sd[1:]).max() < 1.5
    assert gaps.sd[1:].max() < 0.3


def test_decider__bowl_that_lost_a_gap__has_most_of_it_again(asked):
    found, _ = asked
    space = found.question.space
    lowest = {}
    for name in BEST:
        level = [
            space.decode(p)["optimizer"] for p in found.question.view.candidates
        ]
        mine = found.question.view.candidates[np.array(level) == name]
        lowest[name] = float((found.policy.weights @ found.sampled(mine)).min())
    for name in ("adamw", "lion"):
        apart = (lowest[name] - lowest["muon"]) * found.spread
        assert apart == pytest.approx(GAP[name], rel=0.35)


def test_recommend__category_that_is_worse_everywhere__is_proposed_nowhere(
    asked,
):
    _, advice = asked
    proposed = {p.configuration["optimizer"] for p in advice.recommendations}
    assert proposed == {"muon"}


def test_acceptable__another_optimizer_at_this_rate__is_not_as_good(asked):
    """In brackets stands what may change alone: adamw at muon's rate is no such thing."""
    _, advice = asked
    for proposal in advice.recommendations:
        assert proposal.acceptable["optimizer"] == ["muon"]


def test_acceptable__optimizers_that_differ_in_nothing__are_all_in_it(tmp_path):
    path = tmp_path / "runs.csv"
    rows = ["activation,lr,params,tokens,val_loss"]
    for params, tokens in LEVELS:
        floor = 1.6 + 0.9 * (params / 4e8) ** -0.3
        for name in ("gelu", "silu"):
            for step in range(-13, -6):
                lost = BEND * (step + 9.5 + 0.5 * np.log2(params / 4e8)) ** 2
                loss = floor + lost
                rows.append(
                    f"{name},{2.0**step},{params:.0f},{tokens:.0f},{loss}"
                )
    path.write_text("\n".join(rows))
    _, advice = explore([path], TARGET)
    assert set(advice.recommendations[0].acceptable["activation"]) == {
        "gelu",
        "silu",
    }


def test_at_target__line_through_gaps__is_drawn_on_and_unsure_far_away():
    octaves = np.array([-8.0, -6.0, -4.0, -2.0])
    exact = np.full(4, 1e-6)
    level, sd = _at_target(np.full(4, 0.5), exact, octaves)
    assert level == pytest.approx(0.5, abs=0.02) and sd < 0.2
    falling, _ = _at_target(0.5 + 0.1 * octaves, exact, octaves)
    assert 0.35 < falling < 0.5
    _, far = _at_target(np.full(4, 0.5), exact, octaves - 20)
    assert far > 2 * sd
    alone, unsure = _at_target(np.array([0.5]), np.array([0.01]), octaves[:1])
    assert alone == pytest.approx(0.5, abs=0.05) and unsure > 0.35


def test_chosen__told_run_of_an_optimizer__is_not_proposed_again(asked):
    """The other optimizers' rates, which it does not have, tell no two runs apart."""
    found, advice = asked
    tried = []
    for proposal in advice.recommendations:
        written = found.names.read(proposal.configuration)
        point = found.question.space.encode(written)
        tried.append(Tried(point, proposal.predicted.mean, "finished"))
    told = [proposal.configuration for proposal in advice.recommendations]
    for point in after(found, tried).chosen(3).points:
        shown = found.names.show(found.question.space.decode(point))
        assert shown not in told
