"""Look-ups: what an episode answers is what the table holds, for any draw and any
proposal.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.gym.tasks.episode import TableSource, start
from tests.unit.gym.tables import make_mixed_table, make_table, make_task

TABLES = {"grid": make_table(noise=0.02), "mixed": make_mixed_table()}
MANY = settings(max_examples=60, deadline=None)


@MANY
@given(
    st.sampled_from(sorted(TABLES)),
    st.integers(0, 10_000),
    st.floats(0, 1, exclude_max=True),
)
def test_look_up__any_listed_row_of_any_draw__is_answered_by_that_row(
    name: str, seed: int, where: float
) -> None:
    table = TABLES[name]
    episode = start(make_task(table, setting="pool-visible"), table, seed)
    drawn = episode.drawn
    i = int(where * len(drawn.rows))
    trial = episode.run_candidate(i)
    assert (trial.row, trial.distance) == (i, pytest.approx(0, abs=1e-9))
    recorded = table.column("objective", drawn.target)[drawn.rows[i]]
    assert (
        trial.objective == recorded
        or np.isnan([trial.objective, recorded]).all()
    )
    assert trial.loss == table.losses(drawn.target)[
        drawn.rows[i]
    ] and np.isfinite(trial.loss)


@MANY
@given(
    st.integers(0, 10_000), st.lists(st.floats(-20, 20), min_size=2, max_size=2)
)
def test_look_up__any_point__is_answered_by_the_nearest_row_of_the_draw(
    seed: int, point: list[float]
) -> None:
    table = TABLES["grid"]
    episode = start(make_task(table), table, seed)
    trial = episode.run_point(np.array(point))
    distances = np.linalg.norm(episode.points - point, axis=1)
    assert distances[trial.row] == pytest.approx(
        distances.min()
    ) and trial.distance == pytest.approx(distances.min())
    assert trial.status == (
        "off_table" if trial.distance > episode.drawn.task.tolerance else "ok"
    )


@MANY
@given(st.integers(0, 3), st.integers(0, 34))
def test_table_source__any_cell__is_the_tables(
    experiment: int, row: int
) -> None:
    table = TABLES["grid"]
    found = TableSource(table).outcome(experiment, row)
    assert found.loss == table.losses(experiment)[
        row
    ] and found.diverged == bool(table.column("diverged", experiment)[row])
