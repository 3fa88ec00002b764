"""A suite of one's own: which experiment is what, and the file that says so."""

from __future__ import annotations

import tomllib
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import UnknownNameError
from autollm.core.ids import Origin, experiment_id
from autollm.gym.tasks.suite_making import (
    SELECT_FROM,
    TEST_SHARE,
    experiments_of,
    placed_tasks,
    toml_of,
)

FEW = settings(max_examples=60)


def experiment(flops, source="mine", label="", group="", **fidelity):
    fidelity = fidelity or {"params": float(flops)}
    origin = Origin(source, group)
    return SimpleNamespace(
        experiment_id=experiment_id(origin, fidelity),
        label=label or f"{origin.name}/{flops:g}",
        source=source,
        group=group,
        origin=origin,
        family="pretraining",
        fidelity=fidelity,
        compute_flops=float(flops),
    )


def table_of(*experiments):
    return SimpleNamespace(experiments=experiments)


def by_split(placed):
    found = {}
    for task in placed:
        found.setdefault(task.split, []).append(task.target.compute_flops)
    return found


def test_placed_tasks__ladder_of_ten__fifth_is_tested_and_one_selects():
    ladder = [experiment(2.0**i) for i in range(10)]
    placed = placed_tasks(ladder[::-1], 2.0)
    assert by_split(placed) == {
        "train": [2.0**i for i in range(1, 7)],
        "validation": [2.0**7],
        "test": [2.0**8, 2.0**9],
    }
    last = placed[-1]
    assert [e.compute_flops for e in last.evidence] == [
        2.0**i for i in range(9)
    ]


@pytest.mark.parametrize("n", [2, SELECT_FROM - 1])
def test_placed_tasks__few_experiments__spare_none_for_selection(n):
    placed = placed_tasks([experiment(4.0**i) for i in range(n)], 2.0)
    assert "validation" not in by_split(placed)
    assert len(by_split(placed)["test"]) == 1


@pytest.mark.parametrize(
    "experiments", [[], [experiment(1)], [experiment(1), experiment(1.5)]]
)
def test_placed_tasks__nothing_cheap_enough__is_no_task(experiments):
    assert placed_tasks(experiments, 2.0) == []


def test_placed_tasks__gap_of_one__takes_what_costs_as_much():
    same = [experiment(5.0), experiment(5.0, label="b", depth=2.0)]
    placed = placed_tasks(same, 1.0)
    assert {t.split for t in placed} == {"test"}
    for task in placed:
        assert len(task.evidence) == 2


@FEW
@given(
    st.lists(st.floats(1, 1e6), min_size=1, max_size=14),
    st.floats(1.01, 8),
    st.integers(1, 3),
)
def test_placed_tasks__any_ladder__keeps_test_above_what_is_trained_on(
    costs, gap, n_groups
):
    experiments = []
    for number, flops in enumerate(costs):
        group = str(number % n_groups)
        experiments.append(experiment(flops, group=group, n=float(number)))
    placed = placed_tasks(experiments, gap)
    for group in range(n_groups):
        own = [t for t in placed if t.target.group == str(group)]
        tested = [t.target.compute_flops for t in own if t.split == "test"]
        others = [t.target.compute_flops for t in own if t.split != "test"]
        assert not tested or not others or min(tested) > max(others)
        for task in own:
            for seen in task.evidence:
                assert seen.origin == task.target.origin
                assert seen.compute_flops * gap <= task.target.compute_flops * (
                    1 + 1e-9
                )
            n_cheap = 0
            for other in experiments:
                is_own = other.origin == task.target.origin
                limit = task.target.compute_flops / gap
                n_cheap += is_own and other.compute_flops <= limit
            assert len(task.evidence) == n_cheap > 0


@FEW
@given(st.integers(5, 40))
def test_placed_tasks__distinct_costs__share_of_tests_is_about_a_fifth(n):
    placed = placed_tasks([experiment(2.0**i) for i in range(n)], 2.0)
    tested = by_split(placed)["test"]
    assert abs(len(tested) - TEST_SHARE * n) <= 0.5


def test_experiments_of__source_and_its_groups__and_no_longer_name():
    table = table_of(
        experiment(1, "a"), experiment(2, "a", group="x"), experiment(3, "ab")
    )
    assert len(experiments_of(table, "a")) == 2
    assert len(experiments_of(table, "a/x")) == 1
    with pytest.raises(UnknownNameError, match="source 'b'"):
        experiments_of(table, "b")


def parsed(experiments, source="mine", gap=2.0):
    placed = placed_tasks(experiments, gap)
    text = toml_of("mine-own-v1", 1, source, placed, table_of(*experiments))
    return tomllib.loads(text), placed


def test_toml_of__ladder__names_fidelities_and_tasks():
    found, placed = parsed([experiment(2.0**i) for i in range(5)])
    assert found["suite_id"] == "mine-own-v1" and found["version"] == 1
    assert (found["family"], found["source"]) == ("pretraining", "mine")
    assert found["experiments"]["mine/16"] == {"params": 16}
    assert [t["split"] for t in found["tasks"]] == [t.split for t in placed]
    assert found["tasks"][-1]["target"] == "mine/16"
    assert found["tasks"][-1]["evidence"] == [
        "mine/1",
        "mine/2",
        "mine/4",
        "mine/8",
    ]


def test_toml_of__groups__are_fields_of_the_entries():
    experiments = [experiment(4.0**i, group="a") for i in range(3)]
    found, _ = parsed(experiments)
    assert found["source"] == "mine"
    for entry in found["experiments"].values():
        assert entry["group"] == "a" and "source" not in entry


def test_toml_of__labels_that_are_alike__are_told_by_their_ids():
    experiments = [experiment(4.0**i, label="same") for i in range(3)]
    found, _ = parsed(experiments)
    ids = {e.experiment_id for e in experiments}
    assert set(found["experiments"]) == ids


def test_toml_of__two_contexts_of_one_size__are_told_by_their_ids():
    one = experiment(1.0, label="one", params=8.0)
    other = experiment(1.0, label="other", params=8.0)
    other.experiment_id = "mine:12345678"
    top = experiment(9.0, label="top", params=64.0)
    found, _ = parsed([one, other, top])
    assert "id" not in found["experiments"]["one"]
    assert found["experiments"]["other"]["id"] == "mine:12345678"


NAMES = st.text(min_size=1, max_size=8).filter(lambda s: s.isprintable())


@FEW
@given(
    st.lists(NAMES, min_size=2, max_size=4, unique=True),
    NAMES,
    st.floats(1e-6, 1e30),
)
def test_toml_of__any_names_and_numbers__are_read_back(
    labels, coordinate, size
):
    experiments = []
    for number, label in enumerate(labels):
        fidelity = {coordinate: size * 4.0**number}
        experiments.append(experiment(4.0**number, "mine", label, **fidelity))
    found, _ = parsed(experiments)
    for one in experiments:
        entry = found["experiments"][one.label]
        assert entry[coordinate] == pytest.approx(one.fidelity[coordinate])


@pytest.mark.parametrize(
    "odd", ["\x7f", "a\nb", 'q"q', "\\", "\t", "\x01", "日本", "😀"]
)
def test_toml_of__character_that_toml_does_not_take__is_escaped(odd):
    experiments = [experiment(4.0**i, "mine", f"{odd}{i}") for i in range(2)]
    found, _ = parsed(experiments)
    assert set(found["experiments"]) == {f"{odd}0", f"{odd}1"}
