"""Levels beside the ladders: far and fresh, trained and packed apart, cost in processor
time.
"""

import dataclasses
import json

import numpy as np
import pytest

from autollm.core.errors import RecordError, UnknownNameError
from autollm.core.ids import Origin, experiment_id
from autollm.core.records import RunEnd, RunHeader, to_line
from autollm.gym.tasks.suites import load_suite, suite_ids
from autollm.lab import archive, families, runner
from autollm.lab.families import FAMILIES
from autollm.lab.families.architecture import ARCHITECTURE, shapes
from autollm.lab.families.pretraining import PRETRAINING
from autollm.lab.recording import header, language_model_log
from autollm.lab.spec import FAR, FRESH, LADDER, Level, added_level
from autollm.lab.stack import Curve
from autollm.lab.verify import seed_spread

CELLS = [{"learning_rate": 2.0**r, "batch_tokens": 64} for r in (-8.0, -7.0)]
SETTINGS = {"width": 16, "layers": 1, "tokens": 2**11}


@pytest.fixture
def tiny(monkeypatch):
    """A family with a ladder of one level, and a far one of two seeds."""
    far = added_level("far1", FAR, SETTINGS, "full", seeds=(0, 1))
    family = dataclasses.replace(
        PRETRAINING,
        design=lambda _: CELLS,
        levels=(Level("t1", "train", SETTINGS),),
        added=(far,),
    )
    monkeypatch.setitem(families.FAMILIES, "pretraining", family)
    return family


def write_logs(runs, folder):
    """Logs of made-up runs."""
    folder.mkdir(exist_ok=True)
    for run in runs:
        head = RunHeader(
            run.run_id,
            "lab-pretraining",
            "pretraining",
            run.config,
            {},
            run.seed,
        )
        end = RunEnd(
            "finished",
            {"val_loss": 3.0 + run.seed},
            {"flops": 1.0, "device_hours": 0.1},
        )
        lines = [to_line(record) + "\n" for record in (head, end)]
        (folder / f"{run.run_id}.jsonl").write_text("".join(lines))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_added_levels__design__fills_the_window_with_three_seeds_in_every_cell(
    family,
):
    splits = {level.sweep: level.split for level in family.added}
    assert splits == {FAR: "validation", FRESH: "test"}
    assert {level.sweep for level in family.levels} == {LADDER}
    for level in family.added:
        points = np.array(
            [family.space.encode(cell) for cell in family.design(level)]
        )
        assert all(family.space.inside(point) for point in points)
        assert len(np.unique(points, axis=0)) == len(points) >= 32
        assert (
            len(level.seeds) >= 3
            and not level.extra_seeds
            and not level.best_third_seeds
        )
        assert family.n_runs(level) == len(points) * len(level.seeds)
        assert level.clock == "processor"


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_added_levels__cost__is_eight_times_that_of_evidence_and_the_point_is_a_new_one(
    family,
):
    for level in family.added:
        task = level.settings.get("task")
        same_task = [
            lv for lv in family.levels if lv.settings.get("task") == task
        ]
        dearest_train = max(
            family.flops(lv) for lv in same_task if lv.split == "train"
        )
        dearest_test = max(
            family.flops(lv) for lv in same_task if lv.split == "test"
        )
        if (
            family.name != "architecture"
        ):  # its targets leave out a level that is trained on
            assert (
                family.flops(level)
                >= (8 if level.sweep == FRESH else 5) * dearest_train
            )
        assert family.flops(level) <= 1.2 * dearest_test
        others = [
            family.fidelity(lv) for lv in family.every_level if lv is not level
        ]
        assert family.fidelity(level) not in others


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_suites__far_and_fresh__targets_are_those_levels_and_evidence_costs_an_eighth(
    family,
):
    levels = {
        experiment_of(family, level): level for level in family.every_level
    }
    far, fresh = family.level("far1"), family.level("fresh1")
    versions = [
        load_suite(s)
        for s in suite_ids()
        if s.rpartition("-v")[0] == f"lab-{family.name}"
    ]
    newest = max(versions, key=lambda suite: suite.version)
    sealed = load_suite(f"lab-{family.name}-fresh-v1")
    asked = {
        level.name: [t for t in suite.tasks if levels[t.target] is level]
        for level, suite in ((far, newest), (fresh, sealed))
    }
    assert len(asked["fresh1"]) == len(sealed.tasks) and asked["far1"]
    for task in (*asked["far1"], *asked["fresh1"]):
        target, evidence = (
            levels[task.target],
            [levels[e] for e in task.evidence],
        )
        assert task.split == target.split and len(evidence) >= 3
        assert family.flops(target) >= 8 * max(map(family.flops, evidence))
        assert {level.settings.get("task") for level in evidence} == {
            target.settings.get("task")
        }
    seen = {
        e
        for suite in (*versions, sealed)
        for task in suite.tasks
        for e in task.evidence
    }
    assert not {levels[e].name for e in seen} & {"far1", "fresh1"}, (
        "nobody's evidence"
    )


