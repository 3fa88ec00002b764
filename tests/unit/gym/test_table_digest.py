"""The outcome table: what a play can read enters its digest, whatever else does not;
look-ups and metrics against the arrays themselves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import SnapshotError, UnknownNameError
from autollm.core.metrics import Metric
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.gym.tables.outcome_table import COLUMNS
from autollm.gym.tables.snapping import places_in_play
from tests.unit.gym.tables import make_rich_table, with_curves

TABLE = with_curves(make_rich_table(noise=0.02))
IDS = [e.experiment_id for e in TABLE.experiments]


def with_column(name, row, value):
    """The table with one cell of a column changed."""
    column = TABLE.columns[name].copy()
    column[row] = value
    return replace(TABLE, columns={**TABLE.columns, name: column})


def with_experiment(number, **changes):
    experiments = list(TABLE.experiments)
    experiments[number] = replace(experiments[number], **changes)
    return replace(TABLE, experiments=tuple(experiments))


def first_row(experiment):
    return int(TABLE.offsets[experiment])


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_digest__any_cell_of_any_column__changes_its_experiments_alone(name):
    value = TABLE.columns[name][first_row(1)]
    other = not value if TABLE.columns[name].dtype == bool else value + 1
    changed = with_column(name, first_row(1), other)
    for number, experiment_id in enumerate(IDS):
        same = changed.digest([experiment_id]) == TABLE.digest([experiment_id])
        assert same == (number != 1), (name, experiment_id)


@pytest.mark.parametrize(
    "changes",
    [
        {"compute_flops": 1.0},
        {"objective": "other"},
        {"direction": "max"},
        {"fidelity": {"params": 3.0, "tokens": 1.0}},
        {"context": {"optimizer": "adam"}},
        {"signal": Metric("train_loss", direction="max")},
        {"space": Space((Knob("x", "log", (1.0, 2.0)),))},
        {"metrics": (Metric("accuracy", direction="min"), Metric("params"))},
    ],
    ids=lambda c: next(iter(c)),
)
def test_digest__what_an_experiment_is__changes_it(changes):
    changed = with_experiment(2, **changes)
    assert changed.digest([IDS[2]]) != TABLE.digest([IDS[2]])
    assert changed.digest([IDS[0]]) == TABLE.digest([IDS[0]])


def test_digest__points_metrics_and_curves__change_it():
    points = list(TABLE.points)
    points[0] = points[0] + 1e-9
    assert replace(TABLE, points=tuple(points)).digest(IDS[:1]) != (
        TABLE.digest(IDS[:1])
    )
    values = TABLE.metric_values.copy()
    values[1] += 1e-9
    assert replace(TABLE, metric_values=values).digest(IDS[:1]) != (
        TABLE.digest(IDS[:1])
    )
    curves = TABLE.curve_points.copy()
    curves[0, 1] += 1e-9
    assert replace(TABLE, curve_points=curves).digest(IDS[:1]) != (
        TABLE.digest(IDS[:1])
    )


def test_digest__other_experiments_beside_it__change_nothing():
    """A source that lands later moves nobody's stored episodes."""
    n = len(TABLE.points[0])
    alone = replace(
        TABLE,
        experiments=TABLE.experiments[:1],
        offsets=TABLE.offsets[:2],
        points=TABLE.points[:1],
        columns={k: v[:n] for k, v in TABLE.columns.items()},
        metric_values=TABLE.metric_values[: 2 * n],
        metric_latents=TABLE.metric_latents[: 2 * n],
        curve_offsets=TABLE.curve_offsets[: n + 1],
        curve_points=TABLE.curve_points[: TABLE.curve_offsets[n]],
    )
    assert alone.digest(IDS[:1]) == TABLE.digest(IDS[:1])


def test_digest__order_asked_for__counts_and_an_unknown_one_is_named():
    assert TABLE.digest(IDS) != TABLE.digest(IDS[::-1])
    with pytest.raises(UnknownNameError, match="Did you mean 'toy:0'"):
        TABLE.digest(["toy:00"])


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 34)), min_size=1))
def test_lookup__any_rows__are_the_losses_of_their_experiments(pairs):
    experiments, rows = np.array(pairs).T
    found = TABLE.lookup(experiments, rows)
    for value, (e, row) in zip(found, pairs, strict=True):
        assert value == TABLE.losses(e)[row]


def test_lookup__beyond_the_table__is_an_index_error():
    with pytest.raises(IndexError):
        TABLE.lookup(np.array([3]), np.array([35]))


@pytest.mark.parametrize("experiment", range(4))
def test_metric__own_objective_and_others__are_the_recorded_values(experiment):
    points = TABLE.points[experiment]
    own = TABLE.metric(experiment, "val_loss")
    assert np.array_equal(
        own, TABLE.column("objective", experiment), equal_nan=True
    )
    assert TABLE.metric(experiment, "params") == pytest.approx(
        100.0 * points[:, 1]
    )
    accuracy = TABLE.metric(experiment, "accuracy")
    assert np.isnan(accuracy[0]) and np.isfinite(accuracy[1:]).all()
    loss = TABLE.losses(experiment, "accuracy")
    assert np.array_equal(loss[1:], -accuracy[1:]) and loss[0] == loss.max()


@pytest.mark.parametrize("read", ["losses", "latent"])
def test_objective__without_a_direction_or_unknown__says_which_there_are(read):
    with pytest.raises(
        SnapshotError, match=r"no direction.*val_loss, accuracy"
    ):
        getattr(TABLE, read)(0, "params")
    with pytest.raises(UnknownNameError, match="accuracy"):
        getattr(TABLE, read)(0, "acuracy")
    with pytest.raises(UnknownNameError, match="metric of toy 0"):
        TABLE.metric(0, "nope")


def test_losses__handed_out__cannot_be_written():
    for objective in ("", "accuracy"):
        with pytest.raises(ValueError, match="read-only"):
            TABLE.losses(0, objective)[0] = 1.0


def test_curve__each_row__is_its_own_and_the_first_logged_nothing():
    assert TABLE.curve(1, 0).shape == (0, 2)
    curve = TABLE.curve(1, 3)
    assert curve.shape == (20, 2) and curve[-1, 0] == 1.0
    assert (np.diff(curve[:, 0]) > 0).all()
    assert make_rich_table().curve(1, 3).shape == (0, 2)


@settings(max_examples=60)
@given(
    st.sets(st.integers(0, 30), min_size=1).map(lambda s: np.array(sorted(s))),
    st.integers(0, 30),
)
def test_places_in_play__any_row__is_its_place_or_minus_one(rows, row):
    place = int(places_in_play(row, rows))
    if row in rows:
        assert rows[place] == row
    else:
        assert place == -1
