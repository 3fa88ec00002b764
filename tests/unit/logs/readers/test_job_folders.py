"""Run folders of no tool's own: which files make a run, and what becomes of each."""

import json
import struct

import pytest

from autollm.logs.opening.found import find_files
from autollm.logs.opening.run_folders import claimed_folders
from autollm.logs.readers import folder_readers
from autollm.logs.readers.run_folders import (
    BareCurveReader,
    JobFolderReader,
    TextLogFolderReader,
)
from autollm.logs.readers.tools.tensorboard import (
    TensorboardFolderReader,
    _crc_table,
    events_of,
)
from autollm.logs.readers.tools.trainer_state import TrainerFolderReader
from autollm.logs.readers.tools.wandb_offline import WandbFolderReader
from tests.unit.logs.raw_logs import write
from tests.unit.logs.readers.opened import curve_of, read_folder, runs_of
from tests.unit.logs.readers.wandb_files import framed as framed_run
from tests.unit.logs.readers.wandb_files import run_record

CURVE = "".join(
    json.dumps({"step": at, "loss": 3 - at / 10}) + "\n" for at in range(1, 5)
).encode()
PRINTED = b"".join(
    b"step=%d loss=%.2f\n" % (at, 3 - at / 10) for at in (1, 2, 3)
)


