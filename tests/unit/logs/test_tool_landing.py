"""Logs that other tools wrote, landed: what only shows between reader and bronze."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autollm.core.mappings.mapping import parse_mapping
from autollm.logs.landing import ingest
from autollm.logs.proposals import propose
from autollm.logs.readers.tools.addresses import local_path
from tests.unit.logs.readers.opened import FIXTURES
from tests.unit.logs.readers.test_wandb_api import project_of
from tests.unit.logs.readers.wandb_stub import KEY, serving

MAPPING = """
schema = "autollm.mapping/1"
source = "{source}"
family = "pretraining"
format = "{format}"
files = ["*"]
[run_key]
columns = ["{key}"]
{state}
[[knobs]]
name = "lr"
column = "{lr}"
scale = "log"
[[fidelity]]
name = "one"
column = "one"
[[derived]]
name = "one"
value = "1"
[objective]
name = "loss"
column = "{loss}"
direction = "min"
[cost]
flops = "one"
"""


def landed(home, path, **names):
    """Rows of bronze after landing a path with a mapping."""
    text = MAPPING.format(state=names.pop("state", ""), **names)
    report = ingest([path], str(home), parse_mapping(text, "m.toml"))
    rows = []
    for file in sorted(home.glob("bronze/batches/*/runs.parquet")):
        rows += pq.read_table(file).to_pylist()
    return report, {row["run_id"]: row for row in rows}


def test_landing__folders_of_one_name__are_runs_of_their_own(tmp_path):
    for sweep in ("a", "b"):
        folder = tmp_path / "logs" / sweep / "version_0"
        folder.mkdir(parents=True)
        rows = "".join(f"{i},{3 - i / 10}\n" for i in range(5))
        (folder / "metrics.csv").write_text("step,loss\n" + rows)
        (folder / "hparams.yaml").write_text(
            f"lr: {0.1 if sweep == 'a' else 0.2}\n"
        )
    _, runs = landed(
        tmp_path / "home",
        tmp_path / "logs",
        source="s",
        format="lightning",
        key="run",
        lr="hparams.lr",
        loss="metrics.loss",
    )
    assert {name: row["config_json"] for name, row in runs.items()} == {
        "a/version_0": '{"lr":0.1}',
        "b/version_0": '{"lr":0.2}',
    }


def test_landing__dictionaries_as_text_in_a_table__are_columns(tmp_path):
    table = tmp_path / "project.csv"
    table.write_text(
        ",summary,config,name\n"
        "0,\"{'val/loss': 3.2}\",\"{'lr': 0.001}\",a\n"
        "1,\"{'val/loss': 3.1}\",\"{'lr': 0.002}\",b\n"
        "2,\"{'val/loss': 3.0}\",\"{'lr': 0.0\",c\n"
    )
    report, runs = landed(
        tmp_path / "home",
        table,
        source="s",
        format="csv",
        key="name",
        lr="config.lr",
        loss="summary.val/loss",
    )
    assert {name: row["objective_value"] for name, row in runs.items()} == {
        "a": 3.2,
        "b": 3.1,
    }
    assert (report.n_lines, report.n_lines_quarantined) == (4, 1)


def test_landing__a_sweep_of_wandb__has_states_curves_and_one_resumed_run(
    tmp_path,
):
    _, runs = landed(
        tmp_path / "home",
        FIXTURES / "wandb",
        source="s",
        format="wandb-offline",
        key="run_id",
        lr="config.optimizer.lr",
        loss="summary.val.loss",
        state='[state]\ncolumn = "state"',
    )
    assert {name: row["status"] for name, row in runs.items()} == {
        "finished1": "finished",
        "failed1": "failed",
        "resumed1": "finished",
    }
    files = (tmp_path / "home").glob("bronze/batches/*/run_metrics.parquet")
    points = [row for file in files for row in pq.read_table(file).to_pylist()]
    resumed = [p for p in points if p["run_id"] == "resumed1"]
    steps = [p["step"] for p in resumed if p["metric"] == "train/loss"]
    assert sorted(steps) == [0, 10, 20, 30, 30, 40, 40, 50, 60, 70]


def test_landing__a_project_by_its_address__grows_with_it(
    tmp_path, monkeypatch
):
    project = project_of(n_rows=5)
    with serving(project) as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        names = {
            "source": "s",
            "format": "wandb-api",
            "key": "run_id",
            "lr": "config.lr",
            "loss": "summary.val.loss",
            "state": '[state]\ncolumn = "state"',
        }
        place = local_path("wandb:team/sweep", tmp_path / "fetched")
        _, runs = landed(tmp_path / "home", place, **names)
        assert runs["short"]["status"] == "running"
        project.runs["short"][0]["state"] = "finished"
        place = local_path("wandb:team/sweep", tmp_path / "fetched")
        report, _ = landed(tmp_path / "home", place, **names)
    assert report.n_files_new == 1
    rows = [
        row
        for row in newest_runs(tmp_path / "home")
        if row["run_id"] == "short"
    ]
    assert [row["status"] for row in rows] == ["finished"]


def newest_runs(home):
    """Rows of bronze of which no newer reading is there."""
    rows = {}
    for file in home.glob("bronze/batches/*/runs.parquet"):
        for row in pq.read_table(file).to_pylist():
            known = rows.get(row["run_id"])
            if known is None or row["file_version"] > known["file_version"]:
                rows[row["run_id"]] = row
    return list(rows.values())


@pytest.mark.parametrize("file_format", ["jsonl", "parquet"])
def test_landing__runs_exported_with_nested_settings__are_columns(
    tmp_path, file_format
):
    rows = []
    for name, lr, state in (("a", 0.1, "finished"), ("b", 0.2, "crashed")):
        config = {"optimizer": {"lr": lr}, "seed": 1}
        summary = {"val": {"loss": 3 - lr}, "_runtime": 12.5}
        rows.append(
            {"name": name, "state": state, "config": config, "summary": summary}
        )
    path = tmp_path / f"runs.{file_format}"
    if file_format == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, runs = landed(
        tmp_path / "home",
        path,
        source="s",
        format=file_format,
        key="name",
        lr="config.optimizer.lr",
        loss="summary.val.loss",
        state='[state]\ncolumn = "state"',
    )
    told = {
        name: (row["status"], row["config_json"]) for name, row in runs.items()
    }
    assert told == {
        "a": ("finished", '{"lr":0.1}'),
        "b": ("failed", '{"lr":0.2}'),
    }


def test_proposal__optuna_says_its_direction__nobody_is_asked():
    found = propose(FIXTURES / "optuna" / "journal.log")
    assert found.mapping.objective.direction == "min"
    assert not [q for q in found.questions if q.code == "direction-unknown"]
