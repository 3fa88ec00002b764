"""Words that declarations share: scales and roles of knobs, directions of metrics. One
list of each, for spaces, mappings, suites and the lab.
"""

from __future__ import annotations

from typing import Literal, get_args

Scale = Literal[
    "log", "linear", "integer", "ordinal", "categorical", "simplex", "list"
]
SCALES: tuple[str, ...] = get_args(Scale)
ONE_COORDINATE = ("log", "linear", "integer", "ordinal")
"""Scales of a single number."""
Role = Literal["", "rate", "size", "weight"]
ROLES: tuple[str, ...] = get_args(Role)
Direction = Literal["min", "max"]
DIRECTIONS: tuple[str, ...] = get_args(Direction)
AnyDirection = Literal["", "min", "max"]
"""Direction of a metric that may be no objective."""
