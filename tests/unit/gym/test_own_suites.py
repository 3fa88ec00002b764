"""Suites of a home and of packages: found, checked, resolved by a table, held out."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

import autollm.gym  # noqa: F401
from autollm.core.errors import EpisodeError, SuiteError, UnknownNameError
from autollm.core.ids import Origin
from autollm.core.places import SHIPPED_GYM
from autollm.gym.tables.snapshot import open_snapshot
from autollm.gym.tasks import suite_files, suites
from autollm.gym.tasks.suite_making import (
    experiments_of,
    make_suite,
    placed_tasks,
)
from tests.unit.gym.tables import make_table

OWN = """suite_id = "mine-v1"
version = 1
family = "pretraining"
source = "toy"
description = "Mine."

[experiments]
small = { params = 10000, tokens = 100000 }
large = { params = 40000, tokens = 400000 }

[[tasks]]
split = "test"
target = "large"
evidence = ["small"]
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "mine-v1.toml").write_text(OWN)
    return str(tmp_path)


def test_suites__of_a_home__stand_beside_those_that_ship(home):
    shipped = suites.suite_ids("memory://none")
    assert set(suites.suite_ids(home)) - set(shipped) == {"mine-v1"}
    assert suites.load_suite("mine-v1-masked", home=home).tasks[0].masked
    with pytest.raises(UnknownNameError, match="Did you mean 'mine-v1'"):
        suites.load_suite("mine-v2", home=home)


def test_suites__of_a_home_with_a_shipped_name__stand_in_for_nothing(
    home, tmp_path
):
    text = OWN.replace("mine-v1", "lab-optimizer-v1")
    (tmp_path / "suites" / "lab-optimizer-v1.toml").write_text(text)
    assert (
        suites.load_suite("lab-optimizer-v1", home=home).source
        == "lab-optimizer"
    )


def test_load_suite__table__resolves_fidelities_to_its_experiments(home):
    table = make_table(2)
    suite = suites.load_suite("mine-v1", home=home)
    assert suite.missing(
        table
    )  # the table's ids are no hashes of a fidelity alone
    (task,) = suites.resolved(suite, table).tasks
    assert (task.target, task.evidence) == ("toy:1", ("toy:0",))
    assert suites.load_suite("mine-v1", table, home).tasks == (task,)


def test_load_suite__group_within_the_source_of_an_older_file__is_a_field(
    home, tmp_path
):
    text = OWN.replace("small = {", 'small = { source = "toy/easy",')
    text = text.replace("large = {", 'large = { group = "easy",')
    (tmp_path / "suites" / "mine-v1.toml").write_text(text)
    suite = suites.load_suite("mine-v1", home=home)
    origins = {place.origin for place in suite.places.values()}
    assert origins == {Origin("toy", "easy")}
    assert all(e.startswith("toy/easy:") for e in suite.places)


def test_load_suite__two_contexts_at_one_fidelity__asks_for_the_id(home):
    table = make_table(2)
    other = replace(table.experiments[1], experiment_id="toy:other")
    table = replace(
        table,
        experiments=(*table.experiments, other),
        offsets=np.append(table.offsets, table.offsets[-1]),
        points=(*table.points, table.points[1][:0]),
    )
    with pytest.raises(SuiteError, match=r"2 experiments .*Fix: name one"):
        suites.load_suite("mine-v1", table, home)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('evidence = ["small"]', 'evidence = ["smal"]', "names 'smal'"),
        ('split = "test"', 'split = "tests"', "'tests', expected one of"),
        ("version = 1\n", "version = 1\nworkers = 3\n", "workers"),
        ("tokens = 100000", 'tokens = "many"', "expected a number"),
        ('suite_id = "mine-v1"', 'suite_id = "yours-v1"', "the file's name"),
        ("[experiments]", "[experiments", "is no TOML"),
        ("family", "#", "family"),
    ],
)
def test_load_suite__wrong_file__says_what_and_where(
    home, tmp_path, old, new, words
):
    (tmp_path / "suites" / "mine-v1.toml").write_text(OWN.replace(old, new, 1))
    with pytest.raises(SuiteError, match=r"mine-v1\.toml") as said:
        suites.load_suite("mine-v1", home=home)
    assert words in str(said.value) and "Fix:" in str(said.value)
    with pytest.raises(SuiteError):
        suites.held_out(home=home)


def test_held_out__own_suite__its_test_targets_too(home):
    table = make_table(2)
    own = suites.held_out(table, home) - suites.held_out(
        table, str(SHIPPED_GYM)
    )
    assert "toy:1" in own and "toy:0" not in own


def test_make_suite__shipped_source__plays_and_is_made_once(tmp_path):
    table = open_snapshot(str(SHIPPED_GYM))
    suite_id, url = make_suite(table, "lab-rl_tuning", str(tmp_path))
    assert suite_id == "lab-rl_tuning-own-v1" and url.endswith("own-v1.toml")
    suite = suites.load_suite(suite_id, table, str(tmp_path))
    assert not suite.missing(table)
    assert make_suite(table, "lab-rl_tuning", str(tmp_path))[0] == suite_id
    wider, _ = make_suite(table, "lab-rl_tuning", str(tmp_path), gap=1.5)
    assert wider == "lab-rl_tuning-own-v2"


def test_placed_tasks__every_group__tests_what_costs_more_than_it_trains_on():
    table = open_snapshot(str(SHIPPED_GYM))
    for source in ("lab-pretraining", "lab-architecture", "lab-rl_tuning"):
        placed = placed_tasks(experiments_of(table, source), 2.0)
        for group in {p.target.source for p in placed}:
            own = [p for p in placed if p.target.source == group]
            test = [p.target.compute_flops for p in own if p.split == "test"]
            other = [p.target.compute_flops for p in own if p.split != "test"]
            assert test and min(test) > max(other, default=0.0)
        for task in placed:
            assert all(
                e.compute_flops * 2 <= task.target.compute_flops
                for e in task.evidence
            )


def test_make_suite__one_level__is_refused(tmp_path):
    with pytest.raises(SuiteError, match="1 experiments"):
        make_suite(make_table(1), "toy", str(tmp_path))


def test_gymnasium__lab_suite_by_name__plays_the_shipped_snapshot(tmp_path):
    home = str(tmp_path)
    env = gymnasium.make(
        "autollm/lab-pretraining-v3", home=home, split="test", task=1
    )
    env.reset(seed=0)
    assert env.unwrapped.view is not None
    many = gymnasium.make_vec("autollm/lab-optimizer-v1", num_envs=5, home=home)
    many.reset(seed=0)
    _, rewards, *_ = many.step(np.zeros(5, int))
    assert rewards.shape == (5,)
    with pytest.raises(EpisodeError, match="no task 9"):
        gymnasium.make(
            "autollm/lab-pretraining-v3", home=home, split="test", task=9
        )


def test_gymnasium__suite_that_no_snapshot_holds__says_how_to_get_it(tmp_path):
    with pytest.raises(Exception, match="autollm sources fetch"):
        gymnasium.make("autollm/tinker-sft-v1", home=str(tmp_path))


def test_home_folder__no_home_named__is_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("AUTOLLM_HOME", "/somewhere")
    assert suite_files.home_folder() == "/somewhere/suites"
    assert suite_files.home_folder("elsewhere") == "elsewhere/suites"
