"""Picks of a lab question, trained by a lab that answers at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from autollm.advisor.judged.questions import draw, hidden_experiments
from autollm.advisor.judged.sources import LAB, tables
from autollm.core.places import EMBEDDED
from autollm.lab.live import SEEDS_FROM
from autollm.stages.trained_picks import trained_answers

NAMES = ["recommend", "copy-nearest"]


@dataclass
class KnownLab:
    """A lab whose loss is 3 + the distance of log2 rate from -6."""

    runs: list = field(default_factory=list)

    def outcome_of(self, run):
        self.runs.append(run)
        rate = np.log2(run.config["learning_rate"])
        return SimpleNamespace(final={"val_loss": 3 + abs(rate + 6)})


@pytest.fixture(scope="module")
def hidden():
    name = "lab-optimizer"
    (table,) = tables(name, EMBEDDED / LAB[name])
    (found,) = hidden_experiments(table)
    return found


def pick_of(drawn, rate, distance):
    configuration = drawn.space.decode(drawn.points[0])
    configuration["learning_rate"] = rate
    return {"configuration": configuration, "distance": distance}


def test_trained_answers__better_and_worse_than_the_best__regret_of_both(
    hidden,
):
    drawn = draw(hidden, 3)
    best = drawn.space.decode(drawn.points[int(np.argmin(drawn.losses))])
    best_loss = 3 + abs(np.log2(best["learning_rate"]) + 6)
    spread = np.median(drawn.losses) - drawn.losses.min()
    picks = {
        "recommend": pick_of(drawn, 2.0**-6, 1.7),
        "copy-nearest": pick_of(drawn, 2.0**-7, 0.0),
    }
    answer = {"question": hidden.question_id, "seed": 3, "picks": picks}
    lab = KnownLab()
    (found,) = trained_answers([answer], [hidden], NAMES, lab)
    regret = found["picks"]["copy-nearest"]["trained_regret"]
    wanted = np.clip((4 - best_loss) / spread, 0, 1)
    assert regret == pytest.approx(wanted)
    assert found["picks"]["recommend"]["trained_regret"] == 0.0
    assert {run.seed for run in lab.runs} == {SEEDS_FROM + 3}
    assert {run.level.name for run in lab.runs} == {"d1"}


def test_trained_answers__every_pick_recorded__nothing_is_trained(hidden):
    drawn = draw(hidden, 0)
    picks = {name: pick_of(drawn, 2.0**-6, 0.0) for name in NAMES}
    answer = {"question": hidden.question_id, "seed": 0, "picks": picks}
    lab = KnownLab()
    assert trained_answers([answer], [hidden], NAMES, lab) == []
    assert lab.runs == []
