"""The lab as a partitioned asset."""

from __future__ import annotations

import dataclasses

import dagster as dg
import pytest

from autollm.core.places import resolve
from autollm.lab import runner
from autollm.lab.families import FAMILIES
from pipelines.assets import lab
from pipelines.definitions import defs
from pipelines.jobs import MAIN, REBUILD, SWEEP
from pipelines.resources import JobSettings
from tests.unit.lab.live_tables import TINY, Inline, text

LEVEL = dataclasses.replace(TINY["pretraining"].levels[0], name="a1")
FAMILY = dataclasses.replace(TINY["pretraining"], levels=(LEVEL,))


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """`pretraining` with one level of a second, trained here on made-up text."""
    from autollm.lab.trainers import pretraining

    monkeypatch.setenv("AUTOLLM_HOME", str(tmp_path))
    monkeypatch.setitem(FAMILIES, "pretraining", FAMILY)
    monkeypatch.setattr(pretraining, "load", lambda cache: text())
    monkeypatch.setattr(runner, "LocalLauncher", lambda jobs: Inline())


def test_partitions__every_level_of_every_family__has_one():
    keys = set(lab.lab_runs.partitions_def.get_partition_keys())
    families = FAMILIES.values()
    assert keys == {
        f"{f.name}.{level.name}" for f in families for level in f.every_level
    }


def test_jobs__sweep__is_partitioned_and_the_main_ones_are_not():
    assert defs.resolve_job_def(SWEEP).partitions_def is not None
    assert all(
        defs.resolve_job_def(name).partitions_def is None
        for name in (MAIN, REBUILD)
    )


def test_lab_runs__partition__trains_what_is_missing_and_says_so(tiny):
    def materialize():
        done = dg.materialize(
            [lab.lab_runs],
            partition_key="pretraining.a1",
            resources={"settings": JobSettings()},
        )
        (event,) = done.asset_materializations_for_node("lab_runs")
        return {name: value.value for name, value in event.metadata.items()}

    first = materialize()
    logs = list((resolve().lab / "pretraining").glob("*.jsonl"))
    assert first["left"] == 0
    assert first["trained"] == len(logs) == FAMILY.n_runs(LEVEL)
    logs[0].unlink()
    again = materialize()
    assert (again["trained"], again["recorded before"]) == (1, len(logs) - 1)
