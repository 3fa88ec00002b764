"""Numbers that a run ends with."""

from __future__ import annotations

from autollm.core.errors import SpaceError
from autollm.core.spaces.scales import AnyDirection
from autollm.core.validation import declaration


@declaration(SpaceError)
class Metric:
    """A named number. `direction`: min or max, empty where it is no objective."""

    name: str
    unit: str = ""
    direction: AnyDirection = ""
