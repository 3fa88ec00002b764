import json
import math

import pytest

from autollm.core.errors import RecordError
from autollm.core.statuses import status_of
from autollm.logs.readers.documents import parse_config
from autollm.logs.readers.paths import run_of_checkpoint
from autollm.logs.readers.run_folders import (
    HydraJobReader,
    JobFolderReader,
    LightningFolderReader,
    TextLogFolderReader,
)
from autollm.logs.readers.tools.ray_tune import RayTuneReader
from autollm.logs.readers.tools.tensorboard import TensorboardFolderReader
from autollm.logs.readers.tools.trainer_state import (
    TrainerFolderReader,
    TrainerStateReader,
)
from autollm.logs.relation import OpenedFolder
from tests.unit.logs.readers.opened import (
    FIXTURES,
    Opened,
    curve_of,
    opened_folder,
    read_file,
    read_folder,
    runs_of,
)


def one_run(relation):
    (row,) = relation.runs.to_pylist()
    return row


def test_trainer_folder__finished_run__has_arguments_configuration_and_history():
    relation = read_folder(
        TrainerFolderReader(), FIXTURES / "transformers" / "finished"
    )
    row = one_run(relation)
    assert (row["run"], row["state"], row["last_step"]) == (
        "finished",
        "finished",
        8,
    )
    assert (row["args.learning_rate"], row["config.n_layer"]) == (0.001, 1)
    assert relation.roles["args.learning_rate"] == "setting"
    assert relation.roles["metrics.eval_loss"] == "result"
    assert relation.roles["metrics.learning_rate"] == "measured"
    assert relation.roles["total_flos"] == "cost"
    steps = [step for step, _ in curve_of(relation, "finished", "loss")]
    assert steps == [2, 4, 6, 8]
    assert [s for s, _ in curve_of(relation, "finished", "eval_loss")] == [4, 8]


def test_trainer_folder__resumed_run__is_the_state_that_got_furthest():
    folder = FIXTURES / "transformers" / "resumed"
    relation = read_folder(TrainerFolderReader(), folder)
    row = one_run(relation)
    assert (row["last_step"], row["_file"]) == (12, "trainer_state.json")
    steps = [step for step, _ in curve_of(relation, "resumed", "loss")]
    assert steps == [2, 4, 6, 8, 10, 12]


def test_trainer_folder__only_checkpoints__reads_the_last_one_and_is_running():
    folder = FIXTURES / "transformers" / "resumed"
    whole = opened_folder(TrainerFolderReader(), folder)
    paths = [
        "checkpoint-4/trainer_state.json",
        "checkpoint-8/trainer_state.json",
    ]
    files = {path: whole.files[path] for path in paths}
    (relation,) = TrainerFolderReader().read(OpenedFolder("resumed", files))
    row = one_run(relation)
    assert (row["last_step"], row["state"]) == (8, "running")


def test_trainer_folder__trl__reads_its_tokens():
    relation = read_folder(
        TrainerFolderReader(), FIXTURES / "transformers" / "trl-sft"
    )
    assert relation.points["tokens"][0].as_py() == 64.0
    assert one_run(relation)["state"] == "finished"


@pytest.mark.parametrize(
    "path, trunk",
    [
        ("out/trunk-run/checkpoint-400", "trunk-run"),
        ("out/annealed/checkpoint-4", None),
        (None, None),
    ],
)
def test_trainer_folder__begun_from_another_run__is_of_its_lineage(path, trunk):
    state = b'{"global_step": 1, "max_steps": 1, "log_history": [{"step":1,"loss":2}]}'
    args = json.dumps({"resume_from_checkpoint": path}).encode()
    files = {
        "trainer_state.json": Opened("trainer_state.json", state),
        "training_args.json": Opened("training_args.json", args),
    }
    (relation,) = TrainerFolderReader().read(OpenedFolder("annealed", files))
    assert one_run(relation).get("trunk") == trunk


@pytest.mark.parametrize(
    "path, run",
    [
        ("/ckpt/base/iter_0001000", "base"),
        ("runs/base/checkpoints/step-100.ckpt", "base"),
        ("base", "base"),
        ("checkpoint-3", ""),
    ],
)
def test_run_of_checkpoint__paths_of_tools__name_the_run(path, run):
    assert run_of_checkpoint(path) == run


def test_trainer_folder__pickles__are_not_claimed():
    listing = [
        "checkpoint-4/optimizer.pt",
        "trainer_state.json",
        "training_args.bin",
    ]
    assert TrainerFolderReader().matches_folder(listing) == (
        "trainer_state.json",
    )


def test_trainer_state__nan_in_json__is_a_point(tmp_path):
    path = tmp_path / "trainer_state.json"
    path.write_text(
        '{"global_step": 12, "max_steps": 12, "log_history": [{"step": 4, "loss": 2.3},'
        ' {"step": 12, "eval_loss": NaN}]}'
    )
    relation = read_file(TrainerStateReader(), path)
    assert math.isnan(one_run(relation)["metrics.eval_loss"])
    assert one_run(relation)["metrics.loss"] == 2.3


