"""leaderboard.json, its refusals, the pointer, looks and the terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from autollm.core.errors import ComparisonError
from autollm.evaluation import leaderboard
from autollm.evaluation.look_log import load_looks, looks_url, record_look
from autollm.evaluation.protocol import EpisodeResult, Player, play
from autollm.evaluation.terminal import print_leaderboard, short
from autollm.gym.tasks.task import Task
from autollm.policies.registry import make_policy
from tests.unit.gym.tables import make_table, make_task

TABLE = make_table(noise=0.02)
CONTRACT = {
    "suite",
    "suite_version",
    "table_id",
    "policy",
    "policy_version",
    "policy_identity",
    "live",
    "stage",
    "setting",
    "target_rows",
    "masked",
    "decoding",
    "k",
    "regret_mean",
    "regret_low",
    "regret_high",
    "regret_seed_low",
    "regret_seed_high",
    "latent_regret_mean",
    "raw_gap",
    "diverged_first",
    "inference_regret",
    "rank_mean",
    "oracle_regret",
    "n_tasks",
    "n_seeds",
    "n_calls",
    "malformed",
    "repeated",
    "off_table",
    "cost_device_hours",
    "training",
}


def results(
    policies: dict[str, str],
    n_tasks: int = 2,
    n_seeds: int = 4,
    task: Task | None = None,
) -> list[EpisodeResult]:
    """Episodes of registered policies; a stage makes one an agent."""
    task = task or make_task(TABLE, trials=5)
    return [
        play(
            make_policy(p),
            task.with_(task_id=f"toy/{i}"),
            TABLE,
            s,
            Player(f"agent-{p}" if stage else p, "1", stage),
        )
        for p, stage in policies.items()
        for i in range(n_tasks)
        for s in range(n_seeds)
    ]


def test_build__two_policies__rows_have_the_contract_fields_at_each_k() -> None:
    board = leaderboard.build(
        results({"random": "", "copy-nearest": ""}), command="c", commit="d"
    )
    written = board.as_json()
    assert {"schema", "command", "commit", "rows"} <= set(written)
    assert [(r.policy, r.k) for r in board.rows] == [
        (p, k) for p in ("random", "copy-nearest") for k in (1, 3, 5)
    ]
    assert all(set(r) == CONTRACT for r in written["rows"])
    first = board.rows[0]
    assert (
        first.n_tasks,
        first.n_seeds,
        first.n_calls,
        first.regret_low,
    ) == (2, 4, 40, None)
    json.dumps(written, allow_nan=False)


def test_build__five_targets__have_an_interval_over_experiments() -> None:
    row = leaderboard.build(
        results({"random": ""}, n_tasks=5), command="", commit=""
    ).rows[0]
    assert row.regret_low <= row.regret_mean <= row.regret_high


def test_build__agent__is_paired_with_the_baselines_and_negative_is_better() -> (
    None
):
    board = leaderboard.build(
        results({"random": "", "copy-nearest": "", "moving-bowl": "sft"}),
        command="",
        commit="",
    )
    assert {(p.policy, p.baseline, p.k) for p in board.pairs} == {
        ("agent-moving-bowl", "copy-nearest", k) for k in (1, 3)
    }
    by_policy = {(r.policy, r.k): r.regret_mean for r in board.rows}
    pair = next(p for p in board.pairs if p.measure == "regret" and p.k == 1)
    assert pair.difference == pytest.approx(
        by_policy["agent-moving-bowl", 1] - by_policy["copy-nearest", 1]
    )
    assert pair.n_pairs == 8


def test_build__two_trainings_of_an_agent__are_judged_together_and_against_each_baseline() -> (
    None
):
    own = results({"random": "", "copy-nearest": ""}, n_tasks=5)
    agent = [
        replace(r, policy="agent-x", training=i, stage="sft")
        for i in (1, 2)
        for r in own
        if r.policy == "random"
    ]
    board = leaderboard.build([*agent, *own], command="", commit="")
    means = {(r.policy, r.k): r.regret_mean for r in board.rows}
    assert {r.player for r in board.rows if r.policy == "agent-x"} == {
        "agent-x#1",
        "agent-x#2",
    }
    assert [
        (t.policy, t.baseline, t.k, t.n_trainings) for t in board.trainings
    ] == [("agent-x", b, k, 2) for b in ("", "copy-nearest") for k in (1, 3)]
    assert board.trainings[0].mean == pytest.approx(means["random", 1])
    assert board.trainings[2].mean == pytest.approx(
        means["random", 1] - means["copy-nearest", 1]
    )
    assert (
        board.trainings[2].low
        <= board.trainings[2].mean
        <= board.trainings[2].high
    )


def test_build__two_policies__stand_in_an_order_at_each_k() -> None:
    board = leaderboard.build(
        results({"random": "", "copy-nearest": ""}), command="", commit=""
    )
    assert [(s.suite, s.k) for s in board.standings] == [
        ("toy-v1", k) for k in (1, 3, 5)
    ] and board.overall == ()
    assert sum(r.rank for r in board.standings[0].rows) == pytest.approx(3)


def test_build__repeated_and_malformed_calls__are_shares_of_calls() -> None:
    odd = [
        replace(r, n_calls=10, malformed=1, repeated=2, off_table=5)
        for r in results({"random": ""})
    ]
    row = leaderboard.build(odd, command="", commit="").rows[0]
    assert (row.malformed, row.repeated, row.off_table) == (0.1, 0.2, 0.5)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("table_id", "other", "snapshots"),
        ("suite_version", 2, "versions of suite"),
        ("policy_identity", "2", "versions of policy"),
        ("live", True, "recorded results and live ones"),
        ("trials", 3, "budgets"),
    ],
)
def test_build__what_may_not_stand_side_by_side__is_refused(
    field: str, value: object, says: str
) -> None:
    own = results({"random": ""})
    with pytest.raises(ComparisonError, match=says):
        leaderboard.build(
            [*own[:-1], replace(own[-1], **{field: value})],
            command="",
            commit="",
        )


def test_build__nothing__is_refused() -> None:
    with pytest.raises(ComparisonError, match="no judged episodes"):
        leaderboard.build([], command="", commit="")


def test_build__two_settings__stand_apart() -> None:
    both = results({"random": ""}) + results(
        {"random": ""}, task=make_task(TABLE, trials=5, setting="pool-visible")
    )
    board = leaderboard.build(both, command="", commit="")
    assert [r.setting for r in board.rows] == ["declared"] * 3 + [
        "pool-visible"
    ] * 3
    assert all(r.n_seeds == 4 and r.n_calls == 40 for r in board.rows)


def test_write_and_load__latest__is_the_one_pointed_at(tmp_path) -> None:
    home = str(tmp_path)
    with pytest.raises(ComparisonError, match="autollm evaluate"):
        leaderboard.load(home)
    boards = [
        leaderboard.build(results({p: ""}), command=p, commit="")
        for p in ("random", "copy-nearest")
    ]
    for board in boards:
        leaderboard.write(board, home)
    leaderboard.point_latest(home, boards[0].evaluation_id)
    assert leaderboard.load(home) == boards[0]
    assert (
        leaderboard.load(home, boards[1].evaluation_id).command
        == "copy-nearest"
    )


@pytest.mark.parametrize("home", ["local", "memory://looks-test"])
def test_record_look__twice__appends_and_keeps_the_first(
    home: str, tmp_path
) -> None:
    home = str(tmp_path) if home == "local" else home
    for n in (1, 2):
        record_look(
            home,
            command=f"autollm evaluate {n}",
            evaluation_id=str(n),
            suites=["b", "a"],
            policies=["random"],
        )
    assert [
        (look["evaluation_id"], look["suites"]) for look in load_looks(home)
    ] == [
        ("1", ["a", "b"]),
        ("2", ["a", "b"]),
    ]


def test_load_looks__half_a_line__is_left_out(tmp_path) -> None:
    record_look(
        str(tmp_path), command="c", evaluation_id="1", suites=[], policies=[]
    )
    with open(looks_url(str(tmp_path)), "a") as handle:
        handle.write('{"time": "20')
    assert [look["evaluation_id"] for look in load_looks(str(tmp_path))] == [
        "1"
    ]


def test_print_leaderboard__eighty_columns__shows_every_policy_with_interval() -> (
    None
):
    board = leaderboard.build(
        results({"random": "", "copy-nearest": "", "moving-bowl": "sft"}),
        command="",
        commit="",
    )
    console = Console(width=80, record=True, file=io.StringIO())
    print_leaderboard(board, console)
    text = console.export_text()
    assert all(
        name in text
        for name in ("random", "copy-nearest", "agent-moving-bowl", "k=5")
    )
    assert "…" not in text and text.index("agent-moving-bowl") < text.index(
        "random"
    ), "best policy first"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0524, ".052"),
        (-0.12, "-.120"),
        (1.0, "1.000"),
        (0.0, ".000"),
        (None, "-"),
    ],
)
def test_short__numbers__are_three_decimals(
    value: float | None, text: str
) -> None:
    assert short(value) == text


def test_load__damaged_leaderboard__says_so(tmp_path) -> None:
    board = leaderboard.build(results({"random": ""}), command="c", commit="d")
    leaderboard.write(board, str(tmp_path))
    id_ = board.evaluation_id
    assert leaderboard.load(str(tmp_path), id_) == board
    path = tmp_path / "reports" / id_ / "leaderboard.json"
    path.write_text(
        path.read_text().replace('"regret_mean": 0.', '"regret_mean": 1.')
    )
    with pytest.raises(
        ComparisonError, match=r"leaderboard\.json is damaged.*Fix"
    ):
        leaderboard.load(str(tmp_path), id_)
    path.write_text('{"schema": 99}')
    with pytest.raises(ComparisonError, match="a newer autollm wrote it"):
        leaderboard.load(str(tmp_path), id_)


def test_load__schema_1__says_in_fields_what_names_said(tmp_path) -> None:
    board = leaderboard.build(
        results({"random": "sft"}), command="c", commit="d"
    )
    fields = board.as_json()
    for row in fields["rows"]:
        del row["policy_identity"], row["live"]
        row |= {"policy_version": "weights-code-code", "table_id": "toy-live"}
    old = {**fields, "schema": 1, "table_id": "toy-live"}
    path = tmp_path / "reports" / "x" / "leaderboard.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(old))
    found = leaderboard.load(str(tmp_path), "x")
    assert {
        (r.policy_version, r.policy_identity, r.live) for r in found.rows
    } == {("weights", "code-code", True)}
    assert (
        found.table_id == "toy"
        and found.rows[0].regret_mean == board.rows[0].regret_mean
    )


def test_load__no_leaderboard_in_it__says_so(tmp_path) -> None:
    path = tmp_path / "reports" / "x" / "leaderboard.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": 2, "rows": 3}')
    with pytest.raises(
        ComparisonError, match=r"holds no leaderboard of schema 2"
    ):
        leaderboard.load(str(tmp_path), "x")
