from __future__ import annotations

import json

import numpy as np
import pytest

from autollm.advisor.judged.questions import draw, hidden_experiments
from autollm.advisor.judged.sources import Table, chosen_paths, tables
from autollm.core.errors import SealedError, UnknownNameError
from tests.unit.advisor.sweeps import rows_of, write_csv

RATES = 2.0 ** np.arange(-13, -6.9, 1.0)
BATCHES = (128, 512)
FAR = ((1e8, 2e9), (2e8, 2e9), (4e8, 4e9), (1e9, 2e10), (1e9, 4e10))


def table_of(tmp_path, levels=FAR) -> Table:
    """One table whose levels cost what they say: 6 N D."""
    path = write_csv(
        tmp_path / "sweep.csv", rows_of(levels, rates=RATES, batches=BATCHES)
    )
    (found,) = tables("mine", path)
    return found


def test_hidden_experiments__gap_of_eight__two_cheaper_levels_and_no_nearer_one(
    tmp_path,
):
    found = hidden_experiments(table_of(tmp_path))
    # 4e8 x 4e9 costs 8 times the cheapest level alone, and two are asked for
    assert [h.target for h in found] == [3, 4]
    assert [h.times_evidence for h in found] == pytest.approx([12.5, 25.0])
    assert all(h.is_far and h.evidence == (0, 1, 2) for h in found)


def test_hidden_experiments__no_such_gap__the_most_expensive_one_and_it_is_said(
    tmp_path,
):
    near = ((1e8, 2e9), (2e8, 2e9), (2e8, 4e9))
    (found,) = hidden_experiments(table_of(tmp_path, near))
    assert found.target == 2 and found.evidence == (0, 1)
    assert found.times_evidence == pytest.approx(2.0) and not found.is_far


def test_draw__evidence__holds_four_fifths_of_cheap_rows_and_nothing_else(
    tmp_path,
):
    hidden = hidden_experiments(table_of(tmp_path))[0]
    drawn = draw(hidden, 3)
    shown = drawn.evidence.table
    wanted = [hidden.experiments[e].experiment_id for e in hidden.evidence]
    assert [e.experiment_id for e in shown.experiments] == wanted
    whole = np.diff(hidden.table.whole.table.offsets)
    for e, target in enumerate(hidden.evidence):
        kept = shown.offsets[e + 1] - shown.offsets[e]
        assert kept == round(0.8 * whole[target])
    fidelities = {run["fidelity_json"] for run in drawn.evidence.runs}
    assert json.dumps(hidden.fidelity) not in fidelities
    assert len(fidelities) == len(hidden.evidence)
    assert len(drawn.rows) == round(0.8 * whole[hidden.target])


def test_draw__seed__decides_it_all(tmp_path):
    hidden = hidden_experiments(table_of(tmp_path))[0]
    one, same, other = draw(hidden, 1), draw(hidden, 1), draw(hidden, 2)
    assert one.evidence.table_id == same.evidence.table_id
    assert one.rows.tolist() == same.rows.tolist()
    assert one.evidence.table_id != other.evidence.table_id


def test_draw__hidden_window__is_not_shown(tmp_path):
    rows = rows_of(FAR, rates=RATES, batches=BATCHES)
    for row in rows:  # the hidden level alone was tried with a huge batch
        if row["tokens"] == int(4e10) and row["batch_size"] == 512:
            row["batch_size"] = 65536
    path = write_csv(tmp_path / "sweep.csv", rows)
    (table,) = tables("mine", path)
    hidden = hidden_experiments(table)[-1]
    window = draw(hidden, 0).view.space.window
    assert (
        hidden.experiments[hidden.target].space.window[1].max()
        > window[1].max()
    )


def test_chosen_paths__archives_that_are_held_back__are_refused(tmp_path):
    for name in ("pretraining-far-v1.tar.xz", "data_mixture-fresh-v1.tar.xz"):
        (tmp_path / name).touch()
        with pytest.raises(SealedError, match="held back"):
            chosen_paths([f"mine={tmp_path / name}"])
    with pytest.raises(UnknownNameError, match="lab-optimizer"):
        chosen_paths(["lab-optimiser"])
    known = chosen_paths(["lab-optimizer"])
    assert [path.name for path in known.values()] == ["optimizer-v1.tar.xz"]
