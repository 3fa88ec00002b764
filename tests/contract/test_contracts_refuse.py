"""The contracts of autollm.testing refuse what breaks them: each broken part is found by
the test that is there for it, and a sound one passes that test.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import gymnasium
import numpy as np
import pyarrow as pa
import pytest

from autollm.core.errors import RecordError
from autollm.logs.relation import FILE_COLUMN, LINE_COLUMN, POINTS_SCHEMA
from autollm.policies.base import RankingPolicy
from autollm.testing import (
    EnvironmentContract,
    PolicyContract,
    ReaderContract,
    check_relation,
)


class Sound(RankingPolicy):
    """The candidates in an order of its own stream."""

    policy_id = "sound"

    def prepare(self):
        self._order = self.rng.permutation(len(self.candidates)).astype(float)

    def scores(self):
        return self._order

    def explain(self):
        return "by its own stream"


class Nameless(Sound):
    """Says not what it is."""

    policy_id = ""


class Restless(Sound):
    """Asked again it proposes something else."""

    def ask(self, n=1, pending=()):
        self._order = self.rng.permutation(len(self.candidates)).astype(float)
        return super().ask(n, pending)


class Lucky(Sound):
    """Draws from a stream that no seed decides."""

    def prepare(self):
        rng = np.random.default_rng()
        self._order = rng.permutation(len(self.candidates)).astype(float)


class Stubborn(Sound):
    """Never learns that a row was tried."""

    def tell(self, trial):
        self.trials.append(trial)


class Forgetful(Sound):
    """Does not know what it asked for."""

    def ask(self, n=1, pending=()):
        return super().ask(n)


class Between(Sound):
    """Proposes places between the declared levels."""

    def ask(self, n=1, pending=()):
        space = self.view.space
        found = []
        for configuration in super().ask(n, pending):
            point = space.encode(configuration) + 0.25
            found.append(space.decode(point))
        return found


class Needy(Sound):
    """Reads an experiment that need not be there."""

    def prepare(self):
        super().prepare()
        self._best = self.view.evidence[0].loss.min()


class Divider(Sound):
    """Takes the spread of the evidence for something that is not zero."""

    def prepare(self):
        super().prepare()
        for table in self.view.evidence:
            spread = float(np.ptp(table.loss))
            self._unit = 1.0 / spread


class Elephant(Sound):
    """Keeps what it learnt in a task before."""

    seen = 0

    def tell(self, trial):
        super().tell(trial)
        self.seen += 1

    def prepare(self):
        super().prepare()
        if self.seen:
            self._order = self._order[::-1].copy()


class Optimist(Sound):
    """Believes that every trial gave a number."""

    def tell(self, trial):
        super().tell(trial)
        self._best = round(trial.loss)


CONTRACT = PolicyContract()
BROKEN = [
    (Nameless, "declared_attributes__are_there", ()),
    (Restless, "ask__changes_nothing_and_its_proposals_are_distinct", ()),
    (Lucky, "same_task_and_seed__proposes_the_same", ("declared",)),
    (Stubborn, "complete_table__never_repeats", ()),
    (Stubborn, "trial_of_somebody_else__is_not_proposed_again", ()),
    (Forgetful, "pending_proposals__are_not_made_again", ()),
    (
        Between,
        "declared_setting__proposes_declared_levels_whatever_rows_there_are",
        (),
    ),
    (Needy, "no_evidence__still_proposes", ()),
    (Divider, "flat_evidence__still_proposes", ()),
    (Elephant, "used_for_a_second_task__forgets_the_first", ()),
    (Optimist, "trials_without_outcome__are_survived", ()),
    (Restless, "asked_for_more_or_not_at_all__goes_on_the_same", ()),
]


@pytest.mark.parametrize(("broken", "name", "more"), BROKEN)
def test_policy_contract__broken_policy__is_found_and_a_sound_one_passes(
    broken, name, more
):
    test = getattr(CONTRACT, f"test_policy__{name}")
    test(Sound, *more)
    with pytest.raises(
        (AssertionError, IndexError, ZeroDivisionError, ValueError)
    ):
        test(broken, *more)


def test_policy_contract__no_fixture__says_what_to_define():
    with pytest.raises(NotImplementedError, match="fixture new_policy"):
        PolicyContract.new_policy.__wrapped__(CONTRACT)


def relation(**changes):
    """One run of one line."""
    columns = {"lr": [0.1], "loss": [2.0], FILE_COLUMN: ["a"], LINE_COLUMN: [1]}
    fields = {
        "format": "mine",
        "runs": pa.table(columns),
        "points": None,
        "roles": {"lr": "setting"},
        "key": "",
        "n_lines": 1,
        "n_lines_bad": 0,
    }
    return SimpleNamespace(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"n_lines_bad": 2}, "2 of 1 lines are bad"),
        ({"n_lines_bad": -1}, "-1 of 1 lines are bad"),
        ({"roles": {"bs": "setting"}}, "a role of 'bs', no column"),
        ({"roles": {"lr": "knob"}}, "roles ['knob'] are none of"),
        ({"runs": pa.table({"lr": [0.1]})}, f"no column {FILE_COLUMN}"),
        ({"key": "name"}, "the key 'name' is no column"),
        ({"points": pa.table({"x": [1]})}, "points have the schema"),
        ({"points": POINTS_SCHEMA.empty_table()}, ""),
        ({"runs": pa.table({"lr": pa.array([], pa.float64())})}, ""),
    ],
)
def test_check_relation__one_thing_wrong__is_said(changes, words):
    problems = check_relation(relation(**changes))
    if words:
        assert any(words in problem for problem in problems)
    else:
        assert problems == []


class Lines:
    """A sound reader: one run a line `NAME VALUE`, other lines are bad."""

    format = "mine"

    def matches(self, name, head):
        return name.endswith(".mine")

    def read(self, opened):
        with opened.open() as file:
            lines = file.read().splitlines()
        names = []
        for line in lines:
            parts = line.split(b" ")
            if len(parts) == 2 and parts[0].isalpha():
                names.append(parts[0].decode())
        runs = pa.table(
            {
                "name": pa.array(names, pa.string()),
                FILE_COLUMN: pa.array([opened.name] * len(names), pa.string()),
                LINE_COLUMN: pa.array(range(len(names)), pa.int64()),
            }
        )
        yield relation(
            runs=runs,
            roles={"name": "key"},
            key="name",
            n_lines=len(lines),
            n_lines_bad=len(lines) - len(names),
        )


class Blind(Lines):
    """Recognizes nothing."""

    def matches(self, name, head):
        return False


class Empty(Lines):
    """Reads no run."""

    def read(self, opened):
        for found in super().read(opened):
            found.runs = found.runs.slice(0, 0)
            yield found


class Fickle(Lines):
    """Gives another order each time."""

    turn = 0

    def read(self, opened):
        self.turn += 1
        for found in super().read(opened):
            if self.turn % 2:
                found.runs = found.runs.take(
                    pa.array(range(found.runs.num_rows - 1, -1, -1))
                )
            yield found


class Fragile(Lines):
    """Ends in a foreign error where a byte is no text."""

    def read(self, opened):
        with opened.open() as file:
            file.read().decode()
        yield from super().read(opened)


class Careful(Fragile):
    """The same, said in the house's words."""

    def read(self, opened):
        try:
            yield from list(super().read(opened))
        except UnicodeDecodeError as error:
            raise RecordError(f"no text: {error}") from None


