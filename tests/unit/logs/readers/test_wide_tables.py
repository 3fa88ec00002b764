"""Tables of two settings, one down the rows and one across the columns, and sheets whose
cells were merged.
"""

import json

import pytest

from autollm.logs.proposals import TableOptions, propose
from tests.unit.logs.proposals.tables import (
    RATES,
    SIZES,
    codes,
    knobs,
    loss,
    sweep,
)
from tests.unit.logs.raw_logs import write


def human(params):
    return f"{params / 1e6:g}M"


def pivot(corner, across="{}"):
    """Sizes down the rows, rates across the columns."""
    lines = [",".join([corner, *(across.format(f"{r:g}") for r in RATES)])]
    for params, _ in SIZES:
        values = [f"{loss(params, rate)}" for rate in RATES]
        lines.append(",".join([human(params), *values]))
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("corner", "across", "rate"),
    [
        ("model", "lr={}", "lr"),
        ("size", "peak_lr: {}", "peak_lr"),
        ("model", "lr {}", "lr"),
        ("model \\ lr", "{}", "lr"),
        ("model / lr", "{}", "lr"),
        ("params", "{}", "across"),
    ],
)
def test_propose__one_setting_across_the_columns__a_run_a_cell(
    tmp_path, corner, across, rate
):
    path = write(tmp_path, "val_loss_by_size.csv", pivot(corner, across))
    found = propose(path)
    assert found.n_land == 9 and set(knobs(found)) == {rate}
    best = found.summary.best
    assert best["configuration"] == {rate: 0.001}
    assert best["value"] == loss(SIZES[-1][0], 1e-3)
    assert found.mapping.objective.name == "val_loss"


def test_propose__cells_without_a_name__are_values_and_asked_for(tmp_path):
    lines = ["lr \\ size," + ",".join(human(params) for params, _ in SIZES)]
    for rate in RATES:
        values = [f"{loss(params, rate)}" for params, _ in SIZES]
        lines.append(",".join([f"{rate:g}", *values]))
    path = write(tmp_path, "sweep.csv", "\n".join(lines).encode())
    assert codes(propose(path)) >= {"direction-unknown"}
    found = propose(path, TableOptions.parse("value:min"))
    assert found.n_land == 9 and set(knobs(found)) == {"lr"}
    assert [f.name for f in found.mapping.fidelity] == ["params"]
    assert found.summary.ladder[-1]["fidelity"] == {"params": 350e6}


def test_propose__curves_beside_each_other__a_run_a_column(tmp_path):
    lines = ["step," + ",".join(f"lr={rate:g}" for rate in RATES)]
    for step in range(0, 500, 50):
        falls = 5 * 0.98**step
        values = [f"{loss(SIZES[0][0], rate) + falls:.4f}" for rate in RATES]
        lines.append(",".join([str(step), *values]))
    path = write(tmp_path, "val_loss.csv", "\n".join(lines).encode())
    found = propose(path)
    assert found.n_land == 3 and set(knobs(found)) == {"lr"}
    assert found.summary.best["configuration"] == {"lr": 0.001}


def test_propose__markdown_of_two_settings__a_run_a_cell(tmp_path):
    lines = ["| | lr=3e-4 | lr=1e-3 | lr=3e-3 |", "|---|---|---|---|"]
    for params, _ in SIZES:
        values = [f"{loss(params, rate)}" for rate in RATES]
        lines.append(f"| {human(params)} | {' | '.join(values)} |")
    path = write(tmp_path, "loss.md", "\n".join(lines).encode())
    assert propose(path).n_land == 9


def merged(rows):
    """The sheet of a sweep with a size in the first row of each only."""
    lines = ["Model,Tokens,LR,BS,Val loss"]
    last = None
    for row in rows:
        group = (human(row["params"]), str(row["tokens"]))
        shown = ("", "") if group == last else group
        cells = (row["lr"], row["batch_size"], row["val_loss"])
        lines.append(",".join([*shown, *map(str, cells)]))
        last = group
    return "\n".join(lines).encode()


def test_propose__merged_cells__continue_downwards(tmp_path):
    found = propose(write(tmp_path, "sheet.csv", merged(sweep())))
    assert found.n_land == 27 and set(knobs(found)) == {"lr", "bs"}
    sizes = [level["fidelity"]["params"] for level in found.summary.ladder]
    assert sizes == [params for params, _ in SIZES]
    assert any("cells were merged" in note.text for note in found.notes)


