import errno
import json
import math
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autollm.core import files as storage
from autollm.core.errors import SnapshotError, UnknownNameError
from autollm.core.ids import config_id
from autollm.core.metrics import Metric
from autollm.core.records import canonical_json
from autollm.core.sealed import write_sealed
from autollm.gym.tables import snapshot
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.suites import held_out, load_suite, suite_ids
from autollm.snapshots import building
from tests.unit.gym.tables import make_table, make_task

SPACE_JSON = canonical_json(
    {
        "knobs": [
            {
                "name": "learning_rate",
                "scale": "log",
                "unit": "",
                "step": 0.5,
                "role": "rate",
                "window": [2**-10, 2**-7],
            },
            {
                "name": "batch_tokens",
                "scale": "log",
                "unit": "tokens",
                "step": 1,
                "role": "size",
                "window": None,
            },
        ]
    }
)

LADDER_JSON = canonical_json(
    {
        "coordinates": [],
        "metrics": [
            {"name": "train_loss", "direction": "max", "unit": ""},
            {"name": "unseen", "direction": "min", "unit": ""},
        ],
    }
)


def write_marts(folder, shuffle=None, batch="b1"):
    """The toy table as dbt would export it; rows optionally in another order."""
    table, rows = make_table(), []
    for e, experiment in enumerate(table.experiments):
        for point, objective, diverged in zip(
            table.points[e],
            table.column("objective", e),
            table.column("diverged", e),
            strict=True,
        ):
            config = experiment.space.decode(point)
            rows.append(
                {
                    "experiment_id": experiment.experiment_id,
                    "config_id": config_id(config),
                    "source": "toy",
                    "source_group": "",
                    "family": "pretraining",
                    "experiment_label": experiment.label,
                    "space_id": "s1",
                    "fidelity_json": canonical_json(experiment.fidelity),
                    "compute_flops": experiment.compute_flops,
                    "objective_name": "val_loss",
                    "objective_direction": "min",
                    "ladder_id": "l1",
                    "secondary_json": canonical_json(
                        {"score": e + 0.5, "train_loss": float(point[0])}
                    ),
                    "config_json": canonical_json(config),
                    "objective_mean": None if diverged else objective,
                    "objective_sem": None,
                    "n_replicas": 1,
                    "status": "diverged" if diverged else "finished",
                    "cost_flops": 1.0,
                    "cost_device_hours": None,
                }
            )
    if shuffle is not None:
        rows = [rows[i] for i in shuffle.permutation(len(rows))]
    schema_null_floats = {
        "objective_sem": pa.float64(),
        "cost_device_hours": pa.float64(),
    }
    outcomes = pa.Table.from_pylist(rows)
    for name, kind in schema_null_floats.items():
        outcomes = outcomes.set_column(
            outcomes.column_names.index(name), name, outcomes[name].cast(kind)
        )
    spaces = pa.Table.from_pylist(
        [
            {
                "source": "toy",
                "source_group": "",
                "space_id": "s1",
                "ladder_id": "l1",
                "space_json": SPACE_JSON,
                "ladder_json": LADDER_JSON,
            }
        ]
    )
    curves = pa.Table.from_pylist(
        [
            {
                "source": "toy",
                "source_group": "",
                "run_id": "r",
                "metric": "loss",
                "line": 2,
                "value": 1.0,
                "batch_id": batch,
            }
        ]
    )
    marts = {
        "mart_gym__outcomes": outcomes,
        "fct_outcomes": outcomes,
        "dim_experiments": outcomes.select(["experiment_id"]),
        "dim_configs": outcomes.select(["space_id", "config_id"]),
        "dim_spaces": spaces,
        "fct_learning_curves": curves,
    }
    folder.mkdir(exist_ok=True)
    for name, mart in marts.items():
        pq.write_table(mart, folder / f"{name}.parquet")
    return str(folder)


def write_schema(url: str, schema: int) -> None:
    """A manifest as another version would have written it."""
    fields = json.loads(storage.read_bytes(url))
    del fields["sha256"]
    write_sealed(url, {**fields, "schema": schema})


@pytest.fixture(params=["local", "memory"])
def home(request, tmp_path):
    return (
        str(tmp_path / "home")
        if request.param == "local"
        else f"memory://{uuid.uuid4().hex}"
    )


def test_snapshot__build_publish_open__gives_the_table_back(home, tmp_path):
    table_id = building.build(write_marts(tmp_path / "marts"), home)
    building.publish(home, table_id)
    table, toy = snapshot.open_snapshot(home), make_table()
    assert table.table_id == table_id == snapshot.published_id(home)
    for e in range(4):
        assert table.points[e] == pytest.approx(toy.points[e])
        assert table.losses(e) == pytest.approx(toy.losses(e))
    assert table.experiments[0].space.knobs[0].levels == pytest.approx(
        toy.experiments[0].space.knobs[0].levels
    )


