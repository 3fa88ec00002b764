"""The snapshot that ships is the one that the project builds of its embedded lab runs."""

import json
import os
import subprocess
import sys

import pytest

from autollm.core.places import PROJECT, SHIPPED_GYM
from autollm.gym.tables.snapshot import check_snapshot, published_id

pytestmark = pytest.mark.timeout(600)


def test_shipped_gym__built_again__has_the_same_id_and_bytes(tmp_path):
    environment = {
        k: v for k, v in os.environ.items() if k != "AUTOLLM_DATA_DIR"
    }
    command = ["-m", "pipelines.run", "--home", str(tmp_path), "--to"]
    subprocess.run(
        [sys.executable, *command, "published_snapshot"],
        check=True,
        env=environment,
        cwd=PROJECT,
        capture_output=True,
    )
    home, shipped = str(tmp_path), str(SHIPPED_GYM)
    assert not check_snapshot(shipped, published_id(shipped))
    assert published_id(shipped) == published_id(home), (
        "python scripts/ship_gym.py"
    )
    assert files_of(SHIPPED_GYM).items() <= files_of(tmp_path).items()


def files_of(home) -> dict[str, str]:
    """Digest of each file that the published manifest names."""
    folder = home / "snapshots" / published_id(str(home))
    manifest = json.loads((folder / "manifest.json").read_text())
    return {name: entry["sha256"] for name, entry in manifest["files"].items()}
