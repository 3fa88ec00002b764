"""A trained run as a raw log, and recorded runs against the same trained again."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import RecordError
from autollm.core.records import MAX_STEPS, RunEnd, RunHeader, RunStep
from autollm.lab.recording import (
    POINTS,
    POINTS_IN_FULL,
    cpu_name,
    digits,
    end,
    header,
    language_model_log,
    loss_diverged,
    thinned,
)
from autollm.lab.spec import Run
from autollm.lab.verify import Comparison, seed_spread
from tests.unit.lab.test_family_rules import family, level

FEW = settings(max_examples=40)


def a_run(**changes):
    toy = family()
    run = Run(toy.name, toy.levels[0], {"lr": 0.1}, 0)
    return toy, replace(run, **changes)


def steps_of(n):
    return [RunStep(i, {"train_loss": 1.0}) for i in range(1, n + 1)]


class Named:
    """A run of any id."""

    def __init__(self, run_id):
        self.run_id = run_id


@FEW
@given(st.integers(0, 1000), st.integers(0, 0xFFFF))
def test_thinned__any_run__keeps_its_ends_and_its_order(n, number):
    steps = steps_of(n)
    kept = thinned(Named(f"toy-a1-{number:012x}"), steps)
    most = POINTS_IN_FULL if number % 20 == 0 else POINTS
    assert len(kept) == min(most, n) <= MAX_STEPS
    numbers = [step.step for step in kept]
    assert numbers == sorted(set(numbers))
    if n:
        assert (numbers[0], numbers[-1]) == (1, n)


def test_thinned__many_runs__one_in_twenty_is_kept_in_full():
    steps = steps_of(500)
    full = 0
    for number in range(2000):
        full += len(thinned(Named(f"x-{number:04x}"), steps)) == POINTS_IN_FULL
    assert full == 100


def test_thinned__kept_steps__are_spread_evenly():
    kept = thinned(Named("x-0001"), steps_of(401))
    gaps = np.diff([step.step for step in kept])
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(
    ("loss", "diverged"),
    [
        (5.0, False),
        (6.0, False),
        (6.001, True),
        (math.nan, True),
        (math.inf, True),
    ],
)
def test_loss_diverged__above_the_limit_or_no_number__says_why(loss, diverged):
    said = loss_diverged(loss, 6.0)
    assert bool(said) == diverged
    if diverged:
        assert said == "final loss above 6.000 nats or not finite"


COST = {"flops": 1e9, "device_hours": 0.123456789}


def test_end__finished__is_rounded_to_six_digits():
    found = end({"loss": 2.123456789}, COST, timed_out=False)
    assert found == RunEnd(
        "finished",
        {"loss": 2.12346},
        {"flops": 1e9, "device_hours": 0.123457},
        "",
    )


def test_end__diverged__keeps_what_it_ended_with_and_why():
    found = end({"loss": math.inf}, COST, timed_out=False, diverged="too high")
    assert (found.status, found.reason) == ("diverged", "too high")
    assert found.final == {"loss": math.inf}


def test_end__out_of_time__has_no_outcome_even_where_it_diverged():
    found = end({"loss": 9.0}, COST, timed_out=True, diverged="too high")
    assert (found.status, found.final) == ("failed", {})
    assert found.reason == "time limit"


@FEW
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_digits__any_number__is_six_digits_and_again_the_same(value):
    found = digits(value)
    assert digits(found) == found
    assert found == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(
    ("clock", "named"), [("wall", {}), ("processor", {"clock": "processor"})]
)
def test_header__clock__is_named_unless_it_is_the_walls(clock, named):
    toy = family(level(clock=clock))
    run = Run(toy.name, toy.levels[0], {"lr": 0.1}, 3)
    found = header(
        toy,
        run,
        model={"width": 16},
        sha256="ab",
        packages=("numpy",),
        started="",
    )
    assert found.run_id == run.run_id and found.seed == 3
    assert found.source == "lab-toy" and found.fidelity == {"params": 16.0}
    told = dict(found.hardware)
    assert told.pop("name") == cpu_name() != ""
    assert told == {"device": "cpu", "count": 1} | named
    assert found.versions == {"numpy": np.__version__}


def curve(losses, wall_s=8.0, processor_s=4.0, timed_out=False):
    n = len(losses)
    return SimpleNamespace(
        steps=list(range(1, n + 1)),
        losses=np.array(losses, float)[:, None],
        wall_s=np.linspace(wall_s / n, wall_s, n),
        processor_s=processor_s,
        timed_out=timed_out,
    )


def log_of(found, clock="wall", **final):
    toy = family(level(clock=clock))
    run = Run(toy.name, toy.levels[0], {"lr": 0.1}, 0)
    head = RunHeader(run.run_id, "s", "toy", {}, {}, 0)
    return language_model_log(
        toy,
        run,
        0,
        found,
        n_runs=2,
        batch_tokens=32,
        final=final,
        flops_a_token=10.0,
        head=head,
        limit=6.0,
    )


def test_language_model_log__stack_of_two__shares_its_time():
    head, *steps, ended = log_of(curve([5.0, 4.0, 3.0, 2.0]), loss=2.5)
    assert head.family == "toy"
    assert [s.tokens for s in steps] == [32.0, 64.0, 96.0, 128.0]
    assert [s.wall_time_s for s in steps] == [1.0, 2.0, 3.0, 4.0]
    assert ended.final == {"loss": 2.5, "train_loss": 2.0}
    assert ended.cost["flops"] == 10.0 * 4 * 32
    assert ended.cost["device_hours"] == pytest.approx(4.0 / 3600, rel=1e-5)


def test_language_model_log__processors_clock__counts_its_seconds():
    *_, ended = log_of(curve([2.0]), clock="processor", loss=2.0)
    assert ended.cost["device_hours"] == pytest.approx(2.0 / 3600, rel=1e-5)


def test_language_model_log__loss_beyond_the_limit__diverged():
    *_, ended = log_of(curve([5.0]), loss=7.0)
    assert ended.status == "diverged" and ended.final["loss"] == 7.0
    *_, ended = log_of(curve([5.0], timed_out=True), loss=7.0)
    assert ended.status == "failed"


@pytest.mark.parametrize(
    ("recorded", "again", "agrees"),
    [
        (2.0, 2.0, True),
        (2.0, 2.1, True),
        (2.0, 2.2, False),
        (2.0, 1.8, False),
        (math.nan, math.nan, True),
        (math.inf, math.nan, True),
        (2.0, math.nan, False),
        (math.inf, 2.0, False),
    ],
)
def test_comparison__within_the_tolerance__agrees(recorded, again, agrees):
    found = Comparison("r", recorded, again, 0.15)
    assert found.agrees == agrees
    json.dumps(found.described, allow_nan=False)
    assert found.described["agrees"] == agrees


def test_comparison__no_number__is_null_and_numbers_stay():
    told = Comparison("r", 2.0, math.nan, 0.15).described
    assert (told["recorded"], told["again"], told["difference"]) == (
        2.0,
        None,
        None,
    )


def recorded(*runs):
    """Logs of (cell, seed, loss, status, task)."""
    found = {}
    for number, (cell, seed, loss, status, task) in enumerate(runs):
        head = RunHeader(
            f"r{number}",
            "s",
            "f",
            {"lr": cell},
            {"n": 1.0},
            seed,
            {"task": task},
        )
        found[head.run_id] = [head, RunEnd(status, {"loss": loss}, {})]
    return found


def test_seed_spread__better_half_of_the_cells__is_their_median_sd():
    runs = recorded(
        (0.1, 0, 1.0, "finished", "a"),
        (0.1, 1, 1.2, "finished", "a"),
        (0.2, 0, 2.0, "finished", "a"),
        (0.2, 1, 2.4, "finished", "a"),
        (0.4, 0, 9.0, "finished", "a"),
        (0.4, 1, 5.0, "finished", "a"),
    )
    wanted = np.median([np.std([1.0, 1.2], ddof=1), np.std([2.0, 2.4], ddof=1)])
    assert seed_spread(runs, "loss", "min") == pytest.approx(wanted)
    best = np.median([np.std([9.0, 5.0], ddof=1), np.std([2.0, 2.4], ddof=1)])
    assert seed_spread(runs, "loss", "max") == pytest.approx(best)


def test_seed_spread__diverged_or_of_another_task__is_no_replica():
    runs = recorded(
        (0.1, 0, 1.0, "finished", "a"),
        (0.1, 1, 8.0, "diverged", "a"),
        (0.1, 1, 1.4, "finished", "b"),
    )
    with pytest.raises(RecordError, match="no cell was trained with two seeds"):
        seed_spread(runs, "loss", "min")
