"""What an agent trains on: rows that name an episode, and the spaces of generated
landscapes.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.agent.curriculum import (
    GENERATED_FROM,
    episode_opener,
    generated_row,
    recorded_row,
)
from autollm.agent.landscape_names import KNOB_NAMES, invented
from autollm.agent.landscape_spaces import (
    LEVELS,
    MAX_CELLS,
    draw_design,
    draw_part,
    draw_recorded,
    small_space,
    wide_space,
)
from autollm.testing.tables import make_table, make_task

FEW = settings(max_examples=50)
SEEDS = st.integers(0, 100_000)
TABLE = make_table()
TASKS = [
    make_task(TABLE, task_id="a"),
    make_task(TABLE, task_id="b", evidence=("toy:0",)),
]
KNOWN = {name for names in KNOB_NAMES.values() for name in names}


def rng_of(seed):
    return np.random.default_rng(seed)


@FEW
@given(SEEDS, st.integers(1, 5))
def test_recorded_row__any_seed__names_a_task_and_some_of_its_evidence(
    seed, trials
):
    row = recorded_row(TASKS, rng_of(seed), trials)
    task = {t.task_id: t for t in TASKS}[row["task_id"]]
    evidence = row["evidence"].split(",")
    assert evidence and set(evidence) <= set(task.evidence)
    assert len(set(evidence)) == len(evidence)
    assert row["landscape"] == -1 and row["trials"] == trials
    json.dumps(row)  # a data set holds plain values


def test_recorded_row__many_seeds__are_masked_one_time_in_four():
    rng = rng_of(0)
    masked = [recorded_row(TASKS, rng, 3)["masked"] for _ in range(2000)]
    assert np.mean(masked) == pytest.approx(0.25, abs=0.04)


def test_recorded_row__many_seeds__keep_seven_tenths_of_the_evidence():
    rng = rng_of(0)
    kept = []
    for _ in range(2000):
        row = recorded_row(TASKS[:1], rng, 3)
        kept.append(len(row["evidence"].split(",")))
    n = len(TASKS[0].evidence)
    # one is kept where none was drawn
    wanted = 0.7 * n + 0.3**n
    assert np.mean(kept) == pytest.approx(wanted, abs=0.08)


@FEW
@given(SEEDS)
def test_generated_row__any_seed__lies_among_the_seeds_of_training(seed):
    row = generated_row(rng_of(seed), 3)
    assert GENERATED_FROM <= row["landscape"] < 2e9
    assert row["seed"] == row["landscape"]
    json.dumps(row)


def test_episode_opener__recorded_row__opens_that_task_as_it_says():
    opener = episode_opener(TASKS, TABLE)
    row = recorded_row(TASKS[:1], rng_of(3), 2) | {"masked": False}
    episode = opener(**row, prompt="ignored")
    assert episode.drawn.task.target == TASKS[0].target
    assert episode.drawn.task.trials == 2
    shown = {e.experiment_id for e in episode.drawn.view.evidence}
    assert shown == set(row["evidence"].split(","))


@pytest.mark.parametrize("seed", [3, 4])
def test_episode_opener__same_row_twice__is_the_same_episode(seed):
    opener = episode_opener(TASKS, TABLE)
    for row in (
        recorded_row(TASKS, rng_of(seed), 2),
        generated_row(rng_of(seed), 2),
    ):
        one, other = opener(**row), opener(**row)
        assert np.array_equal(one.points, other.points)
        assert np.array_equal(one.latent, other.latent)
        assert one.drawn.task == other.drawn.task


def test_episode_opener__task_that_is_not_there__is_no_other_one():
    row = recorded_row(TASKS, rng_of(0), 2) | {"task_id": "c"}
    with pytest.raises(KeyError, match="c"):
        episode_opener(TASKS, TABLE)(**row)


@FEW
@given(SEEDS)
def test_small_space__any_seed__is_a_grid_of_one_to_four_numbers(seed):
    kinds, space = small_space(rng_of(seed))
    assert len(kinds) == len(space.knobs) == len(space) in LEVELS
    low, high = LEVELS[len(space)]
    for knob in space.knobs:
        assert knob.scale == "log" and low <= len(knob.levels) < high
        steps = np.diff(np.log2(knob.levels))
        assert steps == pytest.approx(knob.step)
    assert space.grid is not None


@FEW
@given(SEEDS)
def test_wide_space__any_seed__is_a_mixture_or_many_knobs(seed):
    kinds, space = wide_space(rng_of(seed))
    assert len(kinds) == len(space)
    if len(space.knobs) == 1:
        (knob,) = space.knobs
        assert knob.scale == "simplex" and 3 <= len(knob.levels) <= 7
        assert knob.name not in knob.levels
        assert space.grid is None
    else:
        assert 5 <= len(space.knobs) <= 7
        assert len(space.grid) <= 2 * MAX_CELLS
        for knob in space.knobs:
            assert len(knob.levels) >= 2


@FEW
@given(SEEDS)
def test_space__same_seed__is_the_same_and_names_differ_within_it(seed):
    for draw in (small_space, wide_space):
        (kinds, space), again = draw(rng_of(seed)), draw(rng_of(seed))
        assert (kinds, space) == again
        assert len(set(space.names)) == len(space.names)


@FEW
@given(SEEDS)
def test_draw_design__any_wide_space__holds_its_configurations_once(seed):
    rng = rng_of(seed)
    _, space = wide_space(rng)
    design = draw_design(rng, space)
    assert 1 <= len(design) <= 64
    assert len(np.unique(design, axis=0)) == len(design)
    for point in design:
        decoded = space.decode(point)
        assert space.encode(decoded) == pytest.approx(point, abs=1e-4)
    if space.grid is None or len(space.grid) >= 64:
        assert len(design) >= 24


@FEW
@given(SEEDS)
def test_draw_part__any_design__is_three_fifths_of_it_or_more(seed):
    rng = rng_of(seed)
    design = rng.normal(size=(int(rng.integers(5, 60)), 2))
    part = draw_part(rng, design)
    assert 0.6 * len(design) <= len(part) <= len(design)
    rows = {tuple(row) for row in design}
    assert {tuple(row) for row in part} <= rows
    assert len({tuple(row) for row in part}) == len(part)


@FEW
@given(SEEDS, st.booleans())
def test_draw_recorded__any_grid__leaves_five_rows_or_all(seed, target):
    rng = rng_of(seed)
    _, space = small_space(rng)
    points = draw_recorded(rng, space, target)
    grid = {tuple(row) for row in np.round(space.grid, 6)}
    found = [tuple(row) for row in np.round(points, 6)]
    assert set(found) <= grid and len(set(found)) == len(found)
    assert len(found) >= min(5, len(grid))


@FEW
@given(SEEDS)
def test_invented__any_seed__is_a_name_of_a_config_file(seed):
    name = invented(rng_of(seed))
    assert name.isascii() and name.replace("_", "a").isalnum()
    assert not name[0].isdigit()


def test_invented__many__are_seldom_names_that_a_list_holds():
    rng = rng_of(0)
    names = [invented(rng) for _ in range(500)]
    assert sum(name in KNOWN for name in names) < 25
    assert len(set(names)) > 400
