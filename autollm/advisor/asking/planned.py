"""What a plan of the user's own says besides its settings: how large the run is to be.
What it says counts as said by `--target`; its context is read in contexts.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from autollm.advisor.asking.native import SAME, key_of
from autollm.advisor.asking.target import RATIO
from autollm.advisor.evidence.evidence import Evidence
from autollm.advisor.words import last_part
from autollm.core.values import parse_value


def sizes_in(
    planned: Mapping[str, Any], evidence: Evidence
) -> dict[str, float]:
    """Coordinates that a plan says, canonical name -> number: by their column, by one
    that is proportional to them in all runs (params_m), or by a ratio of two of them
    (tokens_per_param).
    """
    names = list(evidence.table.experiments[0].fidelity)
    found = {}
    for name in names if planned else ():
        number = _size(planned, name, evidence)
        if number is not None:
            found[name] = number
    for key, written in planned.items():
        ratio = RATIO.fullmatch(last_part(key))
        upper, lower = map(_plural, ratio.groups()) if ratio else ("", "")
        value = _number(written)
        if value and lower in found and upper in names:
            found.setdefault(upper, value * found[lower])
        elif value and upper in found and lower in names:
            found.setdefault(lower, found[upper] / value)
    return found


def _size(
    planned: Mapping[str, Any], name: str, evidence: Evidence
) -> float | None:
    """The coordinate `name` as the plan tells it; None where it does not."""
    column = evidence.native(name)
    for candidate in (column, *evidence.runs[0]["cells"]):
        key = key_of(candidate, name, planned)
        value = _number(planned[key]) if key else None
        if value is None:
            continue
        if key == name:
            return value
        factor = _per_native(evidence, name, candidate)
        if factor is None and candidate != column:
            continue
        # 1.4B is that whatever the column counts in, 1400 is not
        has_letter = not str(planned[key])[-1:].isdigit()
        return value if has_letter else value * (factor or 1.0)
    return None


def _number(written: Any) -> float | None:
    value = parse_value(written)
    is_size = value is not None and 0 < value.number < math.inf
    return float(value.number) if value is not None and is_size else None


def _plural(word: str) -> str:
    return f"{word.removesuffix('s')}s"


def _per_native(evidence: Evidence, name: str, column: str) -> float | None:
    """The canonical coordinate over the column's number; None where that is not the same
    in all runs, or they have one number alone.
    """
    ratios = []
    numbers = set()
    for run in evidence.runs:
        number = _number(run["cells"].get(column))
        if number is None:
            return None
        numbers.add(number)
        ratios.append(json.loads(run["fidelity_json"])[name] / number)
    is_steady = max(ratios) - min(ratios) <= SAME * max(ratios)
    return ratios[0] if is_steady and len(numbers) > 1 else None
