"""Logs in which no setting varies: scaling laws, repeats, curves of one run. They land as
one recipe, and say what they can.
"""

import csv
import io
import math

import pytest

from autollm.core.errors import MappingError
from autollm.logs.proposals import propose
from tests.unit.logs.landed import land_bytes
from tests.unit.logs.proposals.tables import codes, loss, proposed, roles
from tests.unit.logs.raw_logs import json_lines, write


def law(sizes=(7e7, 1.6e8, 4.1e8), tokens=(1e9, 3e9, 1e10), **names):
    """Rows of a scaling law: parameters, tokens, loss, and nothing else."""
    n, d, value = (names.get(k, k) for k in ("N", "D", "loss"))
    rows = []
    for size in sizes:
        for amount in tokens:
            fitted = 1.69 + 406.4 / size**0.34 + 410.7 / amount**0.28
            rows.append({n: int(size), d: int(amount), value: round(fitted, 4)})
    return rows


def curve(n_points=10, **columns):
    """Rows of one run's history; a column is a function of the step."""
    rows = []
    for step in range(0, 100 * n_points, 100):
        row = {"step": step}
        for name, value in columns.items():
            row[name] = value(step)
        rows.append(row)
    return rows


def csv_of(rows):
    """Rows as the bytes of a CSV file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def falling(step):
    return round(3 + 4 * math.exp(-step / 300), 4)


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"N": "n_params", "D": "train_tokens", "loss": "val_loss"},
        {"N": "params", "D": "tokens", "loss": "final loss"},
        {"N": "Parameters", "D": "Tokens", "loss": "eval/nll"},
        {"N": "non_embedding_params", "D": "tokens_seen", "loss": "bpb"},
    ],
)
def test_propose__scaling_law__lands_as_one_recipe_on_its_ladder(
    tmp_path, names
):
    found = proposed(tmp_path, law(**names))
    assert [q.name for q in found.mapping.fidelity] == ["params", "tokens"]
    assert found.mapping.cost.flops.text == "6 * params * tokens"
    assert (found.n_land, found.summary.n_experiments) == (9, 9)
    assert [knob.name for knob in found.mapping.knobs] == ["recipe"]
    assert "no-knob" in codes(found)
    assert "knobs: none varies" in found.summary.text


def test_propose__scaling_law_with_flops__compute_is_the_cost(tmp_path):
    rows = law()
    for row in rows:
        row["C"] = f"{6 * row['N'] * row['D']:.3e}"
    found = proposed(tmp_path, rows)
    assert roles(found)["C"] == "cost"
    assert found.summary.n_experiments == 9


def test_propose__one_size_and_several_lengths__tokens_are_the_ladder(tmp_path):
    rows = law(sizes=(1.25e8,), tokens=(1e9, 2e9, 4e9, 8e9))
    found = proposed(tmp_path, rows)
    ladder = {q.name: q.column for q in found.mapping.fidelity}
    assert ladder == {"params": "N", "tokens": "D"}
    assert found.summary.n_experiments == 4


def test_propose__law_by_steps__steps_are_the_ladder(tmp_path):
    rows = [{"max_steps": 1000 * 2**i, "val_loss": 4 - i / 5} for i in range(5)]
    found = proposed(tmp_path, rows)
    assert [q.name for q in found.mapping.fidelity] == ["steps"]
    assert found.n_land == 5


def test_propose__law_in_units__sizes_are_numbers(tmp_path):
    rows = [
        {"model": "70M", "tokens": "1.4B", "loss": 3.4},
        {"model": "160M", "tokens": "3.2B", "loss": 3.1},
        {"model": "410M", "tokens": "8.2B", "loss": 2.8},
        {"model": "1B", "tokens": "20B", "loss": 2.6},
    ]
    found = proposed(tmp_path, rows)
    sizes = [entry["fidelity"]["params"] for entry in found.summary.ladder]
    assert sizes == [7e7, 1.6e8, 4.1e8, 1e9]
    assert found.summary.best["value"] == 2.6


def test_propose__repeats_of_one_run__are_replicas(tmp_path):
    rows = [{"seed": s, "val_loss": 3 + s / 100} for s in range(6)]
    found = proposed(tmp_path, rows)
    assert found.mapping.replica.column == "seed"
    assert found.summary.n_experiments == 1 and found.n_land == 6
    assert {"no-knob", "no-fidelity"} <= codes(found)


def test_propose__one_row__is_one_run(tmp_path):
    rows = [{"n_params": 125_000_000, "lr": 3e-4, "val_loss": 3.1}]
    found = proposed(tmp_path, rows)
    assert found.n_land == 1
    assert roles(found)["val_loss"] == "objective"
    assert roles(found)["lr"] == "constant"


def test_propose__column_called_recipe__keeps_its_name(tmp_path):
    rows = law()
    for row in rows:
        row["recipe"] = "v2"
    found = proposed(tmp_path, rows)
    assert [knob.name for knob in found.mapping.knobs] == ["one_recipe"]
    assert found.n_land == 9


def test_propose__numbers_that_may_have_been_chosen__nothing_lands(tmp_path):
    values = (0.713, 0.294, 0.881, 0.127, 0.556, 0.342, 0.938, 0.467)
    rows = []
    for i, value in enumerate(values):
        rows.append({"x1": value, "loss": loss(1e8, 1e-3) + i / 50})
    with pytest.raises(MappingError, match=r"x1: measured .*--knobs"):
        proposed(tmp_path, rows)


def test_land__scaling_law__rows_have_their_sizes(tmp_path):
    rows = law()
    found = proposed(tmp_path, rows)
    landed = land_bytes("table.csv", csv_of(rows), found.mapping)
    assert len(landed.runs) == 9 and not landed.bad
    assert {run["config_json"] for run in landed.runs} == {'{"recipe":1}'}
    assert len({run["experiment_id"] for run in landed.runs}) == 9
    assert landed.runs[0]["objective_value"] == rows[0]["loss"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_propose__curve_of_one_run__lands_with_its_history(tmp_path, suffix):
    rows = curve(train_loss=falling, lr=lambda s: 1e-3 * (1 - s / 1000))
    data = csv_of(rows) if suffix == "csv" else json_lines(rows)
    path = write(tmp_path, f"nightly.{suffix}", data)
    found = propose(path)
    assert {"curve", "no-knob"} <= codes(found)
    assert found.summary.best["run"] == "nightly"
    assert found.summary.best["value"] == falling(900)
    (entry,) = found.mapping.fidelity
    assert (entry.name, entry.column) == ("steps", "last_step")
    assert "# nightly: train_loss, steps 0 to 900" in found.toml
    landed = land_bytes(f"nightly.{suffix}", data, found.mapping)
    losses = [p for p in landed.points if p["metric"] == "train_loss"]
    assert [p["step"] for p in losses] == list(range(0, 1000, 100))
    assert landed.runs[0]["objective_value"] == falling(900)


def test_propose__curve_that_counts_tokens__tokens_are_its_size(tmp_path):
    rows = curve(val_loss=falling, tokens=lambda s: (s + 1) * 524_288)
    found = proposed(tmp_path, rows)
    (entry,) = found.mapping.fidelity
    assert (entry.name, entry.column) == ("tokens", "metrics.tokens")
    assert found.summary.ladder[0]["fidelity"] == {"tokens": 472_383_000}


def test_propose__curve_without_an_outcome__asks_which_it_is(tmp_path):
    rows = curve(
        lr=lambda s: 1e-3 * (1 - s / 1000), mfu=lambda s: 0.4 + s / 1e5
    )
    with pytest.raises(MappingError, match="no column looks like an outcome"):
        proposed(tmp_path, rows)


def test_propose__curve_of_an_unknown_metric__asks_the_direction(tmp_path):
    found = proposed(tmp_path, curve(quality_index=falling))
    assert found.mapping is None
    assert {"curve", "direction-unknown"} <= codes(found)


def test_propose__curves_side_by_side__the_run_is_all_that_tells_them_apart(
    tmp_path,
):
    rows = []
    for run in ("baseline", "with-rope"):
        for row in curve(val_loss=falling):
            better = 0.1 * (run == "with-rope")
            rows.append(
                row | {"run": run, "val_loss": row["val_loss"] - better}
            )
    found = proposed(tmp_path, rows)
    assert {"curve", "label-as-knob"} <= codes(found)
    assert found.summary.best["run"] == "with-rope"
    assert found.n_land == 2