def masked_crc(data):
    """The checksum of TFRecord's framing, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = int(_crc_table()[(crc ^ byte) & 0xFF]) ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def framed(record):
    head = struct.pack("<Q", len(record))
    parts = (head, record)
    sums = [struct.pack("<I", masked_crc(part)) for part in parts]
    return head + sums[0] + record + sums[1]


def events(tag, *values):
    """An event file of scalars at the steps 1, 2 ..."""
    out = framed(b"\x09" + struct.pack("<d", 1.0) + b"\x1a\x0dbrain.Event:2")
    for step, value in enumerate(values, start=1):
        inner = b"\x0a" + bytes([len(tag)]) + tag.encode()
        inner += b"\x15" + struct.pack("<f", value)
        summary = b"\x0a" + bytes([len(inner)]) + inner
        event = b"\x09" + struct.pack("<d", float(step))
        event += b"\x10" + bytes([step]) + b"\x2a" + bytes([len(summary)])
        out += framed(event + summary)
    return out


def claims_of(folder):
    """Format and files of each run folder below."""
    found, _ = find_files(str(folder))
    claimed = claimed_folders(found, folder_readers())
    return [(claim.format, sorted(claim.files)) for claim in claimed]


@pytest.mark.parametrize("inner", ["", "tb/"])
def test_event_files__a_configuration_beside_or_above__is_their_runs(
    tmp_path, inner
):
    for split, value in (("train", 2.5), ("val", 2.75)):
        path = f"{inner}{split}/events.out.tfevents.1"
        write(tmp_path / "trial", path, events("loss", 4.0, value))
    write(tmp_path / "trial", "config.json", b'{"lr": 0.002}')
    (claim,) = claims_of(tmp_path)
    assert claim[0] == "run-folder" and len(claim[1]) == 3
    relation = read_folder(JobFolderReader(), tmp_path / "trial")
    row = runs_of(relation)["trial"]
    assert row["config.lr"] == 0.002
    assert row["metrics.train/loss"] == 2.5
    assert row["metrics.val/loss"] == 2.75
    assert curve_of(relation, "trial", "val/loss") == [(1, 4.0), (2, 2.75)]
    assert not relation.bad


def test_event_files__of_several_runs_below__are_no_run_of_the_folder(tmp_path):
    for run in ("a", "b"):
        path = f"{run}/events.out.tfevents.1"
        write(tmp_path / "sweep", path, events("loss", 4.0))
    write(tmp_path / "sweep", "config.json", b'{"lr": 0.002}')
    formats = [file_format for file_format, _ in claims_of(tmp_path / "sweep")]
    assert formats == ["tensorboard", "tensorboard"]
    assert events_of(["a/x.tfevents", "b/x.tfevents"]) == []


def test_event_files__alone__have_no_second_reading(tmp_path):
    write(tmp_path, "events.out.tfevents.1", events("loss", 4.0, 3.5))
    relation = read_folder(TensorboardFolderReader(), tmp_path, "run")
    assert runs_of(relation)["run"]["metrics.loss"] == 3.5


@pytest.mark.parametrize(
    "curve", ["tracker_metrics.jsonl", "trainer_log.jsonl"]
)
def test_curve_of_any_name__beside_a_configuration__is_the_folders_run(
    tmp_path, curve
):
    for run in ("lev00", "lev01"):
        write(tmp_path / "runs" / run, curve, CURVE)
        write(tmp_path / "runs" / run, "config.yaml", b"lr: 0.002\n")
        write(
            tmp_path / "runs" / run, "all_results.json", b'{"eval_loss": 2.5}'
        )
    files = sorted([curve, "config.yaml", "all_results.json"])
    assert claims_of(tmp_path) == [("bare-curve", files)] * 2
    relation = read_folder(BareCurveReader(), tmp_path / "runs/lev01")
    row = runs_of(relation)["lev01"]
    assert (row["config.lr"], row["metrics.eval_loss"]) == (0.002, 2.5)
    assert len(curve_of(relation, "lev01", "loss")) == 4


def test_table_of_runs__beside_a_configuration__stays_a_table(tmp_path):
    rows = b"lr,loss\n0.1,3\n0.4,2\n0.2,4\n"
    write(tmp_path / "sweep", "runs.csv", rows)
    write(tmp_path / "sweep", "config.yaml", b"steps: 100\n")
    assert claims_of(tmp_path / "sweep") == []


@pytest.mark.parametrize("log", ["log.txt", "logs/log_1749000000.txt"])
def test_text_log__one_yaml_of_any_name__is_its_configuration(tmp_path, log):
    write(tmp_path / "r1", log, PRINTED)
    write(
        tmp_path / "r1", "torchtune_config.yaml", b"optimizer:\n  lr: 0.002\n"
    )
    relation = read_folder(TextLogFolderReader(), tmp_path / "r1")
    assert runs_of(relation)["r1"]["config.optimizer.lr"] == 0.002


def test_text_log__the_projects_own_toml__is_no_configuration(tmp_path):
    write(tmp_path / "project", "logs/first.txt", PRINTED)
    write(tmp_path / "project", "pyproject.toml", b"[project]\nname = 'x'\n")
    assert claims_of(tmp_path / "project") == []


def test_trainer_folder__adapter_in_the_last_checkpoint__is_a_setting(tmp_path):
    state = {"global_step": 10, "max_steps": 10}
    state["log_history"] = [{"step": 10, "eval_loss": 2.5}]
    for step, rank in ((5, 8), (10, 16)):
        folder = tmp_path / f"checkpoint-{step}"
        write(folder, "trainer_state.json", json.dumps(state).encode())
        write(folder, "adapter_config.json", json.dumps({"r": rank}).encode())
    (row,) = read_folder(TrainerFolderReader(), tmp_path).runs.to_pylist()
    assert row["adapter.r"] == 16


def test_wandb_folder__the_run_file_is_gone__is_what_its_files_say(tmp_path):
    files = "wandb/run-20250601_120000-x7/files"
    config = b"lr:\n  desc: null\n  value: 0.002\n_wandb:\n  value: {a: 1}\n"
    write(tmp_path, f"{files}/config.yaml", config)
    summary = {"val_loss": 2.5, "_step": 10, "_runtime": 7.5}
    write(tmp_path, f"{files}/wandb-summary.json", json.dumps(summary).encode())
    relation = read_folder(WandbFolderReader(), tmp_path)
    row = runs_of(relation)["x7"]
    assert (row["config.lr"], row["summary.val_loss"]) == (0.002, 2.5)
    assert (row["last_step"], row["runtime_s"], row["state"]) == (10, 7.5, None)
    assert not relation.notes and "config._wandb.a" not in row


def test_wandb_folder__its_console_and_copies__are_no_second_run(tmp_path):
    run = tmp_path / "wandb/offline-run-20250601_120000-x7"
    write(run, "run-x7.wandb", framed_run([run_record("x7")]))
    write(run, "files/config.yaml", b"lr:\n  value: 0.002\n")
    write(run, "files/wandb-summary.json", b'{"val_loss": 2.5}')
    write(run, "files/output.log", PRINTED)
    ((file_format, files),) = claims_of(tmp_path)
    assert file_format == "wandb-offline" and len(files) == 4
    relation = read_folder(WandbFolderReader(), tmp_path)
    assert list(runs_of(relation)) == ["x7"] and not relation.bad
