import math

import pytest

from autollm.core.statuses import status_of
from autollm.logs.readers.tools.wandb_offline import (
    WandbFolderReader,
    WandbOfflineReader,
)
from tests.unit.logs.readers.opened import (
    FIXTURES,
    Opened,
    curve_of,
    opened_file,
    read_file,
    read_folder,
    runs_of,
)

WANDB = FIXTURES / "wandb"


@pytest.fixture(scope="module")
def sweep():
    return read_folder(WandbFolderReader(), WANDB)


def file_of(run_id):
    return next(WANDB.glob(f"*/run-{run_id}.wandb"))


def test_wandb_folder__four_runs__have_settings_results_and_states(sweep):
    runs = runs_of(sweep)
    assert {name: row["state"] for name, row in runs.items()} == {
        "finished1": "finished",
        "failed1": "failed",
        "resumed1": "finished",
    }
    row = runs["finished1"]
    assert (row["config.optimizer.lr"], row["config.width"]) == (0.001, 64)
    assert row["config.optimizer.betas"] == "[0.9,0.95]"
    assert row["config.dropout"] is None
    assert row["summary.train/loss"] == pytest.approx(3.6)
    assert row["summary.best/val_loss"] == 3.5
    assert row["last_step"] == 50
    assert sweep.roles["config.optimizer.lr"] == "setting"
    assert sweep.roles["summary.train/loss"] == "result"
    assert all(status_of(row["state"]) for row in runs.values())


def test_wandb_folder__history__is_whole_and_as_logged(sweep):
    losses = curve_of(sweep, "finished1", "train/loss")
    assert [step for step, _ in losses] == [0, 10, 20, 30, 40, 50]
    assert losses[2] == (20, pytest.approx(3.9))
    assert [step for step, _ in curve_of(sweep, "finished1", "val.loss")] == [
        0,
        20,
        40,
    ]
    point = sweep.points.to_pylist()[3]
    assert (point["step"], point["tokens"]) == (10, 10_000.0)
    assert math.isnan(curve_of(sweep, "failed1", "train/loss")[-1][1])


def test_wandb_folder__a_resumed_run__is_one_and_keeps_both_points_of_a_step(
    sweep,
):
    steps = [step for step, _ in curve_of(sweep, "resumed1", "train/loss")]
    assert steps == [0, 10, 20, 30, 40, 30, 40, 50, 60, 70]
    lines = [
        p["line"]
        for p in sweep.points.to_pylist()
        if p["run_key"] == "resumed1"
    ]
    assert lines == sorted(lines)
    assert any("resumed" in note for note in sweep.notes)


def test_wandb_folder__a_file_without_a_record__is_named_and_stops_nothing(
    sweep,
):
    assert any("killed1" in note for note in sweep.notes)
    assert sweep.n_lines_bad == 0


def test_wandb_file__cut_before_its_exit__is_running_and_says_what_was_lost():
    whole = opened_file(file_of("finished1"))
    (relation,) = WandbOfflineReader().read(
        Opened(whole.name, whole.data[:-40])
    )
    (row,) = relation.runs.to_pylist()
    assert row["state"] == "running"
    assert [part.n_lines for part in relation.bad] == [1]
    assert "cut short" in relation.bad[0].reason


def test_wandb_file__a_flipped_bit__costs_one_record():
    whole = opened_file(file_of("finished1"))
    data = bytearray(whole.data)
    at = whole.data.index(b"train/loss") + 2
    data[at] ^= 1
    (damaged,) = WandbOfflineReader().read(Opened(whole.name, bytes(data)))
    intact = read_file(WandbOfflineReader(), file_of("finished1"))
    assert damaged.n_lines == intact.n_lines
    assert [part.reason for part in damaged.bad] == [
        "a record whose checksum is wrong"
    ]


def test_wandb_file__records_over_several_blocks__are_joined():
    from autollm.logs.readers.tools.wandb_offline import frame_records
    from tests.unit.logs.readers.wandb_files import framed

    records = [b"a" * 10, b"b" * 70_000, b"c" * 32_750, b"d" * 5]
    assert [record for record, _ in frame_records(framed(records))] == records


def test_wandb_file__a_forked_run__names_its_trunk():
    from tests.unit.logs.readers.wandb_files import framed, run_record

    data = framed([run_record("child", trunk="parent", at_step=400.0)])
    (relation,) = WandbOfflineReader().read(Opened("run-child.wandb", data))
    (row,) = relation.runs.to_pylist()
    assert (row["forked_from"], row["forked_at_step"]) == ("parent", 400.0)
    assert (row["trunk"], relation.roles["trunk"]) == ("parent", "trunk")


def test_wandb_folder__a_fork_of_a_fork__belongs_to_the_first_run():
    from autollm.logs.relation import OpenedFolder
    from tests.unit.logs.readers.wandb_files import framed, run_record

    files = {}
    for run_id, trunk in (
        ("a", ""),
        ("b", "a"),
        ("c", "b"),
        ("x", "y"),
        ("y", "x"),
    ):
        path = f"run-1-{run_id}/run-{run_id}.wandb"
        files[path] = Opened(path, framed([run_record(run_id, trunk, 4.0)]))
    (relation,) = WandbFolderReader().read(OpenedFolder("wandb", files))
    trunks = {row["run_id"]: row["trunk"] for row in relation.runs.to_pylist()}
    assert trunks == {"a": None, "b": "a", "c": "a", "x": "y", "y": "x"}
