"""One self-contained page about one evaluation, for a person to read or print; and
publishing it beside the leaderboard.

Everything on the page comes from judged episodes, the snapshot they were played on, and
the log of test looks. Invariant: names and transcripts are escaped; the page loads
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from markupsafe import Markup

from autollm.core import files as storage
from autollm.core.ids import Origin
from autollm.evaluation import landscape_plots, leaderboard, plots
from autollm.evaluation.bounds import bounds
from autollm.evaluation.look_log import load_looks
from autollm.evaluation.pages import page
from autollm.evaluation.protocol import EpisodeResult
from autollm.evaluation.results import T, having, results_by_policy, total
from autollm.evaluation.scores import (
    GROUP,
    Leaderboard,
    OverallStanding,
    Pair,
    Ranked,
    Score,
)
from autollm.evaluation.terminal import by_policy, short
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.suites import load_suite, suite_ids
from autollm.gym.tasks.task import Task

STAGES = ("base", "rl", "sft", "sft-rl")
"""Stages of an agent's training, the furthest last."""
LAST_LOOKS = 20


@dataclass(frozen=True)
class Published:
    """Where an evaluation now stands."""

    leaderboard: Leaderboard
    html_url: str


def publish(
    results: Sequence[EpisodeResult],
    table: OutcomeTable,
    home_url: str,
    *,
    command: str,
    commit: str,
) -> Published:
    """Write leaderboard.json and report.html under `<home>/reports/<evaluation_id>/`,
    then swap `reports/latest`.

    Raises:
        ComparisonError: the results may not stand side by side.
    """
    board = leaderboard.build(results, command=command, commit=commit)
    folder = leaderboard.write(board, home_url)
    html_url = storage.join(folder, "report.html")
    storage.write_atomic(
        html_url, render(board, results, table, load_looks(home_url)).encode()
    )
    leaderboard.point_latest(home_url, board.evaluation_id)
    return Published(board, html_url)


def render(
    board: Leaderboard,
    results: Sequence[EpisodeResult],
    table: OutcomeTable,
    looks: list[dict[str, Any]],
) -> str:
    """The page as HTML text."""
    colours = plots.colour_of(_agents_first(results))
    groups = []
    for name, rows in board.groups.items():
        groups.append(_group(name, rows, board, results, table, colours))
    n_own_looks, n_openings = 0, 0
    for look in looks:
        n_own_looks += look.get("evaluation_id") == board.evaluation_id
        n_openings += "opened_because" in look
    versions, suites = set(), set()
    for r in results:
        versions.add((r.player, r.policy_version))
        suites.add((r.suite, r.suite_version))
    return page(
        "report.html.j2",
        board=board,
        verdicts=verdicts(board.pairs),
        colours=colours,
        groups=groups,
        overall=_overall(board, colours),
        scales=_scales(table, results),
        episode=played_episode(results),
        traced=traced_shares(results),
        n_errors=_errors(results),
        versions=sorted(versions),
        looks=looks[-LAST_LOOKS:][::-1],
        n_looks=len(looks),
        n_own_looks=n_own_looks,
        n_openings=n_openings,
        suites=sorted(suites),
    )


def _agents_first(results: Sequence[EpisodeResult]) -> list[str]:
    """Ids of all policies by name, agents before the others."""
    stage_of = {r.player: r.stage for r in results}
    return sorted(stage_of, key=lambda policy: (not stage_of[policy], policy))


def verdicts(pairs: Sequence[Pair]) -> list[str]:
    """The comparison with copy-nearest in sentences, one a suite, agent (at its last
    stage) and k; the sentence says where an interval holds zero.
    """
    compared = having(pairs, measure="regret", baseline="copy-nearest")
    names = {pair.policy for pair in compared}
    sentences = []
    for pair in compared:
        if not _surpassed(pair.policy, names):
            sentences.append(_verdict(pair))
    return sentences


def _verdict(pair: Pair) -> str:
    side = "is better than" if pair.difference < 0 else "is worse than"
    if pair.includes_zero:
        side = "cannot be told apart from"
    span = pair.bounds
    interval = ""
    if span.low is not None:
        interval = (
            f", 95 % interval over {span.over} {short(span.low)} to "
            f"{short(span.high)}"
        )
    return (
        f"{pair.suite} ({pair.setting}), k={pair.k}: {pair.policy} {side} copy-nearest "
        f"(difference of regret {short(pair.difference)}{interval}; {pair.n_pairs} "
        "pairs)."
    )


def _surpassed(policy: str, others: set[str]) -> bool:
    """Whether a later stage of the same agent is judged too."""
    stage = next((s for s in STAGES[::-1] if policy.endswith(f"-{s}")), None)
    if stage is None:
        return False
    agent = policy.removesuffix(stage)
    later = STAGES[STAGES.index(stage) + 1 :]
    return not others.isdisjoint(agent + name for name in later)