@pytest.mark.parametrize("name", ["loss {}", "loss_{}", "loss ({})"])
def test_propose__an_outcome_a_size__is_that_outcome(tmp_path, name):
    lines = ["lr," + ",".join(name.format(human(p)) for p, _ in SIZES)]
    for rate in RATES:
        values = [f"{loss(params, rate)}" for params, _ in SIZES]
        lines.append(",".join([f"{rate:g}", *values]))
    found = propose(write(tmp_path, "t.csv", "\n".join(lines).encode()))
    assert found.n_land == 9 and found.mapping.objective.name == "loss"
    assert found.summary.ladder[-1]["fidelity"] == {"params": 350e6}


def test_propose__two_accuracies__are_no_table_of_two_settings(tmp_path):
    lines = ["lr,top1_acc,top5_acc"]
    lines += [f"{rate},{0.61 + rate},{0.82 + rate}" for rate in RATES]
    found = propose(write(tmp_path, "t.csv", "\n".join(lines).encode()))
    assert found.n_land == 3 and set(knobs(found)) == {"lr"}


@pytest.mark.parametrize(
    "cells",
    [
        # a setting that is not used: filled rows follow one another
        ["0.9", "0.9", "", "", "0.9", "0.95", "", ""],
        # the same text again: a mark on some rows
        ["x", "", "", "x", "", "", "x", ""],
        # nothing above the first row
        ["", "a", "", "", "b", "", "", ""],
    ],
)
def test_propose__empty_cells_of_other_kinds__stay_empty(tmp_path, cells):
    lines = ["momentum,lr,loss"]
    for number, cell in enumerate(cells):
        lines.append(f"{cell},{RATES[number % 3]},{3 + number / 100}")
    found = propose(write(tmp_path, "t.csv", "\n".join(lines).encode()))
    assert not any("merged" in note.text for note in found.notes)


def test_propose__one_outcome_at_several_rates__a_run_a_cell(tmp_path):
    names = [f"val loss @ lr={rate:g}" for rate in RATES]
    lines = [",".join(["params", "tokens", *names])]
    for params, tokens in SIZES:
        values = [f"{loss(params, rate)}" for rate in RATES]
        lines.append(",".join([f"{params:g}", f"{tokens:g}", *values]))
    found = propose(write(tmp_path, "wide.csv", "\n".join(lines).encode()))
    assert found.n_land == 9 and set(knobs(found)) == {"lr"}
    assert found.mapping.objective.column == "val loss"
    assert found.summary.best["configuration"] == {"lr": 0.001}


def test_propose__a_column_a_run__is_turned(tmp_path):
    rows = sweep()
    lines = [",".join(["run", *(f"r{at}" for at in range(len(rows)))])]
    for name in ("lr", "params", "tokens", "val_loss"):
        said = name.replace("_", " ")
        lines.append(",".join([said, *(f"{row[name]:g}" for row in rows)]))
    found = propose(write(tmp_path, "turned.csv", "\n".join(lines).encode()))
    assert found.n_land == len(rows) and set(knobs(found)) == {"lr"}
    assert found.mapping.objective.column == "val loss"


def test_propose__events_of_runs__are_one_row_a_run(tmp_path):
    lines = []
    for at, row in enumerate(sweep()):
        config = {n: row[n] for n in ("lr", "params", "tokens", "batch_size")}
        begun = {"event": "run_started", "ts": f"1:{at}", "config": config}
        ended = {"event": "run_finished", "ts": f"2:{at}"}
        ended["result"] = {"val_loss": row["val_loss"]}
        lines += [{"run_id": f"r{at}", **said} for said in (begun, ended)]
    text = "\n".join(map(json.dumps, lines))
    found = propose(write(tmp_path, "events.jsonl", text.encode()))
    assert found.summary.n_runs == len(lines) / 2
    assert set(knobs(found)) == {"config_lr", "config_batch_size"}
    assert found.mapping.objective.column == "result.val_loss"


def test_propose__rows_of_one_run_that_differ__stay_rows(tmp_path):
    lines = ["run_id,split,lr,loss"]
    for run in range(8):
        for split in ("train", "val"):
            lines.append(f"r{run},{split},{0.1 * (run + 1)},{run + len(split)}")
    found = propose(
        write(tmp_path, "splits.csv", "\n".join(lines).encode()),
        TableOptions.parse("loss:min"),
    )
    assert found.n_land == 16
