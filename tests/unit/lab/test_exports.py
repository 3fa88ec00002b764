"""Recorded runs through other tools' writers, read back by the tools' own readers and
compared with the raw log, number by number.
"""

import csv
import importlib.util
import json
import math

import numpy as np
import pytest

from autollm.cli import lab as cli
from autollm.core.errors import RecordError, SetupError, UnknownNameError
from autollm.core.records import RunEnd, RunHeader, RunStep, flat
from autollm.lab import exports
from autollm.lab.archive import read_runs, shipped
from autollm.lab.exports import export, replay_of

HEAD = RunHeader(
    "data_mixture-t1-0a1b2c3d4e5f",
    "lab-data_mixture",
    "data_mixture",
    {"mixture": {"code": 0.25, "prose": 0.75}},
    {"params": 11312.0, "tokens": 4096.0},
    1,
    model={"width": 16},
    data={"sha256": "ab"},
    created_at="2026-05-01T10:00:00+00:00",
)
ODD = [
    HEAD,
    RunStep(1, {"train_loss": 6.24123, "grad_norm": 0.1}, 512.0, 0.25),
    RunStep(4, {"train_loss": float("nan")}, 2048.0, 1.5),
    RunStep(8, {"train_loss": 123456.0, "clip_ratio": 1e-7}, 4096.0, 3.0),
    RunEnd(
        "diverged",
        {"writer_loss": float("nan"), "coder_loss": 7.125},
        {"flops": 1.0},
        "final loss above 6.238 nats or not finite",
    ),
]
"""Uneven metrics, a hole, steps that are not every one, a number that 32 bits cannot
hold.
"""
CUT = [
    RunHeader(
        "rl_tuning-s1-000000000000",
        "lab-rl_tuning",
        "rl_tuning",
        {"learning_rate": 2.0**-9},
        {"params": 1.0},
        0,
        model={"task": "sorting"},
    ),
    RunEnd("failed", {}, {"flops": 0.0}, "time limit"),
]


@pytest.fixture(scope="module")
def runs():
    recorded = read_runs(shipped("pretraining"))
    return [recorded["pretraining-a1-8795f312718c"], ODD, CUT]


def said(records):
    """(metric, step) -> value of a raw log, as the module's page says it is written."""
    steps = [r for r in records if isinstance(r, RunStep)]
    out = {
        (name, s.step): value
        for s in steps
        for name, value in {**s.metrics, "tokens": s.tokens}.items()
    }
    return out | {
        (f"eval_{name}", steps[-1].step): value
        for name, value in records[-1].final.items()
    }


def same(found, records, as_kept=lambda value: value):
    wanted = (
        {key: as_kept(value) for key, value in said(records).items()}
        if len(records) > 2
        else {}
    )
    assert found.keys() == wanted.keys()
    differ = {
        k: (found[k], wanted[k])
        for k in wanted
        if found[k] != wanted[k]
        and not (math.isnan(found[k]) and math.isnan(wanted[k]))
    }
    assert not differ


def test_trainer_state__read_by_transformers__equals_the_raw_log(
    runs, tmp_path
):
    from transformers import TrainerState

    (folder,) = export(runs, ["trainer-state"], tmp_path)
    for records in runs:
        replay = replay_of(records)
        state = TrainerState.load_from_json(
            str(
                folder
                / replay.run_id
                / f"checkpoint-{replay.last_step}"
                / "trainer_state.json"
            )
        )
        same(
            {
                (k, e["step"]): v
                for e in state.log_history
                for k, v in e.items()
                if k not in ("step", "epoch")
            },
            records,
        )
        assert (
            state.global_step == replay.last_step
            and state.trial_name == replay.run_id
            and state.trial_params == replay.params
        )


def test_mlflow__read_by_its_client__equals_the_raw_log(runs, tmp_path):
    from mlflow import MlflowClient

    (folder,) = export(runs, ["mlflow"], tmp_path)
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiments = {e.name: e.experiment_id for e in client.search_experiments()}
    for records in runs:
        (run,) = client.search_runs([experiments[records[0].source]])
        history = {
            name: client.get_metric_history(run.info.run_id, name)
            for name in run.data.metrics
        }
        same(
            {
                (m.key, m.step): m.value
                for points in history.values()
                for m in points
            },
            records,
        )
        assert run.info.run_name == records[0].run_id and run.info.status == (
            "FAILED" if records is CUT else "FINISHED"
        )
        assert (
            run.data.params["seed"] == str(records[0].seed)
            and run.data.tags["status"] == records[-1].status
        )
    (odd,) = client.search_runs([experiments["lab-data_mixture"]])
    assert (
        odd.data.params["config.mixture.code"] == "0.25"
        and odd.info.end_time - odd.info.start_time == 3000
    )
    assert [
        m.timestamp - odd.info.start_time
        for m in client.get_metric_history(odd.info.run_id, "train_loss")
    ] == [250, 1500, 3000]


def test_tensorboard__read_by_its_accumulator__equals_the_raw_log_to_32_bits(
    runs, tmp_path
):
    pytest.importorskip("tensorboard", reason="extra exports is not installed")
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator,
    )

    (folder,) = export(runs, ["tensorboard"], tmp_path)
    for records in runs:
        events = EventAccumulator(
            str(folder / records[0].run_id), size_guidance={"scalars": 0}
        ).Reload()
        same(
            {
                (tag, e.step): e.value
                for tag in events.Tags()["scalars"]
                for e in events.Scalars(tag)
            },
            records,
            lambda v: float(np.float32(v)),
        )
        (params,) = events.Tensors("params/text_summary")
        assert (
            json.loads(params.tensor_proto.string_val[0])
            == replay_of(records).params
        )


