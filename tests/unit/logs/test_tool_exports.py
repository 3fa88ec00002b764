"""A sweep that the lab recorded, exported as each tool writes it, landed with a mapping
that names the tool's own columns: the same runs in bronze, and the same curves."""

import importlib.util
import math

import pyarrow.parquet as pq
import pytest

from autollm.core.mappings.mapping import parse_mapping
from autollm.lab.archive import read_runs, shipped
from autollm.lab.exports import NEEDS, export, replay_of
from autollm.logs.landing import ingest

MAPPING = """
schema = "autollm.mapping/1"
source = "exported"
family = "pretraining"
format = "{format}"
[run_key]
columns = ["{key}"]
[replica]
column = "{prefix}seed"
[[knobs]]
name = "learning_rate"
column = "{prefix}config.learning_rate"
scale = "log"
[[knobs]]
name = "batch_tokens"
column = "{prefix}config.batch_tokens"
scale = "log"
[[fidelity]]
name = "params"
column = "{prefix}fidelity.params"
[[fidelity]]
name = "tokens"
column = "{prefix}fidelity.tokens"
[objective]
name = "val_loss"
column = "{result}eval_val_loss"
direction = "min"
[cost]
flops = "6 * params * tokens"
"""
TOOLS = {
    "trainer-state": ("trainer-state", "run", "trial.", "metrics."),
    "mlflow": ("sqlite", "run_name", "params.", "metrics."),
    "tensorboard": ("tensorboard", "run", "params.", "metrics."),
    "wandb": ("wandb-offline", "run_id", "config.", "summary."),
}
N_RUNS = 6
DIGITS = 6  # TensorBoard keeps 32 bits


@pytest.fixture(scope="module")
def sweep():
    """Runs of two levels, two seeds among them."""
    runs = read_runs(shipped("pretraining"))
    names = sorted(runs)
    chosen = names[: N_RUNS // 2] + names[-N_RUNS // 2 :]
    return [runs[name] for name in chosen]


def bronze(home, table):
    """All rows of a table of bronze."""
    rows = []
    for path in sorted(home.glob(f"bronze/batches/*/{table}.parquet")):
        rows += pq.read_table(path).to_pylist()
    return rows


def own_name(row):
    """TensorBoard's runs are named by their folder and the one that holds it."""
    return row["run_id"].rpartition("/")[2]


def rounded(value):
    return float(f"{value:.{DIGITS}g}")


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_export__landed__is_the_sweep_in_bronze(tool, sweep, tmp_path):
    missing = [
        name for name in NEEDS[tool] if importlib.util.find_spec(name) is None
    ]
    if missing:
        pytest.skip(f"{missing[0]} is not installed (extra exports)")
    (folder,) = export(sweep, [tool], tmp_path / "out")
    file_format, key, prefix, result = TOOLS[tool]
    text = MAPPING.format(
        format=file_format, key=key, prefix=prefix, result=result
    )
    place = folder / "mlflow.db" if tool == "mlflow" else folder
    home = tmp_path / "home"
    report = ingest([place], str(home), parse_mapping(text, "exported.toml"))
    assert report.n_lines_quarantined == 0
    found = {own_name(row): row for row in bronze(home, "runs")}
    points = [
        {**row, "run_id": own_name(row)} for row in bronze(home, "run_metrics")
    ]
    replays = [replay_of(records) for records in sweep]
    assert set(found) == {replay.run_id for replay in replays}
    configs = {}
    for replay in replays:
        row = found[replay.run_id]
        final = replay.points[-1][2]["eval_val_loss"]
        assert rounded(row["objective_value"]) == rounded(final)
        assert row["seed"] == replay.params["seed"]
        assert row["status"] == "finished"
        rate = replay.params["config.learning_rate"]
        batch = replay.params["config.batch_tokens"]
        key = (rounded(rate), batch, replay.params["fidelity.params"])
        configs.setdefault(key, set()).add(
            (row["config_id"], row["experiment_id"])
        )
        curve = {}
        for point in points:
            if (point["run_id"], point["metric"]) == (
                replay.run_id,
                "train_loss",
            ):
                curve[point["step"]] = rounded(point["value"])
        wanted = {}
        for step, _, values in replay.points:
            if math.isfinite(values.get("train_loss", math.nan)):
                wanted[step] = rounded(values["train_loss"])
        assert curve == wanted and len(wanted) > 5
    assert all(len(ids) == 1 for ids in configs.values())


def test_export__of_every_tool__has_one_experiment_and_configuration_id(
    sweep, tmp_path
):
    ids = set()
    for tool, (file_format, key, prefix, result) in TOOLS.items():
        if any(importlib.util.find_spec(name) is None for name in NEEDS[tool]):
            pytest.skip(f"{NEEDS[tool][0]} is not installed (extra exports)")
        (folder,) = export(sweep[:1], [tool], tmp_path / tool)
        text = MAPPING.format(
            format=file_format, key=key, prefix=prefix, result=result
        )
        place = folder / "mlflow.db" if tool == "mlflow" else folder
        ingest(
            [place],
            str(tmp_path / f"{tool}-home"),
            parse_mapping(text, "e.toml"),
        )
        (row,) = bronze(tmp_path / f"{tool}-home", "runs")
        ids.add((row["config_id"], row["experiment_id"], row["fidelity_json"]))
    assert len(ids) == 1
