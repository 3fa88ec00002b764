import pytest

from autollm.agent.landscapes import make_landscape
from autollm.agent.policy import AgentPolicy, play
from autollm.agent.transcript import (
    Turn,
    render_turn,
    run_call,
    submit_call,
    thought,
)
from research.validation import (
    copy_nearest,
    rule_regret,
    scores,
    traced_share,
    trend,
    validation_envs,
)
from tests.unit.gym.tables import make_table, make_task


class Scripted:
    """A generator that writes what `write(k, conversation)` says in the k-th turn of
    every play.
    """

    def __init__(self, write):
        self.write, self.turn, self.batches = write, -1, []

    def generate(self, conversations, seed=0):
        self.turn += 1
        self.batches.append(len(conversations))
        return [self.write(self.turn, c) for c in conversations]


class Expert:
    """Plays through its own text with the environments at hand: tries cells in order,
    then submits the best.
    """

    def __init__(self, envs):
        self.envs = {prompt: env for env, prompt in envs}

    def __call__(self, turn, conversation):
        env = self.envs[conversation[0]["content"]]
        call = (
            submit_call(env)
            if env.episode.done
            else run_call(env, env.episode.drawn.view.candidates[turn])
        )
        return render_turn(Turn(thought(env), call)) + "<|im_end|>"


def test_play__expert__plays_to_the_end_and_is_traced():
    envs = validation_envs(6)
    plays = play(envs, Scripted(Expert(envs)))
    assert all(
        p.episode.finished
        and len(p.episode.trials) == 3
        and p.n_calls == 4
        and p.n_malformed == 0
        for p in plays
    )
    assert traced_share([p.conversation for p in plays]) == 1
    assert (
        scores(plays)["malformed"] == 0
        and 0 <= scores(plays)["regret_3"] <= scores(plays)["regret_1"] <= 1
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no call at all",
        "<tool_call>{}</tool_call>",
        '<tool_call>{"name": "fly", "arguments": {}}</tool_call>',
    ],
)
def test_play__unreadable_turns__spend_the_trials_and_end(text):
    plays = play(validation_envs(2), Scripted(lambda turn, conversation: text))
    for one in plays:
        assert [t.status for t in one.episode.trials] == [
            "malformed"
        ] * 3 and one.episode.regret_curve().tolist() == [1, 1, 1]
        assert one.n_malformed == one.n_calls == 4


def test_play__free_tools_for_ever__ends_after_a_bound():
    text = (
        '<tool_call>{"name": "summarize_evidence", "arguments": {}}</tool_call>'
    )
    plays = play(validation_envs(2), Scripted(lambda turn, conversation: text))
    assert all(
        p.n_calls == 3 + 1 + 4 and not p.episode.trials and p.n_malformed == 0
        for p in plays
    )


def test_play__plays_of_unequal_length__finished_ones_are_not_asked_again():
    envs = validation_envs(3)
    expert = Expert(envs)
    first = envs[0][1]

    def write(turn, conversation):
        return (
            render_turn(Turn("", submit_call(envs[0][0])))
            if conversation[0]["content"] == first
            else expert(turn, conversation)
        )

    script = Scripted(write)
    plays = play(envs, script)
    assert (
        script.batches == [3, 2, 2, 2]
        and plays[0].episode.finished
        and not plays[0].episode.trials
    )


def test_play_many__tasks_and_seeds__tasks_are_slowest_and_evaluation_takes_the_plays():
    from autollm.evaluation.protocol import Player, result_of

    table = make_table()
    tasks = [make_task(table), make_task(table, masked=True)]
    bad = AgentPolicy("agent-x", Scripted(lambda turn, conversation: "x"))
    plays = bad.play_many(tasks, table, [3, 4])
    assert [
        (p.episode.drawn.task.masked, p.episode.drawn.seed) for p in plays
    ] == [
        (False, 3),
        (False, 4),
        (True, 3),
        (True, 4),
    ]
    result = result_of(plays[0].episode, Player("agent-x"))
    assert result.malformed == 3 and result.regret == [1, 1, 1]


def test_validation_tasks__frozen__are_the_same_each_time_and_rules_beat_chance():
    assert [p for _, p in validation_envs(5)] == [
        p for _, p in validation_envs(5)
    ]
    copied, trended = rule_regret(40, copy_nearest), rule_regret(40, trend)
    assert copied[0] < 0.65 and trended[0] < 0.65 and copied[2] <= copied[0]
    assert make_landscape(1).task.trials >= 1
