"""The type checker over the parts that others build on (pyproject.toml, [tool.pyright])."""

import os
import subprocess
import sys

import pytest

from autollm.core.places import PROJECT


@pytest.mark.timeout(600)
def test_types__core_gym_policies_evaluation__have_no_errors():
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable],
        cwd=PROJECT,
        env=os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "0 errors" in done.stdout
