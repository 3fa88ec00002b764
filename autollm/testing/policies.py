"""What every policy keeps: proposals that view, seed and trials alone decide, no look at
the target, no repeats, and a proposal for odd tasks and odd outcomes too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autollm.core.errors import SpaceError
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.evaluation.protocol import play as judged
from autollm.gym.tables.outcome_table import Experiment, OutcomeTable
from autollm.gym.tasks.episode import Episode, Trial, start
from autollm.gym.tasks.view import EvidenceTable, TaskView
from autollm.policies.base import Policy
from autollm.testing.tables import (
    make_table,
    make_task,
    table_of_rows,
    with_curves,
)

TABLE = make_table(noise=0.02)
"""Four experiments on a grid of 7 x 5, one diverged row in each."""
RATE = Knob(
    "rate", "log", tuple(2.0 ** np.arange(-12, -5)), step=1.0, role="rate"
)
SHORT_RATE = replace(RATE, levels=RATE.levels[3:])
SPACES = {
    "one-knob": Space((RATE,)),
    "two-scales": Space(
        (RATE, Knob("dropout", "linear", (0.0, 0.1, 0.2, 0.3), step=0.1))
    ),
    "three-knobs": Space(
        (
            SHORT_RATE,
            Knob(
                "batch",
                "log",
                (32.0, 64.0, 128.0),
                "tokens",
                step=1.0,
                role="size",
            ),
            Knob("depth", "ordinal", (2.0, 4.0, 8.0)),
        )
    ),
}
NewPolicy = Callable[[], Policy]


class PolicyContract:
    """Subclass it, with a fixture `new_policy` that returns a function which makes a
    fresh policy. `abstains`: names of SPACES that it refuses, with a SpaceError.
    """

    abstains: frozenset[str] = frozenset()

    @pytest.fixture
    def new_policy(self) -> NewPolicy:
        raise NotImplementedError(
            "define the fixture new_policy in the subclass"
        )

    @pytest.fixture
    def blind(self, new_policy: NewPolicy) -> NewPolicy:
        """The same, of a policy that may not see the target."""
        if new_policy().sees_target:
            pytest.skip("an oracle sees the target")
        return new_policy

    @pytest.fixture
    def refused(self, new_policy: NewPolicy) -> frozenset[str]:
        return self.abstains

    def test_policy__declared_attributes__are_there(self, new_policy):
        policy = new_policy()
        assert isinstance(policy, Policy)
        assert policy.policy_id and policy.version >= 1

    @pytest.mark.parametrize("setting", ["declared", "pool-visible"])
    def test_policy__same_task_and_seed__proposes_the_same(
        self, new_policy, setting
    ):
        task = make_task(TABLE, setting=setting, trials=4)
        first = play(new_policy, start(task, TABLE, 7))
        assert first == play(new_policy, start(task, TABLE, 7))

    def test_policy__runs_may_be_paused__spends_the_budget_without_an_error(
        self, new_policy
    ):
        curved = with_curves(TABLE)
        task = make_task(curved, pausable=True)
        result = judged(new_policy(), task, curved, 5)
        assert (result.error, result.malformed) == ("", 0)
        losses = [loss for _, _, loss, *_ in json.loads(result.trials_json)]
        assert any(loss is not None for loss in losses)

    def test_policy__other_outcomes_at_the_target__change_no_first_proposal(
        self, blind
    ):
        task, turned = make_task(TABLE), with_turned_target(TABLE)
        here = begin(blind, start(task, TABLE, 3)).ask(3)
        assert here == begin(blind, start(task, turned, 3)).ask(3)

    def test_policy__declared_setting__proposes_declared_levels_whatever_rows_there_are(
        self, blind
    ):
        episode = start(make_task(TABLE), TABLE, 3)
        space = episode.drawn.view.space
        grid = {tuple(np.round(point, 6)) for point in space.grid}
        asked = begin(blind, episode).ask(4)
        assert len(asked) == 4
        assert all(tuple(np.round(space.encode(c), 6)) in grid for c in asked)

    def test_policy__ask__changes_nothing_and_its_proposals_are_distinct(
        self, new_policy
    ):
        policy = begin(new_policy, start(make_task(TABLE, trials=4), TABLE, 3))
        asked = policy.ask(5)
        assert policy.ask(5) == asked and policy.ask() == asked[:1]
        assert len({json.dumps(c) for c in asked}) == 5

    def test_policy__asked_for_more_or_not_at_all__goes_on_the_same(
        self, new_policy
    ):
        task = make_task(TABLE, trials=4, target_rows="all")
        answers = []
        for n_asked in (0, 1, 4):
            episode = start(task, TABLE, 3)
            policy = begin(new_policy, episode)
            if n_asked:
                policy.ask(n_asked)
            for number in (12, 20):
                policy.tell(episode.run_candidate(number))
            answers.append(policy.ask(3))
        assert answers[0] == answers[1] == answers[2]

    def test_policy__pending_proposals__are_not_made_again(self, new_policy):
        policy = begin(new_policy, start(make_task(TABLE, trials=4), TABLE, 3))
        first = policy.ask()[0]
        assert first not in policy.ask(3, pending=[first])

    def test_policy__complete_table__never_repeats(self, new_policy):
        for setting in ("declared", "pool-visible"):
            task = make_task(
                TABLE, trials=12, setting=setting, target_rows="all"
            )
            trials = play(new_policy, start(task, TABLE, 5))
            assert len({t.row for t in trials}) == 12, setting
            assert {t.status for t in trials} == {"ok"}

    def test_policy__pool_smaller_than_the_budget__plays_on_to_the_end(
        self, new_policy
    ):
        task = make_task(
            TABLE, trials=40, setting="pool-visible", target_rows="all"
        )
        trials = play(new_policy, start(task, TABLE, 5))
        assert len(trials) == 40 and len({t.row for t in trials}) == 35

    def test_policy__no_evidence__still_proposes(self, blind):
        trials = play(blind, start(make_task(TABLE, evidence=()), TABLE, 3))
        assert {t.status for t in trials} <= {"ok", "repeated"}

    @pytest.mark.parametrize("n_rows", [1, 2, 3])
    def test_policy__one_experiment_of_few_rows__still_proposes(
        self, blind, n_rows
    ):
        episode = start(make_task(TABLE), TABLE, 3)
        one = episode.drawn.view.evidence[-1]
        few = replace(
            one,
            points=one.points[:n_rows],
            loss=one.loss[:n_rows],
            diverged=one.diverged[:n_rows],
        )
        policy = blind()
        policy.reset(with_evidence(episode, (few,)), np.random.default_rng(0))
        while not episode.done:
            policy.tell(episode.run(policy.ask()[0]))
        assert all(t.row >= 0 for t in episode.trials)
        assert isinstance(policy.explain(), str)

    def test_policy__flat_evidence__still_proposes(self, blind):
        episode = start(make_task(TABLE), TABLE, 3)
        flat = []
        for table in episode.drawn.view.evidence:
            flat.append(replace(table, loss=np.full(len(table.loss), 3.0)))
        policy = blind()
        policy.reset(
            with_evidence(episode, tuple(flat)), np.random.default_rng(0)
        )
        policy.tell(episode.run(policy.ask()[0]))
        assert len(policy.ask()) == 1

    def test_policy__trials_without_outcome__are_survived(self, new_policy):
        episode = start(make_task(TABLE, trials=6), TABLE, 3)
        policy = begin(new_policy, episode)
        policy.tell(episode.malformed())
        rejected = policy.ask()[0]
        policy.tell(Trial(2, "rejected", rejected, distance=2.0))
        policy.tell(episode.run(policy.ask()[0]))
        last = tuple(episode.drawn.view.candidates[-1])
        lost = Trial(
            4, "ok", rejected, last, 0, loss=float("inf"), diverged=True
        )
        policy.tell(lost)
        assert rejected not in policy.ask(2)
        assert len(policy.ask(2)) == 2

    def test_policy__trial_of_somebody_else__is_not_proposed_again(self, blind):
        episode = start(
            make_task(TABLE, trials=6, setting="pool-visible"), TABLE, 3
        )
        foreign = begin(blind, episode).ask()[0]
        other = begin(blind, episode)
        other.tell(episode.run(foreign))
        assert foreign not in other.ask(3)

    @pytest.mark.parametrize("name", list(SPACES))
    def test_policy__one_to_three_knobs_of_any_scale__plays_or_says_why_not(
        self, new_policy, refused, name
    ):
        table = table_of(SPACES[name])
        task = bowl_task()
        if name in refused:
            with pytest.raises(
                SpaceError, match=r"s/2 has .*Fix: leave policy"
            ):
                begin(new_policy, start(task, table, 0))
            return
        trials = play(new_policy, start(task, table, 0))
        assert [t.row >= 0 for t in trials] == [True] * 3
        assert isinstance(
            begin(new_policy, start(task, table, 0)).explain(), str
        )

    def test_policy__used_for_a_second_task__forgets_the_first(
        self, new_policy
    ):
        used = new_policy()
        first = start(bowl_task(), table_of(SPACES["three-knobs"]), 4)
        used.tell(first.run(begun(used, first).ask(3)[0]))
        second = start(make_task(TABLE), TABLE, 4)
        fresh = begin(new_policy, start(make_task(TABLE), TABLE, 4))
        assert begun(used, second).ask(3) == fresh.ask(3)


def begin(new_policy: NewPolicy, episode: Episode) -> Policy:
    """A fresh policy, reset on an episode as evaluation does it."""
    return begun(new_policy(), episode)


def begun(policy: Policy, episode: Episode) -> Policy:
    """The policy, reset on an episode."""
    rng = np.random.default_rng(episode.drawn.policy_seed)
    policy.reset(episode.drawn.view, rng)
    if policy.sees_target:
        oracle: Any = policy
        oracle.reset_with_target(episode)
    return policy


def play(new_policy: NewPolicy, episode: Episode) -> list[Trial]:
    """The trials of a whole play."""
    policy = begin(new_policy, episode)
    while not episode.done:
        policy.tell(episode.run(policy.ask()[0]))
    return episode.trials


def with_evidence(
    episode: Episode, evidence: tuple[EvidenceTable, ...]
) -> TaskView:
    """The view of an episode with other evidence."""
    return replace(episode.drawn.view, evidence=evidence)


def with_turned_target(table: OutcomeTable) -> OutcomeTable:
    """The target's outcomes in reverse order; everything else as it was."""
    columns = dict(table.columns)
    rows = slice(table.offsets[-2], table.offsets[-1])
    for name in ("objective", "latent", "diverged"):
        columns[name] = columns[name].copy()
        columns[name][rows] = columns[name][rows][::-1]
    return replace(table, columns=columns)


def bowl_task():
    """The most expensive experiment of `table_of` from the others."""
    return make_task(TABLE).with_(
        target="s:2", evidence=("s:0", "s:1"), task_id="s/2"
    )


def table_of(space: Space, n_experiments: int = 3) -> OutcomeTable:
    """A noise-free bowl over any space with a grid, whose optimum moves with scale."""
    experiments, losses = [], []
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
        loss = 2.0 - 0.1 * i + ((space.grid - centre) ** 2).sum(axis=1)
        losses.append(loss)
    return table_of_rows(experiments, [space.grid] * n_experiments, losses)