def test_snapshot__secondary_metrics__are_arrays_with_the_mappings_directions(
    home, tmp_path
):
    building.publish(
        home, building.build(write_marts(tmp_path / "marts"), home)
    )
    table = snapshot.open_snapshot(home)
    assert [(m.name, m.direction) for m in table.experiments[2].metrics] == [
        ("train_loss", "max"),
        ("score", ""),
    ]
    assert table.metric(2, "score").tolist() == [2.5] * 35
    assert np.array_equal(table.losses(2, "train_loss"), -table.points[2][:, 0])
    assert table.latent(2, "train_loss") == pytest.approx(
        table.losses(2, "train_loss"), abs=0.2
    )
    assert np.isnan(table.metric_latents[: 2 * 35]).sum() == 35


def test_snapshot__signal_of_the_mapping__is_a_curve_of_the_longest_run_and_nothing_else(
    home, tmp_path
):
    marts = write_marts(tmp_path / "marts")
    ladder = json.loads(LADDER_JSON) | {
        "signal": {"name": "train_loss", "direction": "min"}
    }
    spaces = pq.read_table(f"{marts}/dim_spaces.parquet").to_pylist()
    pq.write_table(
        pa.Table.from_pylist(
            [spaces[0] | {"ladder_json": canonical_json(ladder)}]
        ),
        f"{marts}/dim_spaces.parquet",
    )
    rows = pq.read_table(f"{marts}/mart_gym__outcomes.parquet").to_pylist()
    whole, cut = rows[36], next(r for r in rows if r["status"] == "diverged")
    runs = [
        (whole, "r1", "train_loss", [10, 30, 20], [5.0, 3.0, 4.0]),
        (whole, "r0", "train_loss", [10, 20], [9.0, 9.0]),
        (whole, "r2", "train_loss", [30], [8.0]),
        (whole, "r1", "grad_norm", [10], [0.1]),
        (cut, "r3", "train_loss", [3, 6], [7.0, math.inf]),
    ]
    logged = [
        {
            "source": "toy",
            "source_group": "",
            "run_id": run,
            "metric": metric,
            "line": i + 2,
            "step": step,
            "value": value,
            "batch_id": "b",
            "experiment_id": cell["experiment_id"],
            "config_id": cell["config_id"],
        }
        for cell, run, metric, steps, values in runs
        for i, (step, value) in enumerate(zip(steps, values, strict=True))
    ]
    pq.write_table(
        pa.Table.from_pylist(logged), f"{marts}/fct_learning_curves.parquet"
    )
    outcomes = pq.read_table(f"{marts}/mart_gym__outcomes.parquet")
    half = pa.array([r["compute_flops"] / 2 for r in rows])
    pq.write_table(
        outcomes.set_column(
            outcomes.column_names.index("cost_flops"), "cost_flops", half
        ),
        f"{marts}/mart_gym__outcomes.parquet",
    )
    building.publish(home, building.build(marts, home))
    table = snapshot.open_snapshot(home)
    with_curves = {cell["experiment_id"] for cell in (whole, cut)}
    assert {e.experiment_id: e.signal for e in table.experiments} == {
        e.experiment_id: Metric("train_loss", direction="min")
        if e.experiment_id in with_curves
        else None
        for e in table.experiments
    }
    found = [
        table.curve(
            table.index(cell["experiment_id"]), _row(table, cell)
        ).tolist()
        for cell in (whole, cut)
    ]
    assert found[0] == [
        [pytest.approx(1 / 3), 5.0],
        [pytest.approx(2 / 3), 4.0],
        [1.0, 3.0],
    ]
    assert found[1] == [[0.25, 7.0], [0.5, math.inf]], (
        "it diverged after half of its FLOPs"
    )
    assert (
        len(table.curve_points) == 5
        and len(table.curve_offsets) == len(rows) + 1
    )
    with pytest.raises(ValueError, match="read-only"):
        table.curve_points[0] = 0


def _row(table, cell):
    """Row of a mart's cell within its experiment."""
    e = table.index(cell["experiment_id"])
    point = table.experiments[e].space.encode(json.loads(cell["config_json"]))
    return int(np.argmin(np.abs(table.points[e] - point).sum(axis=1)))


def test_snapshot__no_signal__has_no_curves(home, tmp_path):
    building.publish(
        home, building.build(write_marts(tmp_path / "marts"), home)
    )
    table = snapshot.open_snapshot(home)
    assert {e.signal for e in table.experiments} == {None} and table.curve(
        2, 3
    ).shape == (0, 2)


