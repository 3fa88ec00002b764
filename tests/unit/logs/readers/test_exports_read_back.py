"""A small sweep that the lab recorded, written by each tool (`autollm lab export`) and
read back by its reader: the same runs, settings, curves and results."""

import importlib.util
import json
import math

import numpy as np
import pytest

from autollm.core.records import canonical_json
from autollm.lab.archive import read_runs, shipped
from autollm.lab.exports import NEEDS, export, replay_of
from autollm.logs.readers.cells import cell
from autollm.logs.readers.tools.sqlite_stores import SqliteStoreReader
from autollm.logs.readers.tools.tensorboard import TensorboardFolderReader
from autollm.logs.readers.tools.trainer_state import TrainerFolderReader
from autollm.logs.readers.tools.wandb_offline import WandbFolderReader
from tests.unit.logs.readers.opened import read_file, read_folder

N_RUNS = 4
PREFIXES = {
    "trainer-state": "trial.",
    "mlflow": "params.",
    "tensorboard": "params.",
    "wandb": "config.",
}
RELATIVE = {"tensorboard": 1e-6}
"""TensorBoard keeps 32 bits; the others keep all."""


@pytest.fixture(scope="module")
def sweep():
    """The first runs of the recorded data mixtures."""
    runs = read_runs(shipped("data_mixture"))
    names = sorted(runs)[:N_RUNS]
    return [runs[name] for name in names]


def relations_of(tool, folder):
    """What the readers make of an export."""
    if tool == "mlflow":
        return [read_file(SqliteStoreReader(), folder / "mlflow.db")]
    if tool == "wandb":
        return [read_folder(WandbFolderReader(), folder / "wandb")]
    reader = {
        "trainer-state": TrainerFolderReader(),
        "tensorboard": TensorboardFolderReader(),
    }[tool]
    return [
        read_folder(reader, path, path.name)
        for path in sorted(folder.iterdir())
    ]


def settings_of(row, prefix):
    """Settings by their own name, numbers as numbers."""
    out = {}
    for name, value in row.items():
        if name.startswith(prefix):
            out[name.removeprefix(prefix)] = plain(value)
    return out


def plain(value):
    """A cell as a number where it is one: MLflow keeps settings as text."""
    if isinstance(value, bool) or value is None:
        return str(cell(value))
    try:
        return float(value)
    except ValueError:
        return str(value)


def curves_of(points, run_key):
    """Steps and values by metric."""
    out = {}
    for point in points:
        if point["run_key"] == run_key:
            curve = out.setdefault(point["metric"], [])
            curve.append((point["step"], point["value"]))
    return out


def expected_curves(replay):
    out = {}
    for step, _, values in replay.points:
        for metric, value in values.items():
            out.setdefault(metric, []).append((step, value))
    return out


@pytest.mark.parametrize("tool", sorted(PREFIXES))
def test_export__read_back__is_the_sweep(tool, sweep, tmp_path):
    missing = [
        name for name in NEEDS[tool] if importlib.util.find_spec(name) is None
    ]
    if missing:
        pytest.skip(f"{missing[0]} is not installed (extra exports)")
    (folder,) = export(sweep, [tool], tmp_path)
    rows = {}
    points = []
    for relation in relations_of(tool, folder):
        assert not relation.bad
        points += relation.points.to_pylist()
        for row in relation.runs.to_pylist():
            name = (
                row.get("run_name") if tool == "mlflow" else row[relation.key]
            )
            rows[name] = (row, row[relation.key])
    replays = {replay.run_id: replay for replay in map(replay_of, sweep)}
    assert rows.keys() == replays.keys()
    for name, replay in replays.items():
        row, key = rows[name]
        told = settings_of(row, PREFIXES[tool])
        for setting, value in replay.params.items():
            assert told[setting] == plain(cell(value)), setting
        curves = curves_of(points, key)
        for metric, expected in expected_curves(replay).items():
            steps, values = zip(*curves[metric], strict=True)
            assert steps == tuple(step for step, _ in expected), metric
            np.testing.assert_allclose(
                values,
                [value for _, value in expected],
                rtol=RELATIVE.get(tool, 1e-12),
                err_msg=metric,
            )


def test_replay__a_sweep_with_settings__is_worth_reading_back(sweep):
    """Else the test above would compare nothing."""
    for replay in map(replay_of, sweep):
        assert len(replay.params) > 5
        assert any(len(curve) > 5 for curve in expected_curves(replay).values())
        finite = [v for _, _, values in replay.points for v in values.values()]
        assert any(math.isfinite(value) for value in finite)
        assert json.loads(canonical_json(replay.params))
