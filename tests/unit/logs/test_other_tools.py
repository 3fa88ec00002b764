"""Logs as tools write them, with the quirks that real ones have, written here by hand:
what lands of them.
"""

import json
import math

import pytest

from autollm.logs.proposals import propose
from autollm.logs.proposals.columns import columns_of
from autollm.logs.proposals.structure import switch_of
from autollm.logs.readers.json_records import JsonRecordsReader
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.tools.mlflow_runs import MlflowRun, add_mlflow_runs
from tests.unit.logs.proposals.tables import codes, knobs, proposed, roles
from tests.unit.logs.proposals.test_without_knobs import csv_of
from tests.unit.logs.readers.opened import Opened, curve_of, runs_of
from tests.unit.logs.test_other_shapes import guessed_and_landed

GRID = [(rate, batch) for rate in (0.0003, 0.001, 0.003) for batch in (32, 64)]


def ends_at(rate, batch):
    """The loss of a run of the grid."""
    bowl = 0.05 * math.log2(rate / 1e-3) ** 2
    return round(2.5 + bowl + 0.02 * math.log2(batch / 64) ** 2, 4)


def history(rate, batch, n_points=8):
    """Steps and losses of a run of the grid."""
    end = ends_at(rate, batch)
    points = []
    for at in range(1, n_points + 1):
        points.append((100 * at, round(end + 3 * math.exp(-at) - 3e-3, 4)))
    return points


