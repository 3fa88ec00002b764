"""What reading makes of small tables: constants, repeats, parametrizations, sources."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from autollm.advisor.evidence.evidence import (
    LogOptions,
    read_evidence,
    read_home,
)
from autollm.core.errors import AdviceError, SetupError, UnknownNameError

SIZES = ((1e8, 2e9), (2e8, 4e9))
RATES = (0.001, 0.002, 0.004)


def table(path, columns=(), losses=None, seeds=1, sized=True):
    """A sweep of three rates at two sizes; `columns`: name -> value of every row, or a
    function of the row's number."""
    rows = []
    for params, tokens in SIZES:
        for rate in RATES:
            for seed in range(seeds):
                row = {"run": f"r{len(rows)}", "lr": rate}
                if sized:
                    row |= {"params": params, "tokens": tokens}
                row |= {"seed": seed}
                for name, value in dict(columns).items():
                    row[name] = value(len(rows)) if callable(value) else value
                given = 2.0 + 100 * abs(rate - 0.002) + 0.01 * seed
                row["val_loss"] = losses(len(rows)) if losses else given
                rows.append(row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path, **said):
    return read_evidence(
        [path], LogOptions(**({"objective": "val_loss:min"} | said))
    )


def test_read_evidence__column_with_one_value__is_a_constant(tmp_path):
    columns = {"optimizer": "adamw", "wd": 0.1, "note": lambda i: f"n{i}"}
    found = read(table(tmp_path / "runs.csv", columns))
    assert found.constants["optimizer"] == "adamw"
    assert float(found.constants["wd"]) == 0.1
    assert not {"lr", "val_loss", "run", "note"} & set(found.constants)


def test_read_evidence__long_text_or_nothing__is_no_constant(tmp_path):
    columns = {"path": "x" * 61, "empty": ""}
    found = read(table(tmp_path / "runs.csv", columns))
    assert not {"path", "empty"} & set(found.constants)


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("parametrization", "mup", "mup"),
        ("model.parametrisation", "standard", "standard"),
        ("use_mup", "true", "mup"),
        ("mup", "1", "mup"),
        ("use_mup", "false", None),
        ("mup_width", "64", None),
    ],
)
def test_read_evidence__parametrization_of_every_run__is_a_context(
    tmp_path, column, value, told
):
    found = read(table(tmp_path / "runs.csv", {column: value}))
    assert found.context.get("parametrization") == told


def test_read_evidence__repeats__give_the_pooled_noise(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=18)
    path = table(
        tmp_path / "runs.csv", losses=lambda i: 3.0 + noise[i], seeds=3
    )
    found = read(path)
    groups = noise.reshape(6, 3)
    pooled = math.sqrt(np.mean(groups.var(axis=1, ddof=1)))
    assert found.sd_replicas == pytest.approx(pooled, rel=0.2)
    assert len(found.runs) == 18


def test_read_evidence__no_repeat__knows_no_noise(tmp_path):
    assert read(table(tmp_path / "runs.csv")).sd_replicas is None


def test_read_evidence__levels__are_cheapest_first_in_the_users_names(tmp_path):
    found = read(table(tmp_path / "runs.csv"))
    flops = [e.compute_flops for e in found.table.experiments]
    assert flops == sorted(flops) == [6 * p * t for p, t in SIZES]
    assert found.has_flops
    (first, _) = found.table.experiments
    assert len(found.experiment_runs[first.experiment_id]) == 3
    assert found.native("nobody") == "nobody"


def test_read_evidence__same_rows_again__have_the_same_table_id(tmp_path):
    one = read(table(tmp_path / "runs.csv"))
    (tmp_path / "b").mkdir()
    other = read(table(tmp_path / "b" / "runs.csv"))
    assert one.table_id == other.table_id
    changed = table(tmp_path / "b" / "runs.csv", losses=lambda i: 3.0 + i)
    assert read(changed).table_id != one.table_id


def test_read_evidence__source_that_is_not_there__names_those_there_are(
    tmp_path,
):
    path = table(tmp_path / "runs.csv")
    with pytest.raises(UnknownNameError, match="source 'other'") as caught:
        read(path, source="other")
    assert "runs" in str(caught.value)


def test_read_home__nothing_landed__says_how_to_land(tmp_path):
    with pytest.raises(AdviceError, match="nothing has landed") as caught:
        read_home(str(tmp_path), LogOptions())
    assert caught.value.code == "unreadable"
    assert "autollm ingest PATH" in caught.value.remedy


def test_read_home__object_store__says_what_to_name():
    with pytest.raises(SetupError, match="is no local folder"):
        read_home("memory://home", LogOptions())


def test_read_evidence__nothing_of_the_users__is_written(tmp_path):
    path = table(tmp_path / "runs.csv")
    before = path.read_bytes()
    read(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs.csv"]
    assert path.read_bytes() == before
