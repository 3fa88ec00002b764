"""A run at the target of a saved advice, as somebody tells of it: settings and outcome by
the advice's names, or as near to them as files write them.

Invariant: a run that is told has every setting of the advice, and an outcome if it
finished.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from autollm.advisor.kept.ledger import Entry, ReportedRun, followed
from autollm.advisor.words import last_part
from autollm.core.errors import QuestionError
from autollm.core.values import parse_number


def reported(
    entry: Entry,
    values: Mapping[str, Any],
    status: str,
    name: str = "",
) -> ReportedRun:
    """The run whose settings and outcome `values` hold; `status`: any word that logs
    have for how a run ended.

    Raises:
        QuestionError: a setting or the outcome is missing, or they contradict the status.
    """
    configuration = _configuration(entry, values)
    rank = followed(entry, configuration)
    run = ReportedRun(configuration, None, status, rank, name)
    outcome = parse_number(_outcome(entry, values))
    if run.status == "diverged":
        _check_lost(entry, outcome)
        return run
    if outcome is not None:
        return replace(run, outcome=float(outcome))
    if run.status == "finished":
        raise QuestionError(
            f"the run lacks the outcome {entry.objective}. Fix: give it, or another "
            "status, such as diverged."
        )
    return run


def _outcome(entry: Entry, values: Mapping[str, Any]) -> Any:
    """The value under one of the objective's names; no other metric's."""
    own = entry.objective
    others = entry.answer.get("objective_names", ())
    for name in (own, *others):
        if name in values:
            return values[name]
    return None


def _check_lost(entry: Entry, outcome: float | None) -> None:
    """What a diverged run logged last is no outcome of it.

    Raises:
        QuestionError: it is as good as the run was expected to be.
    """
    proposals = entry.answer["recommendations"]
    predicted = proposals[0]["predicted"] if proposals else None
    if predicted is None or outcome is None or not math.isfinite(outcome):
        return
    is_low = entry.answer["objective"]["direction"] == "min"
    as_good = outcome >= predicted["low"]
    if is_low:
        as_good = outcome <= predicted["high"]
    if as_good:
        name = entry.objective
        raise QuestionError(
            f"status diverged, but {name} = {outcome:g} is as good as was expected "
            f"({predicted['low']:.4g} to {predicted['high']:.4g}). Fix: status "
            f"finished, or leave {name} out."
        )


def _configuration(entry: Entry, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a proposal, as they were run: the first one all of whose settings
    are told, since optimizers may have settings of their own.

    Raises:
        QuestionError: a setting is missing, or nothing was proposed.
    """
    refused = ""
    for proposal in entry.answer["recommendations"]:
        keys = list(proposal["configuration"])
        told = {key: _said(key, keys, values) for key in keys}
        lacking = [key for key in keys if told[key] is None]
        if not lacking:
            return told
        needs = f"It needs: {', '.join(keys)}."
        refused = refused or f"the run lacks {lacking[0]}. {needs}"
    raise QuestionError(
        refused
        or f"advice {entry.advice_id} proposed nothing: all that may be proposed had "
        "been run. Fix: tell it to an earlier one (autollm advice list)."
    )


def _said(name: str, names: Iterable[str], values: Mapping[str, Any]) -> Any:
    """The value of one of several names, spelt so or by its last part alone, as files
    leave out the prefixes of trackers; None where there is none, or no one.
    """
    if name in values:
        return values[name]
    last = last_part(name)
    found = [value for key, value in values.items() if last_part(key) == last]
    endings = list(map(last_part, names))
    is_clear = endings.count(last) == 1
    return found[0] if is_clear and len(found) == 1 else None
