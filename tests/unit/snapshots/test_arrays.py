import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autollm.core import files as storage
from autollm.core.errors import SnapshotError
from autollm.core.ids import Origin
from autollm.core.records import canonical_json
from autollm.core.spaces.knobs import Knob
from autollm.gym.tables.arrays import load_table
from autollm.snapshots import arrays, spaces
from tests.unit.gym.tables import make_mixed_table, make_table
from tests.unit.snapshots.test_building import write_marts


def declared(*knobs, configs, **more):
    """The space that a mapping's knobs and the configurations that occur make."""
    raw = {
        "source": "s",
        "source_group": "",
        "space_id": "i",
        "space_json": canonical_json({"knobs": list(knobs), **more}, digits=12),
    }
    rows = [raw | {"config_json": canonical_json(c)} for c in configs]
    return spaces.build_spaces([raw], rows)[Origin("s"), "i"]


@pytest.mark.parametrize(
    ("raw", "values", "knob"),
    [
        (
            {"scale": "log", "step": 1, "window": [1, 8]},
            [2],
            Knob("k", "log", (1, 2, 4, 8), step=1),
        ),
        ({"scale": "log"}, [4, 2, 4], Knob("k", "log", (2, 4))),
        (
            {"scale": "linear", "step": 0.1, "window": [0, 0.3]},
            [0.1],
            Knob("k", "linear", (0, 0.1, 0.2, 0.3), step=0.1),
        ),
        (
            {"scale": "integer", "step": 2, "window": [2, 6]},
            [4],
            Knob("k", "integer", (2, 4, 6), step=2),
        ),
        (
            {"scale": "ordinal", "values": ["s", "m", "l"]},
            ["m"],
            Knob("k", "ordinal", ("s", "m", "l")),
        ),
        ({"scale": "ordinal"}, [20, 3], Knob("k", "ordinal", (3, 20))),
        (
            {"scale": "categorical"},
            ["sgd", True, "adam"],
            Knob("k", "categorical", ("adam", "sgd", True)),
        ),
        (
            {"scale": "list"},
            [[8, 16], [8, 4, 4]],
            Knob("k", "list", (4, 8, 16), positions=(2, 3)),
        ),
        (
            {"scale": "simplex"},
            [{"b": 1, "a": 0}],
            Knob("k", "simplex", ("a", "b")),
        ),
    ],
)
def test_build_spaces__every_scale__levels_are_declared_or_what_occurs(
    raw, values, knob
):
    space = declared({"name": "k", **raw}, configs=[{"k": v} for v in values])
    assert space.knobs == (knob,)
    assert all(np.isfinite(space.encode({"k": v})).all() for v in values)


def test_build_spaces__condition_and_limit__are_taken_over():
    knobs = [
        {"name": "depth", "scale": "integer"},
        {
            "name": "rate",
            "scale": "log",
            "when": {"knob": "depth", "values": [3]},
        },
    ]
    space = declared(
        *knobs,
        configs=[{"depth": 2}, {"depth": 3, "rate": 0.5}],
        limits=[{"weights": {"depth": 1}, "most": 3}],
    )
    assert space.knobs[1].when == ("depth", (3,)) and space.limits[0].most == 3
    assert space.encode({"depth": 2}).tolist() == [2, -1]


def test_build_spaces__knob_without_a_value_anywhere__is_left_out():
    assert declared(
        {"name": "a", "scale": "log"},
        {"name": "b", "scale": "log"},
        configs=[{"a": 1}],
    ).names == ("a",)


@pytest.mark.parametrize("make", [make_table, make_mixed_table])
def test_table__written_and_loaded__is_the_same(make, tmp_path):
    table = make()
    for name, data in arrays.files_of_table(table).items():
        storage.write_atomic(str(tmp_path / name), data)
    back = load_table(str(tmp_path), table.table_id)
    # the toy levels have more than the 9 digits that a snapshot keeps
    assert [e.experiment_id for e in back.experiments] == [
        e.experiment_id for e in table.experiments
    ]
    assert (
        back.experiments[0].space.coordinates
        == table.experiments[0].space.coordinates
    )
    for e in range(len(table.experiments)):
        assert np.array_equal(
            back.points[e], table.points[e]
        ) and np.array_equal(back.losses(e), table.losses(e))
        assert np.array_equal(
            back.column("latent", e), table.column("latent", e)
        )
    assert (
        isinstance(back.points[0].base, np.ndarray)
        and not back.points[0].flags.writeable
    )


def test_table_of_marts__configuration_outside_its_space__names_experiment_configuration_and_remedy(
    tmp_path,
):
    folder = write_marts(tmp_path / "marts")
    outcomes = pq.read_table(f"{folder}/mart_gym__outcomes.parquet")
    rows = outcomes.to_pylist()
    rows[0]["config_json"] = json.dumps({"learning_rate": 0.01})
    with pytest.raises(
        SnapshotError,
        match=r"toy 0 holds the configuration .*missing knob 'batch_tokens'.*Fix: ",
    ):
        arrays.table_of_marts(
            "t",
            pa.Table.from_pylist(rows),
            *(
                pq.read_table(f"{folder}/{name}.parquet")
                for name in ("dim_spaces", "fct_learning_curves")
            ),
        )
