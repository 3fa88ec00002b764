"""HTML pages from the templates beside this module: one environment for all of them,
and how numbers stand in a page.

Invariant: what comes in is escaped unless it is Markup, and a missing value is an
error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jinja2 import (
    ChoiceLoader,
    Environment,
    PackageLoader,
    StrictUndefined,
    select_autoescape,
)

from autollm.evaluation.terminal import short


def page(
    template: str, folder: str = "autollm.evaluation", **values: Any
) -> str:
    """A page as HTML text. `folder`: the package whose template it is; the frame that
    all pages share stands here.
    """
    folders = dict.fromkeys((folder, "autollm.evaluation"))
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader(package, ".") for package in folders]
        ),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "short": short,
        "digits": digits,
        "digits4": lambda value: digits(value, 4),
        "percent": lambda share: f"{100 * share:.1f}",
        "power": power,
    }
    return environment.get_template(template).render(**values)


def digits(value: float | None, n: int = 3) -> str:
    """`n` significant digits; a dash where there is no number."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.{n}g}"


def power(value: float | None) -> str:
    """A count of operations or hours to two digits: `4.2e21`, `0.35`; a dash where it
    is not known.
    """
    if value is None or not np.isfinite(value):
        return "–"
    if value < 1e4:
        return f"{value:.2g}"
    digits_of, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits_of}e{int(exponent)}"