def wandb_messages(data):
    """Messages of a .wandb file: a LevelDB log behind seven bytes. wandb's own reader
    of it is compiled (wandb-core sync) and has no Python interface since its
    `DataStore` went; the messages are its own protobuf.
    """
    assert data[:4] == b":W&B"
    at, parts = 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = (
            int.from_bytes(data[at + 4 : at + 6], "little"),
            data[at + 6],
        )
        parts, at = parts + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def test_wandb__read_by_its_messages__equals_the_raw_log(runs, tmp_path):
    pytest.importorskip("wandb", reason="extra exports is not installed")
    from wandb.proto.wandb_internal_pb2 import Record

    (folder,) = export(runs, ["wandb"], tmp_path)
    for records in runs:
        (path,) = folder.glob(
            f"wandb/offline-run-*/run-{records[0].run_id}.wandb"
        )
        found, config, code = {}, {}, None
        for record in map(Record.FromString, wandb_messages(path.read_bytes())):
            assert record.run.host == "" and not record.HasField("environment")
            config |= {
                u.key: json.loads(u.value_json)
                for u in record.run.config.update
            }
            code = record.exit.exit_code if record.HasField("exit") else code
            items = {
                i.key or i.nested_key[0]: json.loads(i.value_json)
                for i in record.history.item
            }
            found |= {
                (k, items["_step"]): float(v)
                for k, v in items.items()
                if not k.startswith("_")
            }
        same(found, records)
        assert {k: config[k] for k in replay_of(records).params} == replay_of(
            records
        ).params and code == (records is CUT)


def test_export__package_absent__says_which_extra(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "autollm.core.extras.find_spec",
        lambda name: (
            None if name == "wandb" else importlib.util.find_spec(name)
        ),
    )
    with pytest.raises(SetupError, match=r"needs wandb.*'autollm\[exports\]'"):
        export(runs, ["trainer-state", "wandb"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_export__unknown_tool_and_folder_that_is_there__refused(runs, tmp_path):
    with pytest.raises(UnknownNameError, match="mlflow"):
        export(runs, ["mlfow"], tmp_path)
    export([CUT], ["trainer-state"], tmp_path)
    with pytest.raises(RecordError, match="--out"):
        export([CUT], ["trainer-state"], tmp_path)


def test_export__writer_that_dies__leaves_no_folder_and_may_be_repeated(
    runs, tmp_path, monkeypatch
):
    writer = exports.WRITERS["trainer-state"]

    def dying(replays, folder):
        writer(replays[:1], folder)
        raise KeyboardInterrupt

    monkeypatch.setitem(exports.WRITERS, "trainer-state", dying)
    with pytest.raises(KeyboardInterrupt):
        export([CUT, ODD], ["trainer-state"], tmp_path)
    assert not (tmp_path / "trainer-state").exists()
    monkeypatch.setitem(exports.WRITERS, "trainer-state", writer)
    (folder,) = export([ODD], ["trainer-state"], tmp_path)
    assert [p.name for p in folder.iterdir()] == [HEAD.run_id]


def test_replay__log_without_its_end__refused():
    with pytest.raises(RecordError, match="no end"):
        replay_of(ODD[:-1])


def test_command__sample_of_the_archive_and_unknown_run(tmp_path, capsys):
    cli.export(
        "pretraining",
        tools="trainer-state",
        run="",
        level="",
        sample=2,
        seed=0,
        here=None,
        out=tmp_path,
        home=None,
    )
    assert (
        len(list((tmp_path / "trainer-state").iterdir())) == 2
        and "2 runs" in capsys.readouterr().out
    )
    with pytest.raises(UnknownNameError, match="run"):
        cli.export(
            "pretraining",
            tools="mlflow",
            run="pretraining-a1-8795f312718d",
            level="",
            sample=2,
            seed=0,
            here=None,
            out=tmp_path,
            home=None,
        )


def test_csv__one_row_a_run__holds_settings_fidelity_and_outcome(
    runs, tmp_path
):
    (folder,) = export(runs, ["csv"], tmp_path)
    with (folder / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run_id"] for row in rows] == [
        records[0].run_id for records in runs
    ]
    for row, records in zip(rows, runs, strict=True):
        head, end = records[0], records[-1]
        assert row["status"] == end.status and int(row["seed"]) == head.seed
        for name, value in (flat(head.config) | flat(head.fidelity)).items():
            assert row[name] == str(value)
        for name, value in end.final.items():
            assert np.array_equal(float(row[name]), value, equal_nan=True)


def test_command__levels_by_name__exports_all_of_their_runs(tmp_path, capsys):
    cli.export(
        "pretraining",
        tools="csv",
        run="",
        level="a1,b1",
        sample=2,
        seed=0,
        here=None,
        out=tmp_path,
        home=None,
    )
    said = capsys.readouterr().out
    rows = (tmp_path / "csv" / "runs.csv").read_text().splitlines()[1:]
    assert {row.split("-")[1] for row in rows} == {"a1", "b1"}
    assert said.startswith(f"{len(rows)} runs: ")
