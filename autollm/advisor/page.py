"""An advice as one page: static, self-contained, printable.

What does not belong here: any number of its own. Invariant: what comes from logs stays
text, secrets in it are redacted, and nothing is loaded from elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from autollm.advisor.answer import Advice
from autollm.advisor.pictures import pictures
from autollm.advisor.study import Study
from autollm.advisor.written import render
from autollm.core.redaction import redact
from autollm.evaluation.pages import page

CAPTIONS = {
    "optima": "Where each experiment's optimum lies (triangles: at the edge of what was "
    "tried, a bound), what the law says at the target, and the advice.",
    "outcome": "What each experiment could have reached, with one standard error, beside "
    "its best recorded run; and the forecast at the target.",
    "landscape": "Expected regret at the target (0: best, 1: median); numbers mark the "
    "proposals.",
}


def advice_page(found: Study, advice: Advice) -> str:
    """The page as HTML text."""
    points = []
    for proposal in advice.recommendations:
        configuration = found.names.read(proposal.configuration)
        points.append(found.question.space.encode(configuration))
    drawn = pictures(found, np.array(points)) if points else {}
    figures = []
    for name, picture in drawn.items():
        figures.append({"picture": Markup(picture), "caption": CAPTIONS[name]})
    told = _redacted(advice.to_json())
    best = told["recommendations"][0] if told["recommendations"] else None
    return page(
        "advice.html.j2",
        folder="autollm.advisor",
        advice=told,
        best=best,
        ready=render([best["configuration"]], "yaml") if best else "",
        figures=figures,
    )


def _redacted(value: Any) -> Any:
    """The same with secrets taken out of every text."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: _redacted(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_redacted(one) for one in value]
    return value
