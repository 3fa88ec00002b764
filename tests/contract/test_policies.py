"""One suite over every registered policy: determinism across processes, no peeking, no
repeats, odd tasks, odd outcomes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from autollm.core.errors import SetupError, SpaceError, UnknownNameError
from autollm.core.knobs import Knob
from autollm.core.space import Space
from autollm.evaluation.protocol import play as judged
from autollm.gym.tables.outcome_table import COLUMNS, Experiment, OutcomeTable
from autollm.gym.tasks.episode import Episode, Trial, start
from autollm.gym.tasks.view import EvidenceTable, TaskView
from autollm.policies.base import Policy
from autollm.policies.registry import (
    POLICIES,
    availability,
    make_policy,
    policy_version,
    why_absent,
)
from autollm.snapshots.smoothing import smooth
from tests.unit.gym.tables import make_table, make_task, with_curves

TABLE = make_table(noise=0.02)
PRESENT = [p for p in sorted(POLICIES) if not why_absent(p)]
ABSENT = [
    pytest.param(p, marks=pytest.mark.skip(reason=why_absent(p)))
    for p in sorted(POLICIES)
    if why_absent(p)
]
EVERY = [*PRESENT, *ABSENT]
BLIND = [*(p for p in PRESENT if not make_policy(p).sees_target), *ABSENT]
SPARING = {"step-law": {"one-knob", "two-scales"}}
"""Policies that abstain from some of the spaces below."""


def begin(policy_id: str, episode: Episode) -> Policy:
    """A policy reset on an episode, as evaluation does it."""
    policy = make_policy(policy_id)
    policy.reset(episode.drawn.view, np.random.default_rng(episode.drawn.policy_seed))
    if policy.sees_target:
        policy.reset_with_target(episode)
    return policy


def play(policy_id: str, episode: Episode) -> list[Trial]:
    policy = begin(policy_id, episode)
    while not episode.done:
        policy.tell(episode.run(policy.ask()[0]))
    return episode.trials


def table_of(space: Space, n_experiments: int = 3) -> OutcomeTable:
    """A noise-free bowl over any space."""
    experiments, points, losses = [], [], []
    for i in range(n_experiments):
        centre = space.window.mean(axis=0) + 0.2 * i
        experiments.append(
            Experiment(
                f"s:{i}",
                f"s {i}",
                "s",
                "pretraining",
                {"params": 2.0**i, "tokens": 4.0**i},
                6 * 8.0**i,
                "loss",
                "min",
                space,
            )
        )
        points.append(space.grid)
        losses.append(2.0 - 0.1 * i + ((space.grid - centre) ** 2).sum(axis=1))
    objective = np.concatenate(losses)
    columns = {name: np.zeros(len(objective), dtype) for name, dtype in COLUMNS.items()}
    columns["objective"] = objective
    columns["latent"] = np.concatenate(
        [smooth(p, v, np.ones(len(v))) for p, v in zip(points, losses, strict=True)]
    )
    return OutcomeTable(
        "s",
        tuple(experiments),
        np.concatenate([[0], np.cumsum([len(p) for p in points])]),
        columns,
        tuple(points),
    )


def view_with(view: TaskView, evidence: tuple[EvidenceTable, ...]) -> TaskView:
    return replace(view, evidence=evidence)


@pytest.mark.parametrize("policy_id", EVERY)
def test_policy__declared_attributes__match_the_registry(policy_id: str) -> None:
    policy = make_policy(policy_id)
    assert isinstance(policy, Policy)
    assert (policy.policy_id, policy.version) == (policy_id, policy_version(policy_id))


@pytest.mark.parametrize("setting", ["declared", "pool-visible"])
@pytest.mark.parametrize("policy_id", EVERY)
def test_policy__same_task_and_seed__proposes_the_same(
    policy_id: str, setting: str
) -> None:
    task = make_task(TABLE, setting=setting, trials=4)
    assert play(policy_id, start(task, TABLE, 7)) == play(
        policy_id, start(task, TABLE, 7)
    )


def test_policies__other_process_and_hash_seed__propose_the_same(tmp_path) -> None:
    code = (
        "import json\nfrom tests.contract.test_policies import PRESENT, TABLE, "
        "make_task, play, start\n"
        "print(json.dumps({p: [t.point for t in play(p, start(make_task(TABLE, "
        "trials=4), TABLE, 11))] for p in PRESENT}))"
    )
    answers = []
    for hash_seed in ("1", "2"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        answers.append(json.loads(done.stdout))
    here = {
        p: [
            list(t.point) for t in play(p, start(make_task(TABLE, trials=4), TABLE, 11))
        ]
        for p in PRESENT
    }
    assert answers[0] == answers[1] == here


@pytest.mark.parametrize("policy_id", EVERY)
def test_policy__runs_may_be_paused__finishes_some_and_spends_the_budget_without_an_error(
    policy_id: str,
) -> None:
    curved = with_curves(TABLE)
    result = judged(make_policy(policy_id), make_task(curved, pausable=True), curved, 5)
    assert (result.error, result.malformed) == ("", 0) and any(
        loss is not None for _, _, loss, *_ in json.loads(result.trials_json)
    )


@pytest.mark.parametrize("policy_id", BLIND)
def test_policy__other_outcomes_at_the_target__change_no_first_proposal(
    policy_id: str,
) -> None:
    columns = dict(TABLE.columns)
    rows = slice(TABLE.offsets[3], TABLE.offsets[4])
    for name in ("objective", "latent", "diverged"):
        columns[name] = columns[name].copy()
        columns[name][rows] = columns[name][rows][::-1]
    turned = replace(TABLE, columns=columns)
    task = make_task(TABLE)
    assert begin(policy_id, start(task, TABLE, 3)).ask(3) == begin(
        policy_id, start(task, turned, 3)
    ).ask(3)


@pytest.mark.parametrize("policy_id", BLIND)
def test_policy__declared_setting__proposes_declared_levels_whatever_rows_there_are(
    policy_id: str,
) -> None:
    view = start(make_task(TABLE), TABLE, 3).drawn.view
    grid = {tuple(np.round(p, 6)) for p in view.space.grid}
    asked = begin(policy_id, start(make_task(TABLE), TABLE, 3)).ask(4)
    assert len(asked) == 4
    assert all(tuple(np.round(view.space.encode(c), 6)) in grid for c in asked)


@pytest.mark.parametrize("policy_id", EVERY)
def test_policy__ask__changes_nothing_and_its_proposals_are_distinct(
    policy_id: str,
) -> None:
    policy = begin(policy_id, start(make_task(TABLE, trials=4), TABLE, 3))
    asked = policy.ask(5)
    assert policy.ask(5) == asked and policy.ask() == asked[:1]
    assert len({json.dumps(c) for c in asked}) == 5


@pytest.mark.parametrize("policy_id", EVERY)
def test_policy__asked_for_more_or_not_at_all__goes_on_the_same(policy_id: str) -> None:
    task = make_task(TABLE, trials=4, target_rows="all")
    answers = []
    for n_asked in (0, 1, 4):
        episode = start(task, TABLE, 3)
        policy = begin(policy_id, episode)
        if n_asked:
            policy.ask(n_asked)
        for number in (12, 20):
            policy.tell(episode.run_candidate(number))
        answers.append(policy.ask(3))
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("policy_id", EVERY)
def test_policy__pending_proposals__are_not_made_again(policy_id: str) -> None:
    policy = begin(policy_id, start(make_task(TABLE, trials=4), TABLE, 3))
    first = policy.ask()[0]
    assert first not in policy.ask(3, pending=[first])


@pytest.mark.parametrize("policy_id", EVERY)
def test_policy__complete_table__never_repeats(policy_id: str) -> None:
    for setting in ("declared", "pool-visible"):
        task = make_task(TABLE, trials=12, setting=setting, target_rows="all")
        trials = play(policy_id, start(task, TABLE, 5))
        assert len({t.row for t in trials}) == 12, setting
        assert {t.status for t in trials} == {"ok"}


@pytest.mark.parametrize("policy_id", EVERY)
def test_policy__pool_smaller_than_the_budget__plays_on_to_the_end(
    policy_id: str,
) -> None:
    small = make_task(TABLE, trials=40, setting="pool-visible", target_rows="all")
    trials = play(policy_id, start(small, TABLE, 5))
    assert len(trials) == 40 and len({t.row for t in trials}) == 35


@pytest.mark.parametrize("policy_id", BLIND)
def test_policy__no_evidence__still_proposes(policy_id: str) -> None:
    trials = play(policy_id, start(make_task(TABLE, evidence=()), TABLE, 3))
    assert [t.status for t in trials] == ["ok"] * 3 or {t.status for t in trials} <= {
        "ok",
        "repeated",
    }


@pytest.mark.parametrize("n_rows", [1, 2, 3])
@pytest.mark.parametrize("policy_id", BLIND)
def test_policy__one_experiment_of_few_rows__still_proposes(
    policy_id: str, n_rows: int
) -> None:
    episode = start(make_task(TABLE), TABLE, 3)
    one = episode.drawn.view.evidence[-1]
    few = replace(
        one,
        points=one.points[:n_rows],
        loss=one.loss[:n_rows],
        diverged=one.diverged[:n_rows],
    )
    policy = make_policy(policy_id)
    policy.reset(view_with(episode.drawn.view, (few,)), np.random.default_rng(0))
    while not episode.done:
        policy.tell(episode.run(policy.ask()[0]))
    assert all(t.row >= 0 for t in episode.trials)
    assert isinstance(policy.explain(), str)


@pytest.mark.parametrize("policy_id", BLIND)
def test_policy__flat_evidence__still_proposes(policy_id: str) -> None:
    episode = start(make_task(TABLE), TABLE, 3)
    flat = tuple(
        replace(e, loss=np.full(len(e.loss), 3.0)) for e in episode.drawn.view.evidence
    )
    policy = make_policy(policy_id)
    policy.reset(view_with(episode.drawn.view, flat), np.random.default_rng(0))
    policy.tell(episode.run(policy.ask()[0]))
    assert len(policy.ask()) == 1


@pytest.mark.parametrize("policy_id", EVERY)
def test_policy__trials_without_outcome__are_survived(policy_id: str) -> None:
    episode = start(make_task(TABLE, trials=6), TABLE, 3)
    policy = begin(policy_id, episode)
    policy.tell(episode.malformed())
    rejected = policy.ask()[0]
    policy.tell(Trial(2, "rejected", rejected, distance=2.0))
    policy.tell(episode.run(policy.ask()[0]))
    policy.tell(
        Trial(
            4,
            "ok",
            rejected,
            tuple(episode.drawn.view.candidates[-1]),
            0,
            loss=float("inf"),
            diverged=True,
        )
    )
    assert rejected not in policy.ask(2)
    assert len(policy.ask(2)) == 2


@pytest.mark.parametrize("policy_id", BLIND)
def test_policy__trial_of_somebody_else__is_not_proposed_again(policy_id: str) -> None:
    episode = start(make_task(TABLE, trials=6, setting="pool-visible"), TABLE, 3)
    policy = begin(policy_id, episode)
    foreign = policy.ask()[0]
    other = begin(policy_id, episode)
    other.tell(episode.run(foreign))
    assert foreign not in other.ask(3)


SPACES = [
    Space(
        (Knob("rate", "log", tuple(2.0 ** np.arange(-12, -5)), step=1.0, role="rate"),)
    ),
    Space(
        (
            Knob(
                "rate", "log", tuple(2.0 ** np.arange(-12, -5)), step=1.0, role="rate"
            ),
            Knob("dropout", "linear", (0.0, 0.1, 0.2, 0.3), step=0.1),
        )
    ),
    Space(
        (
            Knob("rate", "log", tuple(2.0 ** np.arange(-9, -5)), step=1.0, role="rate"),
            Knob("batch", "log", (32.0, 64.0, 128.0), "tokens", step=1.0, role="size"),
            Knob("depth", "ordinal", (2.0, 4.0, 8.0)),
        )
    ),
]


@pytest.mark.parametrize(
    ("name", "space"),
    list(zip(["one-knob", "two-scales", "three-knobs"], SPACES, strict=True)),
)
@pytest.mark.parametrize("policy_id", EVERY)
def test_policy__one_to_three_knobs_of_any_scale__plays_or_says_why_not(
    policy_id: str, name: str, space: Space
) -> None:
    table = table_of(space)
    task = make_task(TABLE).with_(target="s:2", evidence=("s:0", "s:1"), task_id="s/2")
    if name in SPARING.get(policy_id, ()):
        with pytest.raises(SpaceError, match=r"s/2 has .*Fix: leave policy"):
            begin(policy_id, start(task, table, 0))
        return
    trials = play(policy_id, start(task, table, 0))
    assert [t.row >= 0 for t in trials] == [True] * 3
    assert isinstance(begin(policy_id, start(task, table, 0)).explain(), str)


@pytest.mark.parametrize("policy_id", EVERY)
def test_policy__used_for_a_second_task__forgets_the_first(policy_id: str) -> None:
    used = make_policy(policy_id)
    for table, task in (
        (
            table_of(SPACES[2]),
            make_task(TABLE).with_(target="s:2", evidence=("s:0", "s:1")),
        ),
        (TABLE, make_task(TABLE)),
    ):
        episode = start(task, table, 4)
        used.reset(episode.drawn.view, np.random.default_rng(episode.drawn.policy_seed))
        if used.sees_target:
            used.reset_with_target(episode)
        asked = used.ask(3)
        if table is not TABLE:
            used.tell(episode.run(asked[0]))
    assert asked == begin(policy_id, start(make_task(TABLE), TABLE, 4)).ask(3)


@pytest.mark.parametrize("policy_id", ["gp", "moving-bowl"])
def test_policy__predict__is_finite_and_lower_near_its_own_choice(
    policy_id: str,
) -> None:
    episode = start(make_task(TABLE), TABLE, 3)
    policy = begin(policy_id, episode)
    chosen, far = (
        policy.ask()[0],
        episode.drawn.view.space.decode(episode.drawn.view.space.grid[-1]),
    )
    mean, sd = policy.predict([chosen, far])
    assert np.isfinite(mean).all() and (sd >= 0).all() and mean[0] < mean[1]


def test_make_policy__unknown_id__suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="copy-nearest"):
        make_policy("copy-nearst")


def test_make_policy__extra_not_installed__names_the_extra(monkeypatch) -> None:
    monkeypatch.setattr(
        "autollm.core.extras.find_spec",
        lambda module: None if module == "syne_tune" else object(),
    )
    with pytest.raises(
        SetupError,
        match=r"'syne-zeroshot' needs syne_tune, not installed here\. Fix: pip install "
        r"'autollm\[baselines\]'",
    ):
        make_policy("syne-zeroshot")
    with pytest.raises(SetupError, match="baselines"):
        policy_version("syne-quantile")
    absent = {p for p, reason in availability().items() if reason}
    assert absent == {"syne-zeroshot", "syne-quantile"}


def test_import__registry__loads_no_heavy_library() -> None:
    heavy = (
        "sklearn",
        "optuna",
        "torch",
        "scipy",
        "botorch",
        "smac",
        "syne_tune",
        "xgboost",
        "pandas",
    )
    code = f"import sys, autollm.policies; autollm.policies.availability(); print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
