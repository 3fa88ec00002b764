"""Public tables for tests: where they lie, or a skip that says what is missing. Their
rows are never copied into the project.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def public_table(*parts: str) -> Path:
    """`<AUTOLLM_DATA_DIR>/<parts>`; skips the test where it is not there."""
    root = os.environ.get("AUTOLLM_DATA_DIR")
    if not root:
        pytest.skip(
            "AUTOLLM_DATA_DIR is unset: it names the folder of the public tables"
        )
    path = Path(root, *parts)
    if not path.exists():
        pytest.skip(f"AUTOLLM_DATA_DIR holds no {'/'.join(parts)}")
    return path
