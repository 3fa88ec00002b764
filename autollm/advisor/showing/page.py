"""An advice as one page: static, self-contained, printable.

Invariant: what comes from logs stays text, secrets in it are redacted, and nothing is
loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from autollm.advisor.answer import Advice
from autollm.advisor.answering.changes import what_would_change
from autollm.advisor.answering.influence import influences
from autollm.advisor.answering.lines import FIELDS, plan_lines
from autollm.advisor.deciding.hindsight import (
    hindcasts,
    regret_by_policy,
    saved,
)
from autollm.advisor.deciding.study import Study
from autollm.advisor.showing.pictures import pictures
from autollm.advisor.showing.written import render
from autollm.advisor.words import count
from autollm.core.redaction import redact, redacted
from autollm.evaluation.pages import page

CAPTIONS = {
    "optima": "Where each experiment's optimum lies (triangles: at the edge of what was "
    "tried, a bound), the law through them with its 90 % band up to the target, and the "
    "advice.",
    "outcome": "What each experiment could have reached, with one standard error, beside "
    "its best recorded run; the law through them, and the forecast at the target.",
    "landscape": "Expected regret at the target (0: the best candidate, 1: the median). Of "
    "two settings: white points were tried somewhere, rings are the levels' optima, numbers "
    "mark the proposals.",
    "foretold": "The same law asked about experiments that you have, each from cheaper "
    "ones alone.",
}


def advice_page(
    found: Study, advice: Advice, earlier: Sequence[Mapping[str, Any]] = ()
) -> str:
    """The page as HTML text. `earlier`: the record of the home's advice before this one
    (ledger.summary).
    """
    told = redacted(advice.to_json())
    best = told["recommendations"][0] if told["recommendations"] else None
    moved = influences(found, advice.recommendations[0]) if best else []
    changes = what_would_change(found, advice, moved)
    return page(
        "advice.html.j2",
        folder="autollm.advisor.showing",
        advice=told,
        best=best,
        ready=render([best["configuration"]], "yaml") if best else "",
        figures=_figures(found, advice),
        policies=regret_by_policy(found.backtests),
        saved=redacted(list(map(asdict, saved(found)))),
        influences=redacted(list(map(asdict, moved))),
        changes=redacted(changes),
        earlier=redacted(list(map(dict, earlier))),
        plan_lines=redacted(_plan_lines(advice)),
        count=count,
        field_words=FIELDS,
    )


def _plan_lines(advice: Advice) -> list[str]:
    """What the terminal says of a plan of the user's own."""
    checked = advice.checked
    return [] if checked is None else plan_lines(advice, checked)


def _figures(found: Study, advice: Advice) -> dict[str, dict[str, Any]]:
    """Picture and caption by name; none where nothing is advised."""
    points = []
    for proposal in advice.recommendations:
        configuration = found.names.read(proposal.configuration)
        points.append(found.question.space.encode(configuration))
    if not points:
        return {}
    hindsight = []
    for one in hindcasts(found):
        hindsight.append(replace(one, label=redact(one.label)))
    figures = {}
    for name, picture in pictures(found, np.array(points), hindsight).items():
        figures[name] = {"picture": Markup(picture), "caption": CAPTIONS[name]}
    return figures
