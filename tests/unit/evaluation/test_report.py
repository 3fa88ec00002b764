"""The page: complete, self-contained, escaped."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from autollm.evaluation import landscape_plots, leaderboard, plots
from autollm.evaluation.look_log import record_look
from autollm.evaluation.pages import power
from autollm.evaluation.report import (
    played_episode,
    publish,
    traced_shares,
    verdicts,
)
from autollm.evaluation.scores import Pair
from tests.unit.evaluation.test_leaderboard import TABLE, results
from tests.unit.gym.tables import make_mixed_table

EVIL = "<script>alert(1)</script> $\\frac{a}{b}$"


class Tags(HTMLParser):
    """Tags and their nesting, of an HTML page."""

    def __init__(self, text: str):
        super().__init__()
        self.seen: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)


@pytest.fixture(scope="module")
def episodes():
    own = results(
        {"random": "", "copy-nearest": "", "oracle": "", "moving-bowl": "sft"}
    )
    chat = json.dumps(
        [
            {"role": "user", "content": "evidence"},
            {"role": "assistant", "content": f"0.5 {EVIL}"},
        ]
    )
    return [
        replace(
            r,
            transcript_json=chat if r.stage and r.seed == 0 else "",
            n_traced=3,
            n_numbers=4 if r.stage else 0,
        )
        for r in own
    ]


def test_publish__evaluation__writes_page_and_board_and_points_latest(
    episodes, tmp_path
) -> None:
    record_look(
        str(tmp_path),
        command="autollm evaluate --suite toy-v1",
        evaluation_id="x",
        suites=["toy-v1"],
        policies=["random"],
    )
    done = publish(
        episodes,
        TABLE,
        str(tmp_path),
        command="autollm evaluate --suite toy-v1",
        commit="c0ffee",
    )
    page = (
        tmp_path / "reports" / done.leaderboard.evaluation_id / "report.html"
    ).read_text()
    for text in (
        "toy-v1, declared, redraw",
        "agent-moving-bowl",
        "autollm evaluate --suite toy-v1",
        "c0ffee",
        "75.0 %",
        "1 look at test tasks is on record",
        "Paired differences",
        done.leaderboard.table_id,
    ):
        assert text in page, text
    assert (
        leaderboard.latest_id(str(tmp_path)) == done.leaderboard.evaluation_id
    )
    assert len(Tags(page).seen) > 100 and Tags(page).seen.count("svg") == 3


def test_publish__two_suites__page_says_what_is_possible_what_it_cost_and_who_is_told_apart(
    episodes, tmp_path
) -> None:
    both = episodes + [replace(r, suite="other-v1") for r in episodes]
    done = publish(both, TABLE, str(tmp_path), command="c", commit="d")
    page = (
        tmp_path / "reports" / done.leaderboard.evaluation_id / "report.html"
    ).read_text()
    assert Tags(page).seen.count("svg") == 2 * 2 + 1 + 1, (
        "per suite two, over all suites one, the moving optimum one"
    )
    for text in (
        "All suites together",
        "knowing the noise-free surface",
        "random rows, exact expectation",
        "FLOPs an episode",
        "device hours",
        "raw gap k=1, val_loss",
        "not told apart",
        "Fewer than five targets",
        "critical difference",
    ):
        assert text in page, text
    episode = next(r for r in episodes if r.policy == "random")
    assert (
        power(
            float(
                np.mean(
                    [r.cost_flops for r in episodes if r.policy == "random"]
                )
            )
        )
        in page
        and episode.cost_flops > 0
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.2e21, "4.2e21"),
        (0.353, "0.35"),
        (12, "12"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_power__numbers__are_short(value: float | None, text: str) -> None:
    assert power(value) == text


def test_moving_optimum__mixed_space__draws_its_number_knobs() -> None:
    table = make_mixed_table()
    ids = [e.experiment_id for e in table.experiments]
    svg = landscape_plots.moving_optimum(table, ids, ids[-1:])
    assert "momentum" in svg and "mixture" not in svg


def test_publish__page__loads_nothing_and_escapes_names(
    episodes, tmp_path
) -> None:
    named = [
        replace(r, policy=EVIL) if r.policy == "random" else r for r in episodes
    ]
    done = publish(
        named, TABLE, str(tmp_path), command=f"autollm {EVIL}", commit=""
    )
    page = (
        tmp_path / "reports" / done.leaderboard.evaluation_id / "report.html"
    ).read_text()
    assert "script" not in Tags(page).seen
    assert (
        not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
        and "@import" not in page
    )
    assert page.count("&lt;script&gt;") >= 4


def test_publish__same_episodes__gives_the_same_bytes(
    episodes, tmp_path
) -> None:
    pages = []
    for name in ("a", "b"):
        done = publish(
            episodes, TABLE, str(tmp_path / name), command="c", commit="d"
        )
        pages.append(
            (
                tmp_path
                / name
                / "reports"
                / done.leaderboard.evaluation_id
                / "report.html"
            ).read_bytes()
        )
    assert pages[0] == pages[1]


def test_publish__no_agent_and_a_policy_that_failed__says_both(
    episodes, tmp_path
) -> None:
    failed = [
        replace(r, error="ValueError: no")
        for r in episodes
        if r.policy == "random"
    ]
    done = publish(failed, TABLE, str(tmp_path), command="c", commit="d")
    page = (
        tmp_path / "reports" / done.leaderboard.evaluation_id / "report.html"
    ).read_text()
    assert "No agent took part" in page and "ValueError: no" in page


PAIR = Pair(
    suite="s",
    setting="declared",
    target_rows="redraw",
    masked=False,
    policy="agent",
    baseline="copy-nearest",
    measure="regret",
    k=1,
    n_pairs=4,
    difference=-0.1,
    low=None,
    high=None,
    seed_low=-0.2,
    seed_high=0.01,
    includes_zero=True,
)


def test_verdicts__interval_with_zero__is_not_called_better() -> None:
    assert "cannot be told apart" in verdicts([PAIR])[0]
    sure = PAIR.model_copy(update={"seed_high": -0.01, "includes_zero": False})
    assert "is better than copy-nearest" in verdicts([sure])[0]


def test_played_episode__several_kept__is_the_median_of_the_latest_stage(
    episodes,
) -> None:
    kept = [
        replace(
            episodes[0], stage=stage, transcript_json="[]", regret=[value] * 5
        )
        for stage, value in (
            ("sft-rl", 0.3),
            ("sft-rl", 0.1),
            ("sft-rl", 0.2),
            ("base", 0.0),
        )
    ]
    assert played_episode(kept)["result"].regret[-1] == 0.2
    assert (
        played_episode([replace(k, transcript_json="") for k in kept]) is None
    )


def test_traced_shares__agents__are_pooled_over_episodes(episodes) -> None:
    assert traced_shares(episodes) == [
        {"policy": "agent-moving-bowl", "n_numbers": 32, "share": 0.75}
    ]


def test_colour_of__many_policies__references_keep_theirs() -> None:
    colours = plots.colour_of(
        ["agent", *(f"p{i}" for i in range(12)), "random"]
    )
    assert (
        colours["random"] == plots.REFERENCE["random"]
        and len(set(colours.values())) == 11
    )


def test_verdicts__earlier_stages_of_a_judged_agent__are_left_out() -> None:
    sure = PAIR.model_copy(update={"includes_zero": False})
    names = ["agent-a-base", "agent-a-sft", "agent-a-sft-rl", "agent-b-base"]
    names.append("moving-bowl")
    said = verdicts(
        [sure.model_copy(update={"policy": name}) for name in names]
    )
    assert [line.split(": ")[1].split(" is ")[0] for line in said] == names[2:]