def played_episode(results: Sequence[EpisodeResult]) -> dict[str, Any] | None:
    """A kept transcript of the latest agent stage: that of median regret after the last
    trial, so that it is not a lucky one.
    """
    of_stage: dict[int, list[EpisodeResult]] = {}
    for r in results:
        if r.transcript_json:
            of_stage.setdefault(_stage_rank(r), []).append(r)
    if not of_stage:
        return None
    latest = of_stage[max(of_stage)]
    latest.sort(key=lambda r: (r.regret[-1], r.task_id, r.seed))
    chosen = latest[len(latest) // 2]
    return {"result": chosen, "messages": json.loads(chosen.transcript_json)}


def _stage_rank(result: EpisodeResult) -> int:
    """How far its agent was trained; a stage that is not of ours counts as the base."""
    return STAGES.index(result.stage) if result.stage in STAGES else 0


def traced_shares(results: Sequence[EpisodeResult]) -> list[dict[str, Any]]:
    """Per agent: how many numbers its thoughts held, and which share of them it had
    read before.
    """
    out = []
    of_agents = [r for r in results if r.stage]
    for policy, own in results_by_policy(of_agents).items():
        numbers = total(own, "n_numbers")
        share = total(own, "n_traced") / numbers if numbers else None
        out.append({"policy": policy, "n_numbers": numbers, "share": share})
    return out


def _group(
    name: str,
    rows: list[Score],
    board: Leaderboard,
    results: Sequence[EpisodeResult],
    table: OutcomeTable,
    colours: dict[str, str],
) -> dict[str, Any]:
    """What the page says of one suite under one protocol."""
    first = rows[0]
    protocol = dict(zip(GROUP, attrgetter(*GROUP)(first), strict=True))
    own = having(results, **protocol)
    ks = sorted(set(map(attrgetter("k"), rows)))
    tasks = _tasks(own)
    standings = _shown(having(board.standings, group=name))
    return {
        "name": name,
        "first": first,
        "ks": ks,
        "policies": by_policy(rows),
        "unit": first.bounds.over,
        "bounds": bounds(tasks, table, ks),
        "objectives": _objectives(tasks, table),
        "flops": _mean_flops(own),
        "pairs": having(board.pairs, group=name, measure="regret"),
        "trainings": having(board.trainings, group=name),
        "standings": standings,
        "ranks": Markup(plots.ranks(standings, colours)),
        "svg": Markup(plots.regret_over_trials(own, colours)),
    }


def _shown(standings: Sequence[T]) -> list[T]:
    """Standings after the numbers of trials that are compared in pairs."""
    shown = []
    for k in leaderboard.PAIR_KS:
        shown += having(standings, k=k)
    return shown


def _objectives(tasks: Sequence[Task], table: OutcomeTable) -> list[str]:
    names = set()
    for task in tasks:
        own = table.experiments[table.index(task.target)].objective
        names.add(task.objective or own)
    return sorted(names)


def _mean_flops(results: Sequence[EpisodeResult]) -> dict[str, float]:
    """Mean FLOPs of an episode, by policy."""
    flops = {}
    for policy, own in results_by_policy(results).items():
        flops[policy] = float(np.mean([r.cost_flops for r in own]))
    return flops


def _tasks(results: Sequence[EpisodeResult]) -> list[Task]:
    """The tasks that were played, by id; of a suite that does not ship with autollm,
    their targets with the objective of their own. What was sealed was opened to be
    played.
    """
    known: dict[str, Task] = {}
    for suite in {r.suite for r in results}:
        if suite.removesuffix("-masked") in suite_ids():
            for task in load_suite(suite).tasks:
                known[task.task_id] = task.with_(sealed=False)
    played = {}
    for r in results:
        own = Task(r.task_id, r.suite, r.suite_version, r.split, r.target, ())
        played[r.task_id] = known.get(r.task_id, own)
    return [played[task_id] for task_id in sorted(played)]


def _overall(
    board: Leaderboard, colours: dict[str, str]
) -> list[dict[str, Any]]:
    """Standings over all suites, one entry a setting: the tables of each k side by
    side, and the picture.
    """
    by_setting: dict[tuple[str, str, bool], list[OverallStanding]] = {}
    for standing in board.overall:
        key = (standing.setting, standing.target_rows, standing.masked)
        by_setting.setdefault(key, []).append(standing)
    out = []
    for own in by_setting.values():
        drawn = _shown(own)
        rows = {s.k: _by_name(s) for s in own}
        out.append(
            {
                "first": own[0],
                "ks": list(rows),
                "rows": rows,
                "policies": list(_by_name(own[0])),
                "standings": drawn,
                "ranks": Markup(plots.ranks(drawn, colours)),
            }
        )
    return out


def _by_name(standing: OverallStanding) -> dict[str, Ranked]:
    return {row.policy: row for row in standing.rows}


def _scales(
    table: OutcomeTable, results: Sequence[EpisodeResult]
) -> list[dict[str, Any]]:
    """A picture of the moving optimum per source, over every experiment of it that the
    evaluated suites name; none for mixtures.
    """
    targets = {r.target for r in results}
    experiments: dict[Origin, set[str]] = {}
    for target, suite in {(r.target, r.suite) for r in results}:
        origin = table.experiments[table.index(target)].origin
        own = experiments.setdefault(origin, set())
        for e in {target} | _named_by(suite, table):
            of = table.experiments[table.index(e)] if e in table else None
            if of is not None and of.origin == origin:
                own.add(e)
    out = []
    for origin, ids in sorted(experiments.items()):
        shown = sorted(targets & ids)
        svg = landscape_plots.moving_optimum(table, sorted(ids), shown)
        if svg:
            out.append(
                {"source": origin.name, "n": len(ids), "svg": Markup(svg)}
            )
    return out


def _named_by(suite_id: str, table: OutcomeTable) -> set[str]:
    """Targets and evidence of a suite that ships with autollm, else nothing."""
    named: set[str] = set()
    if suite_id.removesuffix("-masked") in suite_ids():
        for task in load_suite(suite_id, table).tasks:
            named |= {task.target, *task.evidence}
    return named


def _errors(results: Sequence[EpisodeResult]) -> list[tuple[str, int, str]]:
    """Policies that raised: id, how often, the first message."""
    raised: dict[str, list[str]] = {}
    for r in results:
        if r.error:
            raised.setdefault(r.player, []).append(r.error)
    out = []
    for policy, messages in sorted(raised.items()):
        out.append((policy, len(messages), messages[0]))
    return out