def test_snapshot__made_before_curves__says_to_build_it_again(home, tmp_path):
    table_id = building.build(write_marts(tmp_path / "marts"), home)
    url = storage.join(home, "snapshots", table_id, "manifest.json")
    write_schema(url, 2)
    with pytest.raises(
        SnapshotError,
        match=r"has schema 2, this version reads 4\. Fix: autollm run",
    ):
        snapshot.open_snapshot(home, table_id)


def test_snapshot__rows_in_another_order_and_landed_in_another_batch__same_id(
    tmp_path,
):
    first = building.build(write_marts(tmp_path / "a"), str(tmp_path / "home"))
    other = write_marts(
        tmp_path / "b", shuffle=np.random.default_rng(0), batch="b2"
    )
    assert building.build(other, str(tmp_path / "home")) == first


def test_snapshot__arrays__cannot_be_written(home, tmp_path):
    building.publish(
        home, building.build(write_marts(tmp_path / "marts"), home)
    )
    with pytest.raises(ValueError, match="read-only"):
        snapshot.open_snapshot(home).columns["objective"][0] = 0


def test_snapshot__altered_file__is_not_published(home, tmp_path):
    good = building.build(write_marts(tmp_path / "marts"), home)
    storage.write_atomic(
        storage.join(home, "snapshots", good, "arrays", "objective.npy"), b"x"
    )
    with pytest.raises(SnapshotError, match=r"objective\.npy was altered"):
        building.publish(home, good)
    assert snapshot.published_id(home) is None


def test_snapshot__deleted_manifest__clear_error_and_rebuild_restores_it(
    home, tmp_path
):
    marts = write_marts(tmp_path / "marts")
    table_id = building.build(marts, home)
    building.publish(home, table_id)
    storage.remove(storage.join(home, "snapshots", table_id, "manifest.json"))
    with pytest.raises(SnapshotError, match=r"no manifest\.json"):
        snapshot.open_snapshot(home)
    assert building.build(marts, home) == table_id
    assert snapshot.open_snapshot(home).table_id == table_id