SAMPLE = ("runs.mine", b"".join(b"run%s 1.5\n" % c for c in (b"a", b"b", b"c")))
READING = ReaderContract()


@pytest.mark.parametrize(
    ("broken", "name", "more"),
    [
        (Blind, "its_own_file__is_recognized_and_holds_a_run", ()),
        (Empty, "its_own_file__is_recognized_and_holds_a_run", ()),
        (Fickle, "read_twice__gives_the_same", ()),
        (
            Fragile,
            "damaged_file__is_accounted_for_or_refused",
            ("junk in the middle",),
        ),
    ],
)
def test_reader_contract__broken_reader__is_found_and_a_sound_one_passes(
    broken, name, more
):
    test = getattr(READING, f"test_reader__{name}")
    for sound in (Lines, Careful):
        test(sound(), SAMPLE, *more)
    with pytest.raises((AssertionError, UnicodeDecodeError)):
        test(broken(), SAMPLE, *more)


class Steps(gymnasium.Env):
    """A sound environment: three steps, rewards that its seed decides."""

    action_space = gymnasium.spaces.Discrete(4)
    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._left = 3
        return self._seen(), {}

    def step(self, action):
        self._left -= 1
        reward = 0.3 * float(self.np_random.random())
        return self._seen(), reward, self._left == 0, False, {}

    def _seen(self):
        return np.full(1, self._left / 3, np.float32)


class Generous(Steps):
    """Pays more than there is."""

    def step(self, action):
        seen, _, over, cut, info = super().step(action)
        return seen, 1.0, over, cut, info


class Endless(Steps):
    """Never says that it is over."""

    def step(self, action):
        seen, reward, _, cut, info = super().step(action)
        return np.clip(seen, 0, 1), reward, False, cut, info


class Unseeded(Steps):
    """Draws from a stream that no seed decides."""

    def step(self, action):
        seen, _, over, cut, info = super().step(action)
        reward = 0.3 * float(np.random.default_rng().random())
        return seen, reward, over, cut, info


class Lasting(Steps):
    """Goes on where it was left."""

    n_plays = 0

    def reset(self, *, seed=None, options=None):
        self.n_plays += 1
        return super().reset(seed=seed, options=options)

    def step(self, action):
        seen, reward, over, cut, info = super().step(action)
        return seen, reward / self.n_plays, over, cut, info


PLAYING = EnvironmentContract()


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (Generous, "rewards__add_up_to_at_most_one"),
        (Endless, "episode__ends_and_says_so"),
        (Unseeded, "same_seed__gives_the_same_episode"),
        (Lasting, "reset_after_a_play__forgets_it"),
    ],
)
def test_environment_contract__broken_one__is_found_and_a_sound_one_passes(
    broken, name
):
    test = getattr(PLAYING, f"test_env__{name}")
    test(Steps)
    with pytest.raises(AssertionError):
        test(broken)


def test_policy_contract__turned_target__is_the_same_evidence():
    """What hides the target's outcomes leaves all else where it is."""
    from autollm.testing.policies import TABLE, with_turned_target

    turned = with_turned_target(TABLE)
    last = len(TABLE.experiments) - 1
    for e in range(last):
        assert np.array_equal(turned.losses(e), TABLE.losses(e))
    assert np.array_equal(turned.losses(last), TABLE.losses(last)[::-1])
    same = replace(turned, columns=TABLE.columns)
    assert np.array_equal(same.losses(last), TABLE.losses(last))
