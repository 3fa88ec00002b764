"""What would change an advice, in sentences: an outcome that contradicts it, runs that it
hangs on, runs that would tell more, settings that nobody varied.

Invariant: every sentence names what a person can do or look at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autollm.advisor.answer import Advice
from autollm.advisor.answering.influence import Influence
from autollm.advisor.deciding.study import Study
from autollm.advisor.words import count
from autollm.logs.proposals.names import read_name

MOST_CONSTANTS = 6
STATES = ("status", "state")
NO_SETTINGS = ("key", "label", "path", "seed", "time", "duration", "throughput")
NO_SETTINGS += ("memory", "money", "flops", "measured")
"""Columns that nobody chose: how a run ended, what it was called, what it took."""


def what_would_change(
    found: Study, advice: Advice, moved: Sequence[Influence]
) -> list[str]:
    """The sentences, the most telling first."""
    sentences = _outcome(advice) + _evidence(advice, moved) + _runs(advice)
    unvaried = []
    for name, value in advice.constants.items():
        meaning = read_name(name)
        if name.lower() not in STATES and not meaning.is_a(*NO_SETTINGS):
            unvaried.append(f"{name} = {value}")
    unvaried = unvaried[:MOST_CONSTANTS]
    if unvaried:
        sentences.append(
            f"Another value of what never varied: {', '.join(unvaried)}. Your runs say "
            "nothing of any other."
        )
    return sentences


def _outcome(advice: Advice) -> list[str]:
    if (
        not advice.recommendations
        or advice.recommendations[0].predicted is None
    ):
        return []
    predicted = advice.recommendations[0].predicted
    name = advice.objective["name"]
    return [
        f"A first run with {name} outside of {predicted.low:.4g} to "
        f"{predicted.high:.4g}: the law does not hold there. Tell it (autollm tell "
        f"{advice.advice_id[:8]}) and ask again."
    ]


def _evidence(advice: Advice, moved: Sequence[Influence]) -> list[str]:
    if not moved:
        return []
    first = advice.recommendations[0]
    without: dict[tuple[str, str], list[str]] = {}
    for row in moved:
        for column in row.leaves:
            key = column, _shown(row.configuration[column])
            without.setdefault(key, []).append(row.left_out)
    sentences = []
    for (column, value), groups in without.items():
        advised = _shown(first.configuration[column])
        sentences.append(
            f"{column} would be {value} instead of {advised}, outside of its acceptable "
            f"range, without the runs of {' or '.join(groups)}."
        )
    if not sentences and first.acceptable:
        return [
            "No single experiment: whichever is left out, every setting stays within "
            "its acceptable range."
        ]
    return sentences


def _runs(advice: Advice) -> list[str]:
    """A sentence a run that would help, with all questions that it would help with."""
    helped: dict[str, list[str]] = {}
    for row in advice.can_answer:
        for helping in row.would_help[:1]:
            words = _words(helping.configuration) or "another configuration"
            place = []
            for name, value in helping.experiment.items():
                near = "about " if name in helping.about else ""
                place.append(f"{name} {near}{count(value)}")
            run = f"{words} at {', '.join(place)}" if place else words
            helped.setdefault(run, []).append(row.question)
    sentences = []
    for run, questions in helped.items():
        sentences.append(
            f"A run with {run}: it would tell more of {', '.join(questions)}."
        )
    return sentences


def _words(values: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {_shown(value)}" for name, value in values.items()
    )


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