def test_suites__newest_versions__keep_every_task_of_those_before():
    for before, now in (
        ("pretraining-v3", "pretraining-v4"),
        ("optimizer-v1", "optimizer-v2"),
    ):
        kept = [
            (t.split, t.target, t.evidence)
            for t in load_suite(f"lab-{now}").tasks
        ]
        assert kept[-1][0] == "test"
        old = [
            (t.split, t.target, t.evidence)
            for t in load_suite(f"lab-{before}").tasks
        ]
        assert set(old) < set(kept) and len(kept) == len(old) + 1


def experiment_of(family, level):
    origin = Origin(f"lab-{family.name}", level.settings.get("task", ""))
    return experiment_id(origin, family.fidelity(level))


def test_added_levels__budgets_of_shapes__leave_those_of_the_ladder_alone():
    before = shapes(160_000)
    for level in ARCHITECTURE.added:
        assert all(
            ARCHITECTURE.allows(level, cell)
            for cell in ARCHITECTURE.design(level)
        )
    assert shapes(160_000) == before
    recorded = archive.read_runs(archive.shipped("architecture"))
    of_d3 = {run_id for run_id in recorded if "-d3-" in run_id}
    assert of_d3 and of_d3 <= set(ARCHITECTURE.known())


def test_sweep_levels__unknown_sweep__did_you_mean():
    assert [level.name for level in PRETRAINING.sweep_levels(FRESH)] == [
        "fresh1"
    ]
    with pytest.raises(UnknownNameError, match="'fresh'"):
        PRETRAINING.sweep_levels("fres")


def test_run_family__no_level_named__trains_the_ladder_alone(tiny, tmp_path):
    write_logs(tiny.runs(tiny.level("t1")), tmp_path)
    assert runner.run_family("pretraining", tmp_path).left == 0
    report = runner.run_family(
        "pretraining", tmp_path, level="far1", budget_s=0.0
    )
    assert (report.trained, report.left) == (0, 4)


def test_pack__sweeps_in_one_folder__go_into_archives_of_their_own(
    tiny, tmp_path
):
    far, ladder = tiny.runs(tiny.level("far1")), tiny.runs(tiny.level("t1"))
    write_logs([*far, *ladder], tmp_path / "logs")
    logs = tmp_path / "logs"
    paths = {
        sweep: archive.pack("pretraining", logs, tmp_path, sweep)
        for sweep in (LADDER, FAR)
    }
    assert set(archive.read_runs(paths[LADDER])) == {
        run.run_id for run in ladder
    }
    assert set(archive.read_runs(paths[FAR])) == {run.run_id for run in far}
    assert paths[FAR].name == "pretraining-far-v1.tar.xz"
    entry = json.loads((tmp_path / "manifest.json").read_text())["archives"][
        paths[FAR].name
    ]
    assert entry["commands"] == [
        "autollm lab run pretraining --level far1",
        "autollm lab pack pretraining --sweep far",
    ]
    assert archive.archives("pretraining", tmp_path) == [
        paths[LADDER],
        paths[FAR],
    ]


def test_pack__far_sweep_that_is_not_whole__refused_with_what_to_run(
    tiny, tmp_path
):
    write_logs(tiny.runs(tiny.level("far1"))[:3], tmp_path / "logs")
    with pytest.raises(
        RecordError, match=r"3 of the 4 runs .*lab run pretraining --level far1"
    ):
        archive.pack("pretraining", tmp_path / "logs", tmp_path, FAR)
    with pytest.raises(
        RecordError, match=r"no \*\.jsonl .*autollm lab run pretraining"
    ):
        archive.pack("pretraining", tmp_path / "logs", tmp_path)


@pytest.mark.parametrize(
    ("sweep", "expected_hours"), [(LADDER, 10.0), (FAR, 4.0)]
)
def test_cost__level_s_clock__says_which_seconds_count(
    tiny, sweep, expected_hours
):
    run = tiny.runs(tiny.sweep_levels(sweep)[0])[0]
    head = header(tiny, run, model={}, sha256="", packages=(), started="")
    curve = Curve(
        [1, 2], np.ones((2, 1)), [1800.0, 36_000.0], False, processor_s=14_400.0
    )
    records = language_model_log(
        tiny,
        run,
        0,
        curve,
        n_runs=1,
        batch_tokens=64,
        final={"val_loss": 3.0},
        flops_a_token=1.0,
        head=head,
        limit=9.0,
    )
    assert records[-1].cost["device_hours"] == expected_hours
    assert head.hardware.get("clock") == (
        None if sweep == LADDER else "processor"
    )
    assert records[-2].wall_time_s == 36_000.0


def test_recorded_sweeps__those_that_ship__are_whole_and_of_one_kind_of_processor():
    sweeps = [
        (family, sweep)
        for family in FAMILIES.values()
        for sweep in (FAR, FRESH)
    ]
    for family, sweep in sweeps:
        path = archive.archive_path(family.name, sweep=sweep)
        if path.exists():
            check_whole(family, sweep, path)


def check_whole(family, sweep, path):
    runs = archive.read_runs(path)
    declared = [
        run
        for level in family.sweep_levels(sweep)
        for run in family.runs(level)
    ]
    assert set(runs) == {run.run_id for run in declared}
    assert len({records[0].hardware["name"] for records in runs.values()}) == 1
    assert {records[0].hardware["clock"] for records in runs.values()} == {
        "processor"
    }
    assert (
        seed_spread(runs, family.objective.name, family.objective.direction) > 0
    )
    assert path.stat().st_size < 8e6
