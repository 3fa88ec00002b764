"""Folders of tables: what tells the files apart."""

import csv
import io

import pytest

from autollm.logs.proposals import propose
from tests.unit.logs.proposals.tables import codes, knobs, roles, sweep
from tests.unit.logs.raw_logs import write


def table_bytes(rows):
    """Rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def settings_of(params):
    """The runs of one size, which is not among their columns."""
    found = []
    for row in sweep():
        if row["params"] == params:
            names = ("lr", "batch_size", "val_loss")
            found.append({name: row[name] for name in names})
    return found


def test_propose__sizes_in_the_names_of_files__are_the_ladder(tmp_path):
    for params, name in ((50_000_000, "50M"), (350_000_000, "350M")):
        data = table_bytes(settings_of(params))
        write(tmp_path, f"results_{name}.csv", data)
    found = propose(str(tmp_path))
    ladder = [entry["fidelity"]["params"] for entry in found.summary.ladder]
    assert ladder == [5e7, 3.5e8] and found.n_land == 18
    assert set(knobs(found)) == {"lr", "batch_size"}
    assert "_file" in found.mapping.run_key.columns


def test_propose__same_settings_in_files__are_not_pooled(tmp_path):
    for name, params in (("adamw", 50_000_000), ("lion", 350_000_000)):
        data = table_bytes(settings_of(params))
        write(tmp_path, f"results_{name}.csv", data)
    found = propose(str(tmp_path))
    assert roles(found)["_file"] == "context" and "context" in codes(found)
    assert found.summary.n_experiments == 2 and found.n_land == 18


@pytest.mark.parametrize("extra", [{}, {"seed": 3}])
def test_propose__parts_of_one_table__are_one_table(tmp_path, extra):
    rows = [row | extra for row in sweep()]
    write(tmp_path, "sweep_2025-01-01.csv", table_bytes(rows[:14]))
    write(tmp_path, "sweep_2025-01-02.csv", table_bytes(rows[14:]))
    found = propose(str(tmp_path))
    assert roles(found)["_file"] == "label" and found.n_land == 27
    assert found.mapping.run_key.columns == ("run",)