@pytest.mark.parametrize(("step", "state"), [(97, "finished"), (50, "running")])
def test_trainer_state__last_checkpoint__ends_a_run_near_its_plan(
    tmp_path, step, state
):
    path = tmp_path / "trainer_state.json"
    history = [{"step": step, "loss": 2.3}]
    told = {"global_step": step, "max_steps": 100, "log_history": history}
    path.write_text(json.dumps(told))
    row = one_run(read_file(TrainerStateReader(), path))
    assert row["state"] == state


def test_trainer_folder__unreadable_configuration__costs_itself():
    state = b'{"global_step": 1, "max_steps": 1, "log_history": [{"step":1,"loss":2}]}'
    files = {
        "trainer_state.json": Opened("trainer_state.json", state),
        "config.json": Opened("config.json", b'{"a": 1,\n "a": 2}'),
    }
    (relation,) = TrainerFolderReader().read(OpenedFolder("r", files))
    assert one_run(relation)["metrics.loss"] == 2.0
    assert [(b.file, b.n_lines) for b in relation.bad] == [("config.json", 2)]
    assert relation.n_lines == 3


def test_lightning_folder__uneven_metrics__are_points_where_they_are_filled():
    folder = FIXTURES / "lightning" / "sweep" / "version_1"
    relation = read_folder(LightningFolderReader(), folder, "sweep/version_1")
    row = one_run(relation)
    assert (row["run"], row["hparams.lr"]) == ("sweep/version_1", 0.1)
    assert (
        row["hparams.betas"] == "[0.9,0.95]"
    )  # a tag of Python's own: plain data
    steps = [
        step for step, _ in curve_of(relation, row["run"], "train_loss_step")
    ]
    assert steps == [1, 3, 5, 7]
    assert [s for s, _ in curve_of(relation, row["run"], "val_loss")] == [3, 7]


def test_ray_sweep__states__are_those_of_the_experiment():
    relation = read_folder(RayTuneReader(), FIXTURES / "ray" / "sweep")
    rows = relation.runs.to_pylist()
    by_lr = {row["config.lr"]: row for row in rows}
    states = {lr: status_of(row["state"]) for lr, row in by_lr.items()}
    assert states == {0.001: "finished", 0.01: "finished", 0.1: "failed"}
    row = by_lr[0.01]
    assert row["metrics.eval/loss"] == pytest.approx(2.71)
    assert (row["config.model.layers"], row["config.model.name"]) == (8, None)
    steps = [step for step, _ in curve_of(relation, row["run"], "loss")]
    assert steps == [1, 2, 3, 4]


def test_ray_trial__without_the_experiment__is_running_or_failed():
    states = {}
    for folder in (FIXTURES / "ray" / "sweep").iterdir():
        if folder.is_dir():
            row = one_run(read_folder(RayTuneReader(), folder))
            states[row["config.lr"]] = row["state"]
    assert states == {0.001: "RUNNING", 0.01: "RUNNING", 0.1: "ERROR"}


def test_ray_trial__headerless_progress__yields_to_result_json():
    progress = Opened("progress.csv", b"3.3,1,12.5,False,36656_00000,0.0001\n")
    result = Opened(
        "result.json",
        b'{"loss": 3.3, "training_iteration": 1, "done": true, "trial_id": "x"}\n',
    )
    params = Opened("params.json", b'{"lr": 0.1}')
    files = {
        "params.json": params,
        "progress.csv": progress,
        "result.json": result,
    }
    (relation,) = RayTuneReader().read(OpenedFolder("t", files))
    assert one_run(relation)["state"] == "TERMINATED"
    del files["result.json"]
    with pytest.raises(RecordError, match="is a curve"):
        list(RayTuneReader().read(OpenedFolder("t", files)))


def test_hydra_job__settings_overrides_history_and_results__are_one_run():
    folder = FIXTURES / "hydra" / "multirun" / "2"
    relation = read_folder(HydraJobReader(), folder, "multirun/2")
    row = one_run(relation)
    assert (row["run"], row["config.optimizer.lr"]) == ("multirun/2", 0.004)
    assert row["overrides"] == "optimizer.lr=0.004, model.width=64"
    assert relation.roles["overrides"] == "label"
    assert row["metrics.val_loss"] == pytest.approx(2.704)
    assert [s for s, _ in curve_of(relation, row["run"], "val/loss")] == [0, 20]


def test_hydra_job__no_metrics__is_a_run_of_settings_alone():
    files = {".hydra/config.yaml": Opened(".hydra/config.yaml", b"lr: 1e-4\n")}
    (relation,) = HydraJobReader().read(OpenedFolder("multirun/0", files))
    assert one_run(relation)["config.lr"] == 1e-4


