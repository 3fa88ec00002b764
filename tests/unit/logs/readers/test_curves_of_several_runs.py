"""Curves of several runs in one file: which settings each run had."""

import json

from autollm.logs.proposals import propose
from autollm.logs.readers.curve_files import CurveCsvReader, CurveJsonlReader
from tests.unit.logs.proposals.tables import knobs
from tests.unit.logs.raw_logs import write
from tests.unit.logs.readers.opened import Opened

RATES = (0.0003, 0.001, 0.003, 0.01)


def curve_csv(columns, rows):
    """A CSV file of rows."""
    lines = [",".join(columns)]
    lines += [",".join(str(cell) for cell in row) for row in rows]
    return "\n".join(lines).encode() + b"\n"


def read(reader, name, data):
    """The one relation of a file."""
    assert reader.matches(name, data)
    (relation,) = reader.read(Opened(name, data))
    return relation


def test_curve_csv__setting_that_stands_still_in_each_run__is_a_setting(
    tmp_path,
):
    rows = []
    for rate in RATES:
        for step in range(0, 1000, 100):
            rows.append((f"r{rate}", rate, "adam", step, 3 + rate - step / 1e4))
    data = curve_csv(("run", "lr", "opt", "step", "val_loss"), rows)
    relation = read(CurveCsvReader(), "log.csv", data)
    assert relation.roles["lr"] == "setting" and "opt" not in relation.roles
    assert relation.runs["lr"].to_pylist() == list(RATES)
    assert "metrics.lr" not in relation.runs.column_names
    found = propose(write(tmp_path, "log.csv", data))
    assert found.n_land == 4 and set(knobs(found)) == {"lr"}


def test_curve_csv__step_begins_anew_with_a_setting__is_another_run():
    rows = []
    for rate in RATES:
        for step in range(0, 1000, 100):
            rows.append((rate, step, 3 + rate - step / 1e4))
    data = curve_csv(("lr", "step", "val_loss"), rows)
    relation = read(CurveCsvReader(), "log.csv", data)
    assert relation.runs["lr"].to_pylist() == list(RATES)
    assert "another run begins" in relation.notes[0]


def test_curve_csv__step_begins_anew_each_epoch__is_one_run():
    rows = []
    for epoch in range(4):
        for step in range(0, 1000, 100):
            rows.append((epoch, step, 3 - epoch / 9 - step / 1e4))
    data = curve_csv(("epoch", "step", "loss"), rows)
    assert read(CurveCsvReader(), "log.csv", data).runs.num_rows == 1


def test_curve_csv__text_that_spells_the_step__is_a_curve_still():
    rows = [(f"step-{s}", s, 0.2 + s / 1e5) for s in range(1000, 9000, 1000)]
    data = curve_csv(("checkpoint", "step", "mmlu"), rows)
    assert CurveCsvReader().matches("evals.csv", data)
    named = [(f"model {s % 7}", s, y) for _, s, y in rows]
    data = curve_csv(("checkpoint", "step", "mmlu"), named)
    assert not CurveCsvReader().matches("evals.csv", data)


def test_curve_jsonl__config_of_each_run__stays_with_it():
    lines = []
    for rate in RATES:
        for step in range(0, 1000, 100):
            row = {"run": f"r{rate}", "step": step, "config": {"lr": rate}}
            lines.append(json.dumps(row | {"loss": 3 + rate - step / 1e4}))
    data = "\n".join(lines).encode() + b"\n"
    relation = read(CurveJsonlReader(), "history.jsonl", data)
    assert relation.runs["config.lr"].to_pylist() == list(RATES)
    assert relation.roles["config.lr"] == "setting"


def test_curve_csv__a_metric_a_row__is_told_by_its_name():
    rows = []
    for run in ("a", "b"):
        for step in (10, 20, 30):
            for metric, value in (("loss", 3), ("acc", 0.5)):
                rows.append((run, step, metric, value + step / 100))
    data = curve_csv(("run_id", "step", "metric", "value"), rows)
    relation = read(CurveCsvReader(), "metrics.csv", data)
    assert relation.runs["metrics.loss"].to_pylist() == [3.3, 3.3]
    assert relation.runs["metrics.acc"].to_pylist() == [0.8, 0.8]
    assert not relation.notes and not relation.bad
    assert set(relation.points["metric"].to_pylist()) == {"loss", "acc"}


def test_curve_jsonl__clocks_spelt_as_text__are_no_labels():
    lines = []
    for step in range(1, 6):
        row = {"current_steps": step, "loss": 3 - step / 9, "epoch": step / 5}
        lines.append(json.dumps({**row, "elapsed_time": f"0:00:0{step}"}))
    data = "\n".join([*lines, ""]).encode()
    relation = read(CurveJsonlReader(), "trainer_log.jsonl", data)
    assert relation.points["step"].to_pylist()[0] == 1
    assert relation.runs["last_step"].to_pylist() == [5]