def write_text(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def steps_csv(rate, batch, column="val_loss"):
    rows = [{"step": s, column: v} for s, v in history(rate, batch)]
    return csv_of(rows).decode()


def landed(root, tmp_path):
    guesses, report, runs = guessed_and_landed(root, tmp_path / "home")
    assert [guess.problem for guess in guesses] == [""], guesses
    return guesses[0].proposal, report, runs


def configs_of(runs):
    """Configurations, each knob by the last word of its name."""
    found = []
    for run in runs:
        config = json.loads(run["config_json"])
        pairs = [(k.rsplit("_", 1)[-1], v) for k, v in config.items()]
        found.append(sorted(pairs))
    return sorted(found)


def test_hydra__multirun__three_levels_of_folders_name_each_run(tmp_path):
    root = tmp_path / "multirun"
    for day in ("2026-11-27", "2026-11-28"):
        for job, (rate, batch) in enumerate(GRID):
            folder = f"{day}/12-00-00/{job}"
            config = f"optim:\n  lr: {rate}\nbs: {batch}\nout: ${{x:y}}\n"
            write_text(root, f"{folder}/.hydra/config.yaml", config)
            text = steps_csv(rate, batch)
            text += f"900,{ends_at(rate, batch) + (day > '2026-11-27') / 100}\n"
            write_text(root, f"{folder}/metrics.csv", text)
    found, _, runs = landed(root, tmp_path)
    assert len({run["run_id"] for run in runs}) == 12
    assert found.summary.best["configuration"] == {
        "config_optim_lr": 0.001,
        "config_bs": 64,
    }


def test_hydra__job_without_results__failed(tmp_path):
    root = tmp_path / "outputs"
    for job, (rate, batch) in enumerate(GRID):
        folder = f"{job}"
        config = f"lr: {rate}\nbs: {batch}\n"
        write_text(root, f"{folder}/.hydra/config.yaml", config)
        if job != 2:
            results = {"loss": ends_at(rate, batch), "status": "done"}
            write_text(root, f"{folder}/results.json", json.dumps(results))
    found, report, runs = landed(root, tmp_path)
    assert found.mapping.state.words == {"": "failed"}
    assert sorted(run["status"] for run in runs) == [
        "failed",
        *["finished"] * 5,
    ]
    assert report.n_lines_quarantined == 0


def test_lightning__empty_hparams__settings_stand_in_the_folders_names(
    tmp_path,
):
    root = tmp_path / "logs"
    for rate, batch in GRID:
        folder = f"lr{rate:g}_bs{batch}/version_0"
        write_text(root, f"{folder}/hparams.yaml", "{}\n")
        write_text(root, f"{folder}/metrics.csv", steps_csv(rate, batch))
    found, _, runs = landed(root, tmp_path)
    assert found.summary.knobs.keys() == {"lr", "batch_size"}
    assert len(runs) == 6 and found.summary.best["configuration"] == {
        "lr": 0.001,
        "batch_size": 64,
    }


def trainer_state(rate, batch, n_points=8):
    log = []
    for step, value in history(rate, batch, n_points):
        decayed = rate * (1 - step / 900)
        log.append({"loss": value, "learning_rate": decayed, "step": step})
        log.append({"eval_loss": value, "eval_runtime": 3.2, "step": step})
    return json.dumps(
        {
            "global_step": log[-1]["step"],
            "max_steps": 800,
            "log_history": log,
            "train_batch_size": batch,
        }
    )


def test_trainer__rate_in_the_names__is_read_rather_than_its_logged_peak(
    tmp_path,
):
    root = tmp_path / "runs"
    for rate, batch in GRID:
        folder = f"gpt2-lr{rate:g}-bs{batch}"
        write_text(
            root, f"{folder}/trainer_state.json", trainer_state(rate, batch)
        )
    found, _, runs = landed(root, tmp_path)
    assert sorted(found.summary.knobs["lr"]) == [0.0003, 0.001, 0.003]
    assert "peak_learning_rate" not in found.summary.knobs
    assert len(runs) == 6


def test_trainer__interrupted_run__is_running_and_no_outcome(tmp_path):
    root = tmp_path / "runs"
    for i, (rate, batch) in enumerate(GRID):
        state = trainer_state(rate, batch, 3 if i == 0 else 8)
        write_text(root, f"r-lr{rate:g}-bs{batch}/trainer_state.json", state)
    _, _, runs = landed(root, tmp_path)
    assert sorted(run["status"] for run in runs) == [
        *["finished"] * 5,
        "running",
    ]
    assert sum(run["is_outcome"] for run in runs) == 5


def mlflow_store(root, runs):
    """A file store: (run, params, metric points, status, tags) each."""
    meta = "experiment_id: '1'\nlifecycle_stage: active\nname: sweep\n"
    write_text(root, "mlruns/1/meta.yaml", meta)
    for run, params, points, status, tags in runs:
        folder = f"mlruns/1/{run}"
        meta = (
            f"run_id: {run}\nrun_uuid: {run}\nlifecycle_stage: active\n"
            f"start_time: 1700000000000\nend_time: 1700000060000\nstatus: {status}\n"
        )
        write_text(root, f"{folder}/meta.yaml", meta)
        for name, value in params.items():
            write_text(root, f"{folder}/params/{name}", str(value))
        for name, value in tags.items():
            write_text(root, f"{folder}/tags/{name}", value)
        lines = [f"{1700000000000 + s} {v} {s}\n" for s, v in points]
        if lines:
            write_text(root, f"{folder}/metrics/val loss", "".join(lines))


def test_mlflow__states_of_a_sweep__are_statuses(tmp_path):
    states = (3, 4, 5, 1, 3, 3)
    runs = []
    for i, (rate, batch) in enumerate(GRID):
        params = {"lr": f"{rate:.0e}", "bs": batch}
        runs.append((f"{i:032x}", params, history(rate, batch), states[i], {}))
    mlflow_store(tmp_path / "s", runs)
    _, _, found = landed(tmp_path / "s", tmp_path)
    assert [
        run["status"] for run in sorted(found, key=lambda r: r["run_id"])
    ] == [
        "finished",
        "failed",
        "killed",
        "running",
        "finished",
        "finished",
    ]


def test_mlflow__parent_of_a_sweep__is_no_run(tmp_path):
    parent = "f" * 32
    runs = [(parent, {"search": "grid"}, [], 3, {})]
    for i, (rate, batch) in enumerate(GRID):
        tags = {"mlflow.parentRunId": parent}
        params = {"lr": rate, "bs": batch}
        runs.append((f"{i:032x}", params, history(rate, batch), 3, tags))
    mlflow_store(tmp_path / "s", runs)
    found, _, rows = landed(tmp_path / "s", tmp_path)
    assert len(rows) == 6 and knobs(found).keys() == {"params_lr", "params_bs"}
    assert any("1 parent runs" in note.text for note in found.notes)


def test_mlflow__parent_with_a_metric__is_a_run_as_well():
    builder = RelationBuilder("mlflow", "run_id")
    parent = MlflowRun("p", metrics={"loss": 3.0})
    child = MlflowRun("c", tags={"mlflow.parentRunId": "p"})
    add_mlflow_runs(builder, [parent, child], "x")
    assert set(runs_of(builder.relation())) == {"p", "c"}


def ray_trial(root, name, config, points, with_params=True):
    rows = []
    for at, (_, value) in enumerate(points, start=1):
        row = {
            "loss": value,
            "training_iteration": at,
            "time_total_s": at * 1.5,
        }
        row |= {"trial_id": name, "done": at == len(points), "pid": 7}
        rows.append(row | {f"config/{k}": v for k, v in config.items()})
    write_text(root, f"{name}/progress.csv", csv_of(rows).decode())
    if with_params:
        write_text(root, f"{name}/params.json", json.dumps(config))


@pytest.mark.parametrize("with_params", [True, False])
def test_ray__progress_alone__has_settings_once(tmp_path, with_params):
    root = tmp_path / "exp"
    for i, (rate, batch) in enumerate(GRID):
        config = {"lr": rate, "bs": batch}
        ray_trial(
            root, f"train_a{i}", config, history(rate, batch), with_params
        )
    found, _, runs = landed(root, tmp_path)
    assert configs_of(runs) == configs_of(
        [{"config_json": json.dumps({"lr": r, "bs": b})} for r, b in GRID]
    )
    assert found.summary.ladder[0]["fidelity"] == {"steps": 8}


def test_switch_of__rate_that_was_drawn__decides_nothing():
    """Sixteen trials with a rate each: any setting that is absent in some of them exists
    'under' the rates of the others.
    """
    rates = [10 ** -(2 + i / 16) for i in range(16)]
    momentum = [0.9 if i % 3 else None for i in range(16)]
    kinds = ["sgd" if i % 3 else "adam" for i in range(16)]
    found = columns_of({"lr": rates, "momentum": momentum, "opt": kinds})
    assert switch_of(found["momentum"], [found["lr"]]) is None
    switch = switch_of(found["momentum"], [found["lr"], found["opt"]])
    assert switch is not None and switch[0].name.raw == "opt"


def test_switch_of__a_word_and_a_number__the_word_decides():
    columns = columns_of(
        {
            "layers": [1, 2] * 4,
            "opt": ["sgd", "adam"] * 4,
            "momentum": [0.9, None] * 4,
        }
    )
    candidates = [columns["layers"], columns["opt"]]
    switch = switch_of(columns["momentum"], candidates)
    assert switch is not None and switch[0].name.raw == "opt"


def test_propose__random_search_with_an_optional_setting__none_is_a_value(
    tmp_path,
):
    rows = []
    for i in range(16):
        kind = ("adam", "sgd", "")[i % 3]
        rate = round(10 ** -(2 + (7 * i % 16) / 8), 9)
        rows.append({"lr": rate, "warmup": kind, "val_loss": 3 + (i % 5) / 10})
    found = proposed(tmp_path, rows)
    assert knobs(found)["warmup"].missing == "none"
    assert knobs(found)["warmup"].when is None and found.n_land == 16


def test_propose__ids_that_hold_a_word__are_no_settings(tmp_path):
    rows = []
    for i, (rate, batch) in enumerate(GRID):
        name = f"lr{rate:g}-bs{batch}"
        rows.append(
            {"run_id": f"kl{i}", "name": name, "loss": ends_at(rate, batch)}
        )
    found = proposed(tmp_path, rows)
    assert knobs(found).keys() == {"lr", "batch_size"}
    assert roles(found)["run_id"] == "key"


def test_propose__rate_logged_while_it_decayed__is_read_from_the_names(
    tmp_path,
):
    root = tmp_path / "runs"
    for rate, batch in GRID:
        lines = []
        for step, value in history(rate, batch):
            lines.append(
                f"step={step} loss={value} lr={rate * (1 - step / 900):g}"
            )
        write_text(root, f"lr{rate:g}-bs{batch}.log", "\n".join(lines) + "\n")
    found, _, _ = landed(root, tmp_path)
    assert sorted(found.summary.knobs["lr"]) == [0.0003, 0.001, 0.003]


def read_json(document, name="history.json"):
    opened = Opened(name, json.dumps(document).encode())
    reader = JsonRecordsReader()
    assert reader.matches(name, opened.data)
    (relation,) = reader.read(opened)
    return relation


def test_json__keras_history__is_one_curve_by_epochs():
    relation = read_json({"loss": [3, 2, 1.5], "val_accuracy": [0.1, 0.2, 0.3]})
    assert curve_of(relation, "history", "loss") == [
        (1, 3.0),
        (2, 2.0),
        (3, 1.5),
    ]
    row = runs_of(relation)["history"]
    assert (row["metrics.val_accuracy"], row["last_epoch"]) == (0.3, 3)


def test_json__lists_beside_a_step__are_a_curve_at_those_steps():
    relation = read_json({"step": [10, 20, 30, 40], "loss": [4, 3, 2.5, 2.2]})
    assert curve_of(relation, "history", "loss")[-1] == (40, 2.2)


def test_json__lists_of_settings_and_results__are_a_table():
    relation = read_json(
        {"lr": [1e-3, 1e-2, 1e-1], "bs": [8, 16, 32], "val_loss": [3, 2, 4]}
    )
    assert relation.points is None or not relation.points.num_rows
    assert [row["bs"] for row in relation.runs.to_pylist()] == [8, 16, 32]


@pytest.mark.parametrize(
    "document",
    [
        {"loss": [3, 2]},
        {"loss": [3, 2, 1], "acc": [1, 2]},
        {"loss": [[1], [2], [3]]},
        {"a": 1, "b": [1, 2, 3]},
        [1, 2, 3],
        {},
    ],
)
def test_json__other_lists__are_no_runs(document):
    data = json.dumps(document).encode()
    assert not JsonRecordsReader().matches("x.json", data)


def test_tensorboard__train_and_val_folders__look_as_they_land(tmp_path):
    """The proposal and the landing read the same names: `val/loss`, not `loss`."""
    writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    for rate, batch in GRID[:4]:
        for split, shift in (("train", 0.0), ("val", 0.5)):
            folder = tmp_path / "tb" / f"lr_{rate:g}_bs_{batch}" / split
            folder.mkdir(parents=True)
            out = writer.EventFileWriter(str(folder))
            for step, loss in history(rate, batch):
                value = Summary.Value(tag="loss", simple_value=loss + shift)
                summary = Summary(value=[value])
                out.add_event(
                    Event(wall_time=1.7e9 + step, step=step, summary=summary)
                )
            out.close()
    found, _, runs = landed(tmp_path / "tb", tmp_path)
    assert found.mapping.objective.column == "metrics.val/loss"
    assert {run["status"] for run in runs} == {"finished"}
    expected = sorted(history(r, b)[-1][1] + 0.5 for r, b in GRID[:4])
    outcomes = sorted(run["objective_value"] for run in runs)
    assert outcomes == pytest.approx(expected, abs=1e-5)
    assert "name-parts" in codes(found)


def test_propose__trials_frame_with_two_header_lines__is_optunas(tmp_path):
    """`trials_dataframe(multi_index=True).to_csv()` writes two lines of names."""
    lines = [",number,value,params,params,state", ",,,bs,lr,"]
    for i, (rate, batch) in enumerate(GRID):
        lines.append(f"{i},{i},{ends_at(rate, batch)},{batch},{rate},COMPLETE")
    path = tmp_path / "trials.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = propose(str(path))
    assert codes(found) >= {"direction-unknown"}
    assert roles(found)["params/lr"] == "knob" and roles(found)["state"] in (
        "status",
        "constant",
    )
