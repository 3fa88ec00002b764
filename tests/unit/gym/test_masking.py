"""Masked tasks: other names and units, the same game."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autollm.core.errors import SpaceError, UnknownNameError
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Limit, Space
from autollm.evaluation.protocol import play
from autollm.gym.tasks import suites
from autollm.gym.tasks.drawing import draw
from autollm.gym.tasks.masking import masked_space
from autollm.gym.tasks.task import Constraint
from autollm.policies.registry import POLICIES, make_policy, why_absent
from tests.unit.gym.tables import (
    MIXED,
    SPACE,
    make_mixed_table,
    make_rich_table,
    make_table,
    make_task,
    mixed_configuration,
)

TABLE, MIX, RICH = make_table(noise=0.02), make_mixed_table(), make_rich_table()
EVERY_KIND = Space(
    (
        Knob("optimizer", "categorical", ("adam", "sgd", True)),
        Knob("depth", "integer", (2, 4, 6, 8), step=2.0),
        Knob(
            "dropout",
            "linear",
            (0.0, 0.1, 0.2),
            step=0.1,
            when=("depth", (2, 6)),
        ),
        Knob(
            "momentum",
            "linear",
            (0.0, 0.5, 0.9),
            step=0.1,
            when=("optimizer", ("sgd",)),
        ),
        Knob("width", "ordinal", (64, 128, 256), unit="channels"),
        Knob("rate", "log", (0.001, 0.002, 0.004), step=0.5, role="rate"),
    ),
    "every",
    (Limit((("depth", 1.0), ("rate", 1.0)), -6.0),),
)


@pytest.mark.parametrize(
    "space", [SPACE, EVERY_KIND], ids=["log", "every kind"]
)
def test_masked_space__grid_and_coordinates__are_equal_bit_for_bit(space):
    hidden = masked_space(space)
    assert np.array_equal(hidden.grid, space.grid) and np.array_equal(
        hidden.window, space.window
    )
    for point in space.grid:
        assert np.array_equal(
            hidden.encode(hidden.decode(point)),
            space.encode(space.decode(point)),
        )
        assert set(hidden.decode(point)) == {
            f"k{space.names.index(name) + 1}" for name in space.decode(point)
        }
    read = Space.from_json(hidden.to_json())
    assert read.digest == hidden.digest and read.grid == pytest.approx(
        hidden.grid, abs=1e-8
    )


def test_masked_space__mixtures_and_lists__keep_their_points():
    hidden, rng = masked_space(MIXED), np.random.default_rng(0)
    for _ in range(20):
        point = MIXED.encode(mixed_configuration(rng))
        assert hidden.encode(hidden.decode(point)) == pytest.approx(
            point, abs=1e-7
        )


def test_masked_space__names_roles_units_and_values__are_gone():
    text = masked_space(EVERY_KIND).to_json() + masked_space(MIXED).to_json()
    for word in (
        "adam",
        "sgd",
        "true",
        'rate"',
        "channels",
        "dropout",
        "momentum",
        "code",
        "web",
        "width",
        "optimizer",
        "every",
    ):
        assert word not in text.replace('"role"', "")
    assert not set(masked_space(EVERY_KIND).knobs[5].levels) & {
        0.001,
        0.002,
        0.004,
    }


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        (TABLE, {}),
        (MIX, {}),
        (
            RICH,
            {
                "objective": "accuracy",
                "constraints": (Constraint("params", 800),),
            },
        ),
        (TABLE, {"evidence": ("toy:0",), "charged": ("toy:1",)}),
    ],
)
def test_masked_view__tells_nothing_by_name_and_the_same_by_shape(
    table, changes
):
    task = make_task(table, **changes)
    seen, hidden = (
        draw(task, table, 3).view,
        draw(task.with_(masked=True), table, 3).view,
    )
    assert np.array_equal(seen.candidates, hidden.candidates)
    for a, b in zip(
        (*seen.evidence, *seen.charged),
        (*hidden.evidence, *hidden.charged),
        strict=True,
    ):
        assert np.array_equal(a.z - seen.target_z, b.z - hidden.target_z)
    assert (hidden.family, hidden.objective) == (
        "task",
        "objective",
    ) and np.all((hidden.target_z >= 0) & (hidden.target_z < 1))
    said = json.dumps(
        [
            hidden.fidelity_names,
            list(hidden.target_fidelity),
            [str(c) for c in hidden.constraints],
            hidden.space.names,
        ]
    )
    assert not any(
        name in said
        for name in (
            "params",
            "tokens",
            "rate",
            "batch",
            "optimizer",
            "mixture",
        )
    )
    ratios = [
        np.diff(np.log([e.cost_flops for e in v.evidence]))
        for v in (seen, hidden)
    ]
    assert ratios[0] == pytest.approx(ratios[1])


NAMING = (
    "step-law",
    "parametrization-rule",
    "moving-bowl",
    "moving-bowl-gp",
    "council",
    "tool-follower",
    "optuna-tpe",
    "bohb",
)
"""Policies that look at roles or names of knobs and fidelities; Optuna's TPE draws for
its parameters in the order of their names.
"""


@pytest.mark.parametrize("policy_id", [p for p in POLICIES if p not in NAMING])
def test_policy__masked_task__scores_the_same(policy_id):
    if why_absent(policy_id):
        pytest.skip(why_absent(policy_id))
    for table, changes in (
        (TABLE, {"trials": 4}),
        (TABLE, {"evidence": ("toy:0",), "charged": ("toy:1", "toy:2")}),
    ):
        task = make_task(table, **changes)
        seen, hidden = (
            play(make_policy(policy_id), t, table, 5)
            for t in (task, task.with_(masked=True))
        )
        assert (seen.regret, seen.trials_json, seen.error) == (
            hidden.regret,
            hidden.trials_json,
            hidden.error,
        )


@pytest.mark.parametrize(
    "policy_id", ["random", "copy-nearest", "successive-halving"]
)
def test_policy__masked_mixture__scores_the_same(policy_id):
    task = make_task(MIX)
    seen, hidden = (
        play(make_policy(policy_id), t, MIX, 5)
        for t in (task, task.with_(masked=True))
    )
    assert (seen.regret, seen.error) == (hidden.regret, "")


def test_step_law__masked_task__says_that_it_cannot():
    with pytest.raises(SpaceError, match="leave policy"):
        make_policy("step-law").reset(
            draw(make_task(TABLE, masked=True), TABLE, 0).view,
            np.random.default_rng(0),
        )


@pytest.mark.parametrize("suite_id", suites.suite_ids())
def test_suites__every_name__has_a_masked_form_of_the_same_draws(suite_id):
    seen, hidden = (
        suites.load_suite(suite_id),
        suites.load_suite(f"{suite_id}-masked"),
    )
    assert hidden.suite_id == f"{suite_id}-masked" and all(
        t.masked and t.suite_id == hidden.suite_id for t in hidden.tasks
    )
    assert [
        t.with_(masked=False, suite_id=suite_id) for t in hidden.tasks
    ] == list(seen.tasks)


def test_suites__unknown_masked_name__suggests_the_masked_one():
    with pytest.raises(
        UnknownNameError, match="Did you mean 'steplaw-dense-top-v1-masked'"
    ):
        suites.load_suite("steplaw-dense-to-v1-masked")
