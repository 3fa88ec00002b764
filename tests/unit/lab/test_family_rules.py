"""Families as declared: runs, stacks, ids, and the price of a shape."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import FamilyError, UnknownNameError
from autollm.core.metrics import Metric
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.lab.families import FAMILIES
from autollm.lab.shapes import Shape
from autollm.lab.spec import EXTRA_EVERY, Family, Level, Run, added_level

SPACE = Space((Knob("lr", "log", (0.1, 0.2, 0.4, 0.8)),))
CELLS = [{"lr": 0.1 * i} for i in range(1, 13)]
FAMILY_NAMES = sorted(FAMILIES)


def level(name="a1", **changes):
    fields = {"split": "train", "settings": {"width": 16}, **changes}
    return Level(name, **fields)


def family(*levels, **changes):
    fields = {
        "name": "toy",
        "version": 1,
        "space": SPACE,
        "levels": levels or (level(),),
        "objective": Metric("loss", direction="min"),
        "secondary": (),
        "design": lambda _: CELLS,
        "fidelity": lambda lv: {"params": float(lv.settings["width"])},
        "flops": lambda lv: float(lv.settings["width"]),
        "stack_key": lambda run: round(run.config["lr"], 1) > 0.5,
        "stack_size": 5,
    }
    return Family(**{**fields, **changes})


def test_runs__seeds_and_extra_seeds__are_every_cell_and_each_fifth():
    one = level(seeds=(0, 1), extra_seeds=(7, 8))
    runs = family(one).runs(one)
    assert len(runs) == 12 * 2 + 2 * 2
    extra = [r.config["lr"] for r in runs if r.seed in (7, 8)]
    wanted = [CELLS[EXTRA_EVERY - 1], CELLS[2 * EXTRA_EVERY - 1]]
    assert extra == [c["lr"] for c in wanted for _ in range(2)]
    assert len({r.run_id for r in runs}) == len(runs)


def test_runs__best_third__come_when_every_cell_has_its_first_seed():
    one = level(seeds=(3,), best_third_seeds=(4, 5))
    toy = family(one)
    plain = toy.runs(one)
    losses = {r.run_id: -r.config["lr"] for r in plain}
    some = dict(list(losses.items())[:-1])
    assert toy.runs(one, some) == toy.runs(one) == plain
    added = toy.runs(one, losses)[len(plain) :]
    assert toy.n_best(one) == 4
    best = sorted(c["lr"] for c in CELLS)[-4:]
    assert sorted({r.config["lr"] for r in added}) == best
    assert {r.seed for r in added} == {4, 5}
    assert len(plain) + len(added) == toy.n_runs(one)


def test_runs__equal_losses__best_third_is_the_same_each_time():
    one = level(best_third_seeds=(1,))
    toy = family(one)
    losses = dict.fromkeys((r.run_id for r in toy.runs(one)), 2.0)
    assert toy.runs(one, losses) == toy.runs(
        one, dict(reversed(losses.items()))
    )


def test_run_id__anything_that_makes_the_run__changes_it():
    base = Run("toy", level(), {"lr": 0.1}, 0)
    assert base.run_id == Run("toy", level(), {"lr": 0.1}, 0).run_id
    for other in (
        Run("toy", level(), {"lr": 0.2}, 0),
        Run("toy", level(), {"lr": 0.1}, 1),
        Run("toy", level(settings={"width": 32}), {"lr": 0.1}, 0),
    ):
        assert other.run_id != base.run_id
    untouched = level(split="test", seeds=(0, 1), extra_seeds=(2,))
    assert Run("toy", untouched, {"lr": 0.1}, 0).run_id == base.run_id


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.integers(1, 12), st.integers(0, 3)
        ),
        unique=True,
        max_size=40,
    ),
    st.integers(1, 7),
)
def test_stacks__any_runs__hold_each_once_in_even_stacks(picked, size):
    levels = {name: level(name) for name in "abc"}
    toy = family(*levels.values(), stack_size=size)
    runs = [
        Run("toy", levels[name], {"lr": 0.1 * i}, seed)
        for name, i, seed in picked
    ]
    stacks = toy.stacks(runs)
    flat = [run for stack in stacks for run in stack]
    assert sorted(map(repr, flat)) == sorted(map(repr, runs))
    for stack in stacks:
        assert 1 <= len(stack) <= size
        assert len({(r.level.name, toy.stack_key(r)) for r in stack}) == 1
    by_group = {}
    for stack in stacks:
        key = stack[0].level.name, toy.stack_key(stack[0])
        by_group.setdefault(key, []).append(len(stack))
    for sizes in by_group.values():
        assert len(sizes) == -(-sum(sizes) // size), "no stack more than needed"
    order = list(dict.fromkeys(run.level.name for run in runs))
    assert list(dict.fromkeys(s[0].level.name for s in stacks)) == order


def test_level_of__recorded_run__is_the_one_that_would_make_it():
    toy = family(level("a1"), level("b1", settings={"width": 32}))
    run = Run("toy", toy.level("b1"), {"lr": 0.3}, 2)
    assert toy.level_of(run.run_id, {"lr": 0.3}, 2).name == "b1"
    assert toy.level_of(run.run_id, {"lr": 0.3}, 3) is None
    assert toy.level_of("toy-b1-000000000000", {"lr": 0.3}, 2) is None


@pytest.mark.parametrize(
    ("direction", "final", "loss"),
    [
        ("min", {"loss": 2.0}, 2.0),
        ("max", {"loss": 2.0}, -2.0),
        ("min", {}, None),
        ("max", {"other": 1.0}, None),
    ],
)
def test_loss__either_direction__lower_is_better(direction, final, loss):
    found = family(objective=Metric("loss", direction=direction)).loss(final)
    assert found == loss or (loss is None and found != found)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"levels": (level(), level())}, "has two levels 'a1'"),
        ({"added": (level(),)}, "has two levels 'a1'"),
        ({"objective": Metric("loss")}, "has no direction"),
        (
            {
                "levels": (level("a"), level("b")),
                "fidelity": lambda lv: {lv.name: 1.0},
            },
            "expected one ladder",
        ),
    ],
)
def test_family__that_contradicts_itself__says_what(changes, said):
    with pytest.raises(FamilyError, match=said):
        family(**changes)


def test_family__unknown_level_or_sweep__names_the_known():
    toy = family()
    with pytest.raises(UnknownNameError, match="Known: a1"):
        toy.level("z9")
    with pytest.raises(UnknownNameError, match="Known: far, fresh, ladder"):
        toy.sweep_levels("near")


@pytest.mark.parametrize(
    ("sweep", "split"), [("far", "validation"), ("fresh", "test")]
)
def test_added_level__far_and_fresh__have_their_split_and_clock(sweep, split):
    found = added_level("x1", sweep, {"width": 8}, "full", seeds=(0,))
    assert (found.split, found.sweep, found.clock) == (
        split,
        sweep,
        "processor",
    )
    toy = family(level(), added=(found,))
    assert toy.sweep_levels(sweep) == (found,)
    assert toy.sweep_levels("ladder") == (toy.level("a1"),)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_shipped_family__every_cell__is_a_configuration_of_its_space(name):
    known = FAMILIES[name]
    for one in known.every_level:
        cells = known.design(one)
        assert cells and len({str(c) for c in cells}) == len(cells)
        for cell in cells[:: max(len(cells) // 12, 1)]:
            assert len(known.space.encode(cell)) == len(known.space)
            assert known.allows(one, cell)


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_shipped_family__ladder__rises_and_tests_cost_more_than_training(name):
    known = FAMILIES[name]
    flops = {s: [] for s in ("train", "validation", "test")}
    for one in known.levels:
        assert known.flops(one) > 0
        flops[one.split].append(known.flops(one))
    assert flops["train"] and flops["test"]
    assert max(flops["test"]) > max(flops["train"])


@pytest.mark.parametrize("name", FAMILY_NAMES)
def test_shipped_family__ids_of_all_runs__are_its_own(name):
    known = FAMILIES[name]
    for one in known.every_level[:3]:
        for run in known.runs(one)[:20]:
            assert run.run_id.startswith(f"{name}-{one.name}-")
            found = known.level_of(run.run_id, run.config, run.seed)
            assert found is not None and found.name == one.name


def test_shape__parameters__by_hand():
    """Width 16, 2 layers, 32 tokens: per block 2 norms, 3 + 1 + 4 + 4 squares."""
    shape = Shape(16, 2, vocabulary=32)
    block = 2 * 16 + (3 + 1 + 4 + 4) * 16 * 16
    assert shape.params == 2 * block + 16 + 16 * 32
    assert shape.total_params == shape.params + 32 * 16
    assert shape.n_heads == 1


def test_shape__tied_head__is_stored_once_and_multiplies_all_the_same():
    free, tied = Shape(16, 2, 32), Shape(16, 2, 32, tied=True)
    assert free.total_params - tied.total_params == 16 * 32
    assert tied.params == free.params - 16 * 32
    assert tied.train_flops_a_token == free.train_flops_a_token


@settings(max_examples=30)
@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 4))
def test_shape__more_of_anything__costs_more(width, layers, ratio):
    base = Shape(16 * width, layers, mlp_ratio=ratio)
    for bigger in (
        Shape(16 * (width + 1), layers, mlp_ratio=ratio),
        Shape(16 * width, layers + 1, mlp_ratio=ratio),
        Shape(16 * width, layers, mlp_ratio=ratio + 1),
    ):
        assert bigger.params > base.params
        assert bigger.train_flops_a_token > base.train_flops_a_token
    attention = 12.0 * layers * base.context * base.width
    assert base.train_flops_a_token == 6.0 * base.params + attention
