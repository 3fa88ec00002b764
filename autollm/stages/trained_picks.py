"""Picks of hidden lab experiments, trained: a proposal that lies far from every recorded
configuration is told little by the nearest one.

As in live plays (docs/protocol.md): the nearest configuration that the level can train,
with the draw's own seed, against the best recorded configuration under the same seed.

Invariant: a question is trained for all of its contenders or for none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from autollm.advisor.judged.questions import (
    DrawnQuestion,
    HiddenExperiment,
    draw,
)
from autollm.core.errors import EpisodeError
from autollm.core.progress import Progress
from autollm.lab.live import SAME, SEEDS_FROM, LiveLab, level_of, trainable
from autollm.lab.spec import Family, Level, Run


def trained_answers(
    answers: Sequence[Mapping[str, Any]],
    questions: Iterable[HiddenExperiment],
    contenders: Sequence[str],
    lab: LiveLab,
) -> list[dict[str, Any]]:
    """The answers to the lab's questions in which a contender's pick was not recorded,
    with `trained_regret` in the contenders' picks.

    Raises:
        SetupError: this machine cannot train a level.
    """
    by_id = {hidden.question_id: hidden for hidden in questions}
    wanted = []
    for answer in answers:
        hidden = by_id[answer["question"]]
        picks = {name: answer["picks"][name] for name in contenders}
        is_told = all(p["distance"] <= SAME for p in picks.values())
        level = _level(hidden)
        if level is not None and not is_told:
            wanted.append((answer, hidden, level, picks))
    progress = Progress("picks trained", len(wanted))
    found = []
    for answer, hidden, level, picks in wanted:
        regrets = _regrets(draw(hidden, answer["seed"]), level, picks, lab)
        told = {}
        for name, regret in regrets.items():
            told[name] = {**picks[name], "trained_regret": regret}
        found.append({**answer, "picks": told})
        progress.reach(len(found), hidden.question_id)
    progress.close()
    return found


def _level(
    hidden: HiddenExperiment,
) -> tuple[Family, Level] | None:
    """The lab's level that a hidden experiment is; None: it is none."""
    experiment = hidden.experiments[hidden.target]
    try:
        return level_of(experiment, hidden.question_id)
    except EpisodeError:
        return None


def _regrets(
    drawn: DrawnQuestion,
    trained_at: tuple[Family, Level],
    picks: Mapping[str, Mapping[str, Any]],
    lab: LiveLab,
) -> dict[str, float]:
    """By contender: the live loss over that of the best recorded configuration in play,
    in median - best of the recorded ones, between 0 and 1.
    """
    family, level = trained_at
    experiment = drawn.hidden.experiments[drawn.hidden.target]
    best = drawn.points[int(np.argmin(drawn.losses))]
    spread = float(np.median(drawn.losses) - drawn.losses.min())
    worst = float(drawn.losses.max())

    def loss(configuration: Mapping[str, Any]) -> float:
        config = trainable(family, level, configuration)
        seed = SEEDS_FROM + drawn.seed
        end = lab.outcome_of(Run(family.name, level, config, seed))
        value = end.final.get(experiment.objective, math.nan)
        value = -value if experiment.direction == "max" else value
        return value if math.isfinite(value) else worst

    reference = loss(drawn.space.decode(best))
    regrets = {}
    for name, pick in picks.items():
        gap = (loss(pick["configuration"]) - reference) / spread
        regrets[name] = float(np.clip(gap, 0.0, 1.0))
    return regrets
