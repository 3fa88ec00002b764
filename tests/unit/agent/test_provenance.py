import json
import tomllib
from types import SimpleNamespace

import pytest

from autollm.agent import trajectories as trajectories_module
from autollm.agent.curriculum import train_tasks
from autollm.agent.provenance import assert_no_held_out
from autollm.agent.trajectories import (
    TrajectorySet,
    load_trajectories,
    simulate_trajectories,
)
from autollm.core.errors import CheckpointError
from autollm.core.ids import Origin, experiment_id
from autollm.gym.tasks.suite_files import FOLDER
from autollm.gym.tasks.suites import held_out, load_suite
from research.validation import far_tasks


def test_assert_no_held_out__test_target__is_named():
    target = load_suite("lab-pretraining-v3").split("test")[0].target
    with pytest.raises(CheckpointError, match=target):
        assert_no_held_out(["generated:1:2", target], "a planted list")


def test_train_tasks__test_split_asked_for__is_refused(generated_table):
    with pytest.raises(CheckpointError, match="held-out"):
        train_tasks(["lab-pretraining-v3"], generated_table, split="test")


def test_far_tasks__lab_suite__have_evidence_that_is_much_cheaper_and_no_held_out_target():
    raw = tomllib.loads((FOLDER / "lab-pretraining-v3.toml").read_text())
    cost = {
        experiment_id(Origin(raw["source"]), f): 6.0 * f["params"] * f["tokens"]
        for f in raw["experiments"].values()
    }
    names = list(cost)

    class Costs:
        """A table of which only the experiments' costs are asked."""

        experiments = [
            SimpleNamespace(
                experiment_id=name,
                origin=Origin(raw["source"]),
                compute_flops=6.0 * place["params"] * place["tokens"],
                fidelity=place,
            )
            for name, place in zip(
                cost, raw["experiments"].values(), strict=True
            )
        ]
        index = staticmethod(names.index)
        __contains__ = staticmethod(names.__contains__)

    far = far_tasks(["lab-pretraining-v3"], Costs(), ratio=2.5)
    assert (
        far
        and {t.split for t in far} == {"train", "validation"}
        and not {t.target for t in far} & held_out()
    )
    assert all(
        len(t.evidence) > 1
        and max(cost[e] for e in t.evidence) <= cost[t.target] / 2.5
        for t in far
    )


def test_train_splits__every_shipped_suite__hold_no_held_out_target():
    from autollm.gym.tasks.suites import suite_ids

    targets = {
        t.target for s in suite_ids() for t in load_suite(s).split("train")
    }
    assert targets and not targets & held_out()


def test_load_trajectories__planted_target__is_refused(
    small_config, generated_table, tmp_path
):
    made = simulate_trajectories(
        small_config, generated_table, n_conversations=6
    )
    made.save(tmp_path)
    assert load_trajectories(tmp_path) == made
    rows = [dict(r) for r in made.rows]
    rows[3]["target"] = next(iter(held_out()))
    TrajectorySet(
        rows, {**made.metadata, "digest": trajectories_module._digest(rows)}
    ).save(tmp_path)
    with pytest.raises(CheckpointError, match="held-out"):
        load_trajectories(tmp_path)


def test_load_trajectories__altered_row__is_refused(
    small_config, generated_table, tmp_path
):
    path = simulate_trajectories(
        small_config, generated_table, n_conversations=4
    ).save(tmp_path)
    path.write_text(path.read_text().replace("change 0.0", "change 0.5"))
    with pytest.raises(CheckpointError, match="altered"):
        load_trajectories(tmp_path)


def test_load_trajectories__no_file__says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match="simulate"):
        load_trajectories(tmp_path)


def test_simulate_trajectories__same_configuration__gives_the_same_rows(
    small_config, generated_table
):
    a, b = (
        simulate_trajectories(small_config, generated_table, n_conversations=10)
        for _ in range(2)
    )
    assert a == b and a.metadata["counts"] == {
        "teacher": 0,
        "guided": 0,
        "practice": 10,
    }
    json.dumps(a.rows)


def test_simulate_trajectories__recorded_tasks__are_named_and_taught(
    small_config, monkeypatch
):
    from tests.unit.gym.tables import make_table, make_task

    table = make_table()
    monkeypatch.setattr(
        trajectories_module,
        "train_tasks",
        lambda suites, table, split="train": [make_task(table)],
    )
    made = simulate_trajectories(small_config, table, n_conversations=20)
    assert made.metadata["experiments"] == [make_task(table).target]
    assert all(
        made.metadata["counts"][k] > 0
        for k in ("teacher", "guided", "practice")
    )
    teacher = [r for r in made.rows if r["kind"] == "teacher"]
    assert all(
        r["messages"][-1]["content"] == "submitted"
        and not any(m.get("given") for m in r["messages"])
        for r in teacher
    )