def flipped(data: bytes, n_bits: int = 400) -> bytes:
    """The same bytes with bits flipped in their second half."""
    out = bytearray(data)
    for i in range(n_bits):
        out[-1 - (i * 7) % (len(out) // 2)] ^= 1 << i % 8
    return bytes(out)


OPENED = ["arrays/objective.npy", "arrays/offsets.npy", "experiments.json"]


@pytest.mark.parametrize("name", OPENED)
@pytest.mark.parametrize(
    "damage", [flipped, lambda _: b""], ids=["bits", "empty"]
)
def test_snapshot__damaged_file__is_not_opened_and_a_build_mends_it(
    home, tmp_path, name, damage
):
    marts = write_marts(tmp_path / "marts")
    table_id = building.build(marts, home)
    building.publish(home, table_id)
    good = snapshot.open_snapshot(home)
    url = storage.join(home, "snapshots", table_id, name)
    storage.write_atomic(url, damage(storage.read_bytes(url)))
    with pytest.raises(
        SnapshotError, match=rf"{name} was altered.*Fix: autollm run"
    ):
        snapshot.open_snapshot(home)
    assert building.build(marts, home) == table_id
    ids = [e.experiment_id for e in good.experiments]
    assert snapshot.open_snapshot(home).digest(ids) == good.digest(ids)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"table_id": 3}'])
def test_snapshot__damaged_pointer__says_so_and_publishing_mends_it(
    home, tmp_path, data
):
    table_id = building.build(write_marts(tmp_path / "marts"), home)
    pointer = storage.join(home, "snapshots", "current.json")
    storage.write_atomic(pointer, data)
    with pytest.raises(
        SnapshotError, match=r"current\.json is damaged.*Fix: autollm"
    ):
        snapshot.open_snapshot(home)
    building.publish(home, table_id)
    assert snapshot.open_snapshot(home).table_id == table_id


@pytest.mark.parametrize("data", [b"", b"{}", b"null"])
def test_snapshot__damaged_manifest__says_so(home, tmp_path, data):
    marts = write_marts(tmp_path / "marts")
    table_id = building.build(marts, home)
    manifest = storage.join(home, "snapshots", table_id, "manifest.json")
    storage.write_atomic(manifest, data)
    with pytest.raises(SnapshotError, match=r"manifest\.json is damaged"):
        snapshot.open_snapshot(home, table_id)
    assert building.build(marts, home) == table_id
    assert snapshot.open_snapshot(home, table_id).table_id == table_id


def test_build__damaged_export__names_the_mart(tmp_path):
    marts = write_marts(tmp_path / "marts")
    (tmp_path / "marts" / "dim_configs.parquet").write_bytes(b"")
    with pytest.raises(
        SnapshotError, match=r"dim_configs\.parquet is damaged.*Fix"
    ):
        building.build(marts, str(tmp_path / "home"))


def test_snapshot__disk_full__old_one_still_stands(tmp_path, monkeypatch):
    home = str(tmp_path / "home")
    old = building.build(write_marts(tmp_path / "marts"), home)
    building.publish(home, old)
    write = storage.write_atomic

    def full(url, data):
        if url.endswith("points.npy"):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(url, data)

    curves = pa.Table.from_pylist(
        [
            {
                "source": "toy",
                "source_group": "",
                "run_id": "r",
                "metric": "loss",
                "line": 3,
                "value": 2.0,
                "batch_id": "b",
            }
        ]
    )
    pq.write_table(curves, tmp_path / "marts" / "fct_learning_curves.parquet")
    monkeypatch.setattr(storage, "write_atomic", full)
    with pytest.raises(SnapshotError, match="No space left"):
        building.build(str(tmp_path / "marts"), home)
    assert snapshot.open_snapshot(
        home
    ).table_id == old and snapshot.list_snapshots(home) == [old]


def test_snapshot__missing_mart__names_it(tmp_path):
    with pytest.raises(SnapshotError, match="mart_gym__outcomes is missing"):
        building.build(str(tmp_path), str(tmp_path / "home"))


def test_snapshot__nothing_published__says_what_to_run(home):
    with pytest.raises(SnapshotError, match="make run"):
        snapshot.open_snapshot(home)


def test_snapshot__other_schema__says_what_to_do(home, tmp_path):
    table_id = building.build(write_marts(tmp_path / "marts"), home)
    url = storage.join(home, "snapshots", table_id, "manifest.json")
    write_schema(url, 99)
    with pytest.raises(
        SnapshotError, match=r"schema 99.*a newer autollm wrote it"
    ):
        snapshot.open_snapshot(home, table_id)


def test_snapshot__episode__plays_on_it(home, tmp_path):
    building.publish(
        home, building.build(write_marts(tmp_path / "marts"), home)
    )
    table = snapshot.open_snapshot(home)
    episode = start(make_task(table), table, 0)
    assert episode.run_candidate(3).status == "ok"


def test_suites__every_file__loads_with_known_splits_and_cheaper_evidence():
    for suite_id in suite_ids():
        for task in load_suite(suite_id).tasks:
            assert (
                task.split in ("train", "validation", "test")
                and task.target not in task.evidence
            )


def test_suites__no_test_target__is_a_train_or_validation_target_anywhere():
    other = {
        t.target
        for s in suite_ids()
        for t in load_suite(s).tasks
        if t.split != "test"
    }
    assert not other & held_out()


def test_suites__masked__same_tasks_with_names_hidden():
    suite, masked = (
        load_suite("steplaw-dense-top-v1"),
        load_suite("steplaw-dense-top-v1-masked"),
    )
    assert [t.target for t in suite.tasks] == [
        t.target for t in masked.tasks
    ] and all(t.masked for t in masked.tasks)


def test_suites__unknown__did_you_mean():
    with pytest.raises(
        UnknownNameError, match="Did you mean 'steplaw-dense-top-v1'"
    ):
        load_suite("steplaw-dense-to-v1")


def test_storage__failed_write__leaves_old_bytes_and_no_litter(
    tmp_path, monkeypatch
):
    url = str(tmp_path / "file")
    storage.write_atomic(url, b"old")
    monkeypatch.setattr(
        storage.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk"))
    )
    with pytest.raises(OSError, match="disk"):
        storage.write_atomic(url, b"new")
    assert storage.read_bytes(url) == b"old" and storage.list_names(
        str(tmp_path)
    ) == ["file"]


def test_snapshot__context_of_an_experiment__is_kept_and_shown_to_policies(
    tmp_path,
):
    marts = write_marts(tmp_path / "marts")
    path = tmp_path / "marts" / "dim_experiments.parquet"
    ids = sorted(set(pq.read_table(path)["experiment_id"].to_pylist()))
    context = ['{"parametrization":"mup"}', *("{}" for _ in ids[1:])]
    pq.write_table(
        pa.table({"experiment_id": ids, "context_json": context}), path
    )
    home = str(tmp_path / "home")
    building.publish(home, building.build(marts, home))
    table = snapshot.open_snapshot(home)
    shown = {e.experiment_id: e.context for e in table.experiments}
    assert shown == {
        ids[0]: {"parametrization": "mup"},
        **{i: {} for i in ids[1:]},
    }
    task = make_task(table, target=ids[0], evidence=())
    assert start(task, table, 0).drawn.view.context == {
        "parametrization": "mup"
    }