def test_tensorboard__hparams__are_settings():
    folder = FIXTURES / "tensorboard" / "lr-0.01"
    relation = read_folder(TensorboardFolderReader(), folder, "runs/lr-0.01")
    row = one_run(relation)
    assert row["run"] == "runs/lr-0.01"
    assert (row["hparams.lr"], row["hparams.optimizer"]) == (0.01, "adamw")
    assert "state" not in row
    losses = curve_of(relation, row["run"], "loss/train")
    assert losses[1] == (10, pytest.approx(2.91))
    assert relation.points["wall_time_s"][1].as_py() == 10.0


def test_tensorboard__tensors_in_a_folder_of_keras__are_one_run():
    relation = read_folder(
        TensorboardFolderReader(), FIXTURES / "tensorboard" / "keras"
    )
    assert curve_of(relation, "keras", "train/epoch_loss") == [
        (0, 2.0),
        (1, 1.5),
        (2, 1.0),
    ]


def test_tensorboard__a_second_file_that_goes_back__is_a_restart():
    relation = read_folder(
        TensorboardFolderReader(), FIXTURES / "tensorboard" / "resumed"
    )
    steps = [step for step, _ in curve_of(relation, "resumed", "loss/train")]
    assert steps == [0, 10, 20, 30, 20, 30, 40, 50]
    assert any("restarted" in note for note in relation.notes)


def test_tensorboard__a_flipped_bit__costs_one_record():
    folder = FIXTURES / "tensorboard" / "keras"
    whole = opened_folder(TensorboardFolderReader(), folder)
    ((path, file),) = whole.files.items()
    data = bytearray(file.data)
    data[file.data.index(b"epoch_loss")] ^= 4
    damaged = OpenedFolder("keras", {path: Opened(path, bytes(data))})
    (relation,) = TensorboardFolderReader().read(damaged)
    assert [bad.reason for bad in relation.bad] == [
        "a record whose checksum is wrong"
    ]
    assert relation.n_lines == 4


def test_text_folder__nanogpt_beside_its_configuration__is_one_run():
    relation = read_folder(
        TextLogFolderReader(), FIXTURES / "text_logs" / "nanogpt-run"
    )
    row = one_run(relation)
    assert (row["config.n_layer"], row["args.learning_rate"]) == (12, "0.0006")
    assert row["args.tokens_per_iteration"] == 491_520
    assert curve_of(relation, "nanogpt-run", "val/loss") == [
        (0, 10.9885),
        (1000, 3.9451),
    ]


def test_text_folder__two_logs_beside_one_configuration__are_two_runs():
    text = b"step 0: train loss 3.0, val loss 3.1\n"
    files = {
        "config.yaml": Opened("config.yaml", b"depth: 4\n"),
        "a.log": Opened("a.log", text),
        "b.log": Opened("b.log", text),
    }
    (relation,) = TextLogFolderReader().read(OpenedFolder("sweep", files))
    assert list(runs_of(relation)) == ["sweep/a", "sweep/b"]


def test_plain_folder__configuration_and_metrics__are_one_run():
    files = {
        "config.toml": Opened("config.toml", b"[optimizer]\nlr = 1e-3\n"),
        "history.jsonl": Opened(
            "history.jsonl",
            b'{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.5}\n',
        ),
        "results.json": Opened("results.json", b'{"test": {"acc": 0.5}}'),
    }
    reader = JobFolderReader()
    assert set(reader.matches_folder(sorted(files))) == set(files)
    assert reader.matches_folder(["config.toml", "readme.md"]) == ()
    assert reader.matches_folder(["config.toml", "results.csv"]) == ()
    (relation,) = reader.read(OpenedFolder("sweep/a", files))
    row = one_run(relation)
    assert (row["run"], row["config.optimizer.lr"]) == ("sweep/a", 1e-3)
    assert (row["metrics.loss"], row["metrics.test.acc"]) == (2.5, 0.5)
    assert curve_of(relation, "sweep/a", "loss") == [(1, 3.0), (2, 2.5)]


@pytest.mark.parametrize(
    "name, data",
    [
        ("c.json", b'{"lr": 0.1, "m": {"d": 2}}'),
        ("c.yaml", b"lr: 1e-1\nm:\n  d: 2\n"),
        ("c.toml", b"lr = 0.1\n[m]\nd = 2\n"),
        ("c.py", b"import os\nlr = 0.1\nm = dict(d=2)\nm = {'d': 2}\n"),
    ],
)
def test_parse_config__every_suffix__is_plain_settings(name, data):
    assert parse_config(data, name) == {"lr": 0.1, "m": {"d": 2}}


def test_trainer_state__without_arguments__has_the_highest_logged_rate():
    rows = [
        {"step": step, "loss": 2.0, "learning_rate": 1e-4 * (1 - step / 100)}
        for step in (10, 50, 100)
    ]
    state = {"log_history": rows, "global_step": 100, "max_steps": 100}
    opened = Opened("trainer_state.json", json.dumps(state).encode())
    (relation,) = TrainerStateReader().read(opened)
    (row,) = relation.runs.to_pylist()
    assert row["peak_learning_rate"] == pytest.approx(9e-5)
    assert relation.roles["peak_learning_rate"] == "setting"
    assert "highest learning rate" in " ".join(relation.notes)
