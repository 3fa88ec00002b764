"""autollm: learn from cheap training runs, configure expensive ones.

`autollm.recommend(path_or_table, target=...)` is the advisor in Python,
`autollm.plan(...)` says which cheap runs come first.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What is loaded when it is asked for."""
    if name in ("recommend", "plan"):
        from autollm.advisor import front

        return getattr(front, name)
    raise AttributeError(f"module 'autollm' has no attribute {name!r}")
