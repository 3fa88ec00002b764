"""What changes the identity of which work: trajectories, trainings, contenders."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import autollm
from autollm.agent.profiles import load_profile
from autollm.core.places import resolve
from autollm.gym.environments.text import TextEnv
from autollm.policies.registry import POLICIES
from autollm.stages import agents
from autollm.stages.agents import Agent
from autollm.stages.evaluation_players import identities_of
from autollm.stages.evaluation_request import EvaluationRequest
from autollm.stages.judging import evaluation_identity
from autollm.stages.settings import Settings
from tests.unit.gym.tables import make_table

PLAYERS = ("random", "copy-nearest", "moving-bowl", "gp", "successive-halving")
TABLE = make_table()


def identities(**settings) -> dict[str, str]:
    """Of all kinds of work, on one table."""
    chosen = Settings(**settings)
    agent = Agent("agent-x", "sft", Path("nowhere"), "digest")
    request = EvaluationRequest(
        tuple(chosen.test_suites), PLAYERS, (agent,), 3, load_profile("tiny")
    )
    return {
        "trajectories": agents.trajectories_identity(chosen, TABLE),
        "sft": agents.training_identity(chosen, TABLE, "sft", "base"),
        "sft-rl": agents.training_identity(chosen, TABLE, "sft-rl", "base"),
        "evaluation": evaluation_identity(request, TABLE),
        **identities_of(request),
    }


def moved(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.fixture()
def source(tmp_path, monkeypatch) -> Path:
    """A copy of the package whose files identities read; tests change it."""
    copy = tmp_path / "autollm"
    ignored = shutil.ignore_patterns("*.pyc", "__pycache__")
    shutil.copytree(Path(autollm.__file__).parent, copy, ignore=ignored)
    monkeypatch.syspath_prepend(str(tmp_path))
    return copy


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_identities__docstring_comment_and_lines__move_nothing(source) -> None:
    before = identities()
    edit(
        source / "gym" / "environments" / "vector.py",
        '"""',
        '"""In other words: ',
    )
    edit(
        source / "gym" / "tasks" / "episode.py",
        '"""One play',
        '"""A single play',
    )
    edit(
        source / "policies" / "surrogates" / "bowl_fit.py",
        "import numpy as np",
        "import numpy as np  # arrays",
    )
    edit(source / "agent" / "grpo.py", "\n\n\n", "\n\n\n\n")
    assert moved(before, identities()) == set()


def test_identities__a_policy_more__moves_nothing(source) -> None:
    before = identities()
    (source / "policies" / "new.py").write_text("class New: ...\n")
    registry = source / "policies" / "registry.py"
    edit(
        registry,
        '"random":',
        '"new": "autollm.policies.new:New",\n    "random":',
    )
    assert moved(before, identities()) == set()


def test_identities__constant_of_the_teachers_fit__moves_what_it_teaches(
    source,
) -> None:
    before = identities()
    path = source / "policies" / "surrogates" / "bowl_fit.py"
    path.write_text(path.read_text() + "\nNEW = 1\n")
    expected = {"trajectories", "sft", "moving-bowl", "evaluation"}
    assert moved(before, identities()) == expected


def test_identities__vector_environment__moves_nobody_who_does_not_use_it(
    source,
) -> None:
    before = identities()
    path = source / "gym" / "environments" / "vector.py"
    path.write_text(path.read_text() + "\nNEW = 1\n")
    assert moved(before, identities()) == set()


def test_identities__rules_of_an_episode__move_everything(source) -> None:
    before = identities()
    path = source / "gym" / "tasks" / "episode.py"
    path.write_text(path.read_text() + "\nNEW = 1\n")
    assert moved(before, identities()) == set(before)


def test_identities__statistics__move_the_evaluation_alone(source) -> None:
    before = identities()
    path = source / "evaluation" / "intervals.py"
    path.write_text(path.read_text() + "\nNEW = 1\n")
    assert moved(before, identities()) == {"evaluation"}


def test_identities__tools_docstring__moves_who_reads_it(
    source, monkeypatch
) -> None:
    before = identities()
    said = TextEnv.submit.__doc__
    monkeypatch.setattr(
        TextEnv.submit, "__doc__", said.replace("End", "Finish")
    )
    expected = {"sft", "sft-rl", "agent-x", "evaluation"}
    assert moved(before, identities()) == expected


def test_identities__docstring_that_no_model_reads__moves_nothing(
    monkeypatch,
) -> None:
    before = identities()
    monkeypatch.setattr(TextEnv.reset, "__doc__", "Other words.")
    monkeypatch.setattr(TextEnv, "__doc__", "Other words.")
    assert moved(before, identities()) == set()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"seed": 1}, {"trajectories", "sft", "sft-rl"}),
        (
            {"training": {"sft": {"steps": 9}}},
            {"trajectories", "sft", "sft-rl"},
        ),
        ({"training": {"sft": {"learning_rate": 1e-3}}}, {"sft", "sft-rl"}),
        ({"training": {"grpo": {"learning_rate": 1e-3}}}, {"sft-rl"}),
        ({"n_seeds": 3}, set()),
    ],
)
def test_identities__settings__move_what_hangs_on_them(
    settings, expected
) -> None:
    assert moved(identities(), identities(**settings)) == expected


def test_identities__modules_that_make_policies__name_them() -> None:
    """Where a policy is made from a name that no identity can see, it must be a
    contender's or a judged question's, whose own identity says it.
    """
    package = Path(autollm.__file__).parent
    unseen = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text()
        named = any(f'"{policy}"' in text for policy in POLICIES)
        if "make_policy(" in text and not named:
            unseen.append(path.relative_to(package).as_posix())
    assert unseen == ["advisor/judged/one_question.py", "evaluation/runner.py"]


def test_digest__another_experiment__leaves_those_of_the_others() -> None:
    table = make_table()
    ids = [e.experiment_id for e in table.experiments]
    fewer = make_table(2)
    assert fewer.digest(ids[:2]) == table.digest(ids[:2])
    assert table.digest(ids[:2]) != table.digest(ids[:1])


@pytest.mark.parametrize("column", list(TABLE.columns))
def test_digest__one_value_of_one_row__moves_its_experiment_alone(
    column,
) -> None:
    values = np.array(TABLE.columns[column])
    values[0] = not values[0] if values.dtype == bool else 99
    other = replace(TABLE, columns={**TABLE.columns, column: values})
    first, second = (e.experiment_id for e in TABLE.experiments[:2])
    assert other.digest([first]) != TABLE.digest([first])
    assert other.digest([second]) == TABLE.digest([second])


def test_rl__asked_for__starts_from_the_base_and_hangs_on_no_distillation(
    tmp_path,
):
    places = resolve(tmp_path)
    chosen = Settings(stages=["base", "rl"]).check()
    work = agents.work_on(TABLE, places, chosen, "rl")
    assert work.base == agents.config_of(chosen).base_path
    assert work.out.name == f"rl-{work.identity}"

    def identity(**training):
        changed = Settings(training=training)
        return agents.training_identity(changed, TABLE, "rl", "base")

    assert identity(sft={"steps": 7}) == identity()
    assert identity(grpo={"steps": 7}) != identity()
