"""The export script of docs/your-logs.md, run as it stands there by the pinned client, and
its two files read back."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autollm.logs.readers.curve_files import CurveJsonlReader
from tests.unit.logs.readers.opened import curve_of, opened_file, read_file
from tests.unit.logs.readers.test_wandb_api import project_of
from tests.unit.logs.readers.wandb_stub import KEY, serving

PAGE = Path(__file__).parents[4] / "docs" / "your-logs.md"


def test_export_script__of_the_page__gives_runs_and_full_history(tmp_path):
    pytest.importorskip("wandb", reason="extra exports is not installed")
    script = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert len(script.strip().splitlines()) <= 10
    with serving(project_of(n_rows=1_200)) as url:
        env = {**os.environ, "WANDB_BASE_URL": url, "WANDB_API_KEY": KEY}
        env |= {"WANDB_SILENT": "true", "WANDB_CACHE_DIR": str(tmp_path)}
        env |= {"WANDB_ERROR_REPORTING": "false"}
        subprocess.run(
            [sys.executable, "-c", script], env=env, cwd=tmp_path, check=True
        )
    relation = read_file(CurveJsonlReader(), tmp_path / "history.jsonl")
    assert len(curve_of(relation, "long", "loss")) == 1_200
    assert len(curve_of(relation, "short", "loss")) == 3
    assert relation.points["wall_time_s"][1].as_py() == 0.5
    rows = opened_file(tmp_path / "runs.jsonl").data.splitlines()
    assert len(rows) == 3 and b'"config": {"lr": 0.001' in rows[0]
