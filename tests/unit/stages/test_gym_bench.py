import json
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from autollm.cli.main import app
from autollm.gym.tables.snapshot import check_snapshot, open_snapshot
from autollm.snapshots.building import freeze
from autollm.stages import gym_bench

RATIOS = {
    "scalar_vs_dict",
    "lookup_vector_vs_dict",
    "step_vector_vs_dict",
    "scalar_vs_syne_tune",
}
OPENING = {"open_s", "open_mb", "thousand_envs_mb"}


@pytest.fixture
def small(monkeypatch):
    """A snapshot of a thousand outcomes instead of a million."""
    monkeypatch.setattr(gym_bench, "LARGE", (20, 50))


def test_bench__few_rounds__vectors_beat_a_dict_and_a_scalar_step_comes_near_it(
    capsys,
):
    found = gym_bench.measure_ratios(5)
    assert set(found) == RATIOS
    # A fifth of what the gym reaches: the tests' machine may be busy.
    assert (
        found["scalar_vs_dict"] > 0.03
        and found["lookup_vector_vs_dict"] > 3
        and found["step_vector_vs_dict"] > 1
    )
    assert (
        found["scalar_vs_syne_tune"] is None
        or found["scalar_vs_syne_tune"] > 40
    )


def test_bench__without_syne_tune__is_null_and_says_why(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "syne_tune", None)
    monkeypatch.setitem(sys.modules, "syne_tune.blackbox_repository", None)
    monkeypatch.setitem(
        sys.modules, "syne_tune.blackbox_repository.blackbox_tabular", None
    )
    assert gym_bench.measure_ratios(1)["scalar_vs_syne_tune"] is None
    assert "pip install 'autollm[baselines]'" in capsys.readouterr().err


def test_bench__opening__measures_a_fresh_process(small):
    found = gym_bench.measure_opening()
    assert set(found) == OPENING
    assert (
        0 < found["open_s"] < 60
        and 0 < found["open_mb"] < 100
        and found["thousand_envs_mb"] < 300
    )


def test_bench_gym__json__is_one_object_on_stdout(small):
    done = CliRunner().invoke(app, ["bench", "gym", "--rounds", "1", "--json"])
    assert (
        done.exit_code == 0 and set(json.loads(done.stdout)) == RATIOS | OPENING
    )


def test_bench_gym__plain__names_every_figure(small):
    done = CliRunner().invoke(app, ["bench", "gym", "--rounds", "1"])
    assert all(name in done.stdout for name in RATIOS | OPENING)


def test_grid_table__shape__is_as_asked_and_can_be_frozen(tmp_path):
    table = gym_bench.grid_table(3, (4, 5), share=0.5)
    assert [len(p) for p in table.points] == [10, 10, 10]
    freeze(table, str(tmp_path))
    assert check_snapshot(str(tmp_path), "bench") == []
    assert np.array_equal(
        open_snapshot(str(tmp_path), "bench").loss, table.loss
    )
