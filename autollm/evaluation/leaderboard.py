"""The leaderboard: means with intervals per suite, policy and k, paired differences,
standings. Format: `leaderboard.json`, schema 2.

Policies `NAME#1`, `NAME#2` ... are trainings of one agent that differ in their seed:
each has its rows, and `trainings` says how all of them did together, with an interval
that resamples trainings too.

What does not belong here: playing (runner.py), pictures (plots.py, report.py).
Invariant: one leaderboard stands on one snapshot, one version of each suite and one
off-table mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autollm.core import files as storage
from autollm.core.errors import ComparisonError
from autollm.core.sealed import read_sealed, write_sealed
from autollm.evaluation.intervals import interval, paired
from autollm.evaluation.protocol import EpisodeResult
from autollm.evaluation.runner import evaluation_id
from autollm.evaluation.standings import overall, standing

SCHEMA = 2
"""2: a policy's identity and whether plays were live stand in fields of their own; 1
said them within `policy_version` and `table_id`.
"""
WRITTEN_AGAIN = "run the command of that evaluation again, or remove its folder."
KS = (1, 3, 5, 10)
PAIR_KS = (1, 3)
BASELINES = ("copy-nearest", "moving-bowl", "pool-centre")
"""Every agent is compared with these in pairs; agents also with each other."""
TRAINING = "#"
"""Between the name of an agent and the number of its training."""

GROUP = ("suite", "setting", "target_rows", "masked")
Group = tuple[str, str, str, bool]


def build(
    results: Sequence[EpisodeResult], *, command: str, commit: str
) -> dict[str, Any]:
    """The leaderboard of judged episodes, as it is written to disk.

    Raises:
        ComparisonError: several snapshots, versions of a suite, versions of a policy or
            off-table modes; or no result.
    """
    check_comparable(results)
    rows, pairs, together, standings = [], [], [], []
    for group in sorted({_group(r) for r in results}):
        members = [r for r in results if _group(r) == group]
        by_policy = {
            p: [r for r in members if r.policy == p]
            for p in dict.fromkeys(r.policy for r in members)
        }
        for own in by_policy.values():
            rows += [_row(own, k) for k in KS if k <= min(r.trials for r in own)]
        pairs += _pairs(by_policy)
        together += _trainings(by_policy)
        head = {name: getattr(members[0], name) for name in GROUP}
        standings += [
            {**head, **standing(by_policy, k)}
            for k in KS
            if k <= min(r.trials for r in members)
        ]
    return {
        "schema": SCHEMA,
        "evaluation_id": evaluation_id(results),
        "command": command,
        "commit": commit,
        "table_id": results[0].table_id,
        "rows": rows,
        "pairs": pairs,
        "trainings": together,
        "standings": standings,
        "overall": overall(results, KS),
    }


def check_comparable(results: Sequence[EpisodeResult]) -> None:
    """Refuse what may not stand side by side.

    Raises:
        ComparisonError: see build.
    """
    if not results:
        raise ComparisonError(
            "no judged episodes to compare: evaluate at least one suite with one "
            "policy and one seed."
        )
    evaluation_id(results)
    for what, key, value in (
        ("versions of suite", "suite", "suite_version"),
        ("versions of policy", "policy", "policy_identity"),
        ("budgets in suite", "suite", "trials"),
    ):
        for name in sorted({getattr(r, key) for r in results}):
            found = sorted(
                {str(getattr(r, value)) for r in results if getattr(r, key) == name}
            )
            if len(found) > 1:
                raise ComparisonError(
                    f"{what} {name} differ ({', '.join(found)}): their scores may not "
                    "be compared. "
                    "Evaluate them again under one."
                )


def write(board: dict[str, Any], home_url: str) -> str:
    """Write `<home>/reports/<evaluation_id>/leaderboard.json` and point
    `reports/latest` at it; returns the folder's URL.
    """
    folder = storage.join(home_url, "reports", board["evaluation_id"])
    write_sealed(storage.join(folder, "leaderboard.json"), board)
    return folder


def point_latest(home_url: str, evaluation_id: str) -> None:
    """Swap the pointer `<home>/reports/latest` (a text file holding the id) in one
    step.
    """
    storage.write_atomic(
        storage.join(home_url, "reports", "latest"), f"{evaluation_id}\n".encode()
    )


def latest_id(home_url: str) -> str | None:
    """The evaluation that `reports/latest` points to; None before the first."""
    url = storage.join(home_url, "reports", "latest")
    return storage.read_bytes(url).decode().strip() if storage.exists(url) else None


def load(home_url: str, evaluation_id: str | None = None) -> dict[str, Any]:
    """A written leaderboard, the latest by default.

    Raises:
        ComparisonError: nothing was evaluated yet, there is no leaderboard of that id,
            or it is damaged.
    """
    chosen = evaluation_id or latest_id(home_url)
    url = storage.join(home_url, "reports", chosen or "none", "leaderboard.json")
    if chosen is None or not storage.exists(url):
        raise ComparisonError(
            f"no leaderboard {chosen or ''} under {home_url}. Fix: autollm evaluate "
            "--suite ... --policies ..."
        )
    return read_sealed(url, ComparisonError, WRITTEN_AGAIN, SCHEMA)


def score_matrix(
    results: Sequence[EpisodeResult], field: str, k: int | None = None
) -> np.ndarray:
    """A field (its k-th entry) as float64 [tasks, seeds], both sorted; NaN where an
    episode is missing.
    """
    tasks, seeds = (
        sorted({r.task_id for r in results}),
        sorted({r.seed for r in results}),
    )
    out = np.full((len(tasks), len(seeds)), np.nan)
    for r in results:
        value = getattr(r, field)
        out[tasks.index(r.task_id), seeds.index(r.seed)] = (
            value if k is None else value[k - 1]
        )
    return out


def _group(r: EpisodeResult) -> Group:
    return tuple(getattr(r, name) for name in GROUP)


def _row(own: list[EpisodeResult], k: int) -> dict[str, Any]:
    first = own[0]
    regret = interval(score_matrix(own, "regret", k))
    n_calls = sum(r.n_calls for r in own)
    hours = [r.cost_device_hours for r in own]
    return {
        "suite": first.suite,
        "suite_version": first.suite_version,
        "table_id": first.table_id,
        "policy": first.policy,
        "policy_version": first.policy_version,
        "policy_identity": first.policy_identity,
        "live": first.live,
        "stage": first.stage,
        "setting": first.setting,
        "target_rows": first.target_rows,
        "masked": first.masked,
        "decoding": first.decoding,
        "k": k,
        "regret_mean": regret.mean,
        "regret_low": regret.low,
        "regret_high": regret.high,
        "regret_seed_low": regret.seed_low,
        "regret_seed_high": regret.seed_high,
        "latent_regret_mean": _mean(own, "latent_regret", k),
        "raw_gap": _mean(own, "raw_gap", k),
        "diverged_first": _mean(own, "diverged_first"),
        "inference_regret": _mean(own, "inference_regret"),
        "rank_mean": _mean(own, "rank", k),
        "oracle_regret": _mean(own, "oracle_regret", k),
        "n_tasks": len({r.task_id for r in own}),
        "n_seeds": len({r.seed for r in own}),
        "n_calls": n_calls,
        **{
            name: sum(getattr(r, name) for r in own) / max(n_calls, 1)
            for name in ("malformed", "repeated", "off_table")
        },
        "cost_device_hours": float(np.mean(hours))
        if np.isfinite(hours).all()
        else None,
    }


def _mean(own: list[EpisodeResult], field: str, k: int | None = None) -> float:
    return interval_free_mean(score_matrix(own, field, k))


def interval_free_mean(scores: np.ndarray) -> float:
    """Mean over seeds, then over tasks."""
    return float(np.nanmean(np.nanmean(scores, axis=1)))


def _pairs(by_policy: dict[str, list[EpisodeResult]]) -> list[dict[str, Any]]:
    """Agents against baselines and against each other; without agents, every policy
    against the first baseline.
    """
    agents = [p for p, own in by_policy.items() if own[0].stage]
    wanted = [(a, b) for a in agents for b in BASELINES if b in by_policy]
    wanted += [(a, b) for i, a in enumerate(agents) for b in agents[:i]]
    if not agents:
        wanted = [
            (a, BASELINES[0])
            for a in by_policy
            if a != BASELINES[0] and BASELINES[0] in by_policy
        ]
    return [
        _pair(by_policy[a], by_policy[b], field, k)
        for a, b in wanted
        for field in ("regret", "latent_regret")
        for k in PAIR_KS
        if k <= by_policy[a][0].trials
    ]


def _pair(
    a: list[EpisodeResult], b: list[EpisodeResult], field: str, k: int
) -> dict[str, Any]:
    common = {(r.task_id, r.seed) for r in a} & {(r.task_id, r.seed) for r in b}
    a, b = ([r for r in own if (r.task_id, r.seed) in common] for own in (a, b))
    difference = paired(score_matrix(a, field, k), score_matrix(b, field, k))
    return {
        **{name: getattr(a[0], name) for name in GROUP},
        "policy": a[0].policy,
        "baseline": b[0].policy,
        "measure": field,
        "k": k,
        "n_pairs": len(common),
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "seed_low": difference.seed_low,
        "seed_high": difference.seed_high,
        "includes_zero": difference.includes_zero,
    }


def _trainings(by_policy: dict[str, list[EpisodeResult]]) -> list[dict[str, Any]]:
    """Agents of several trainings: `mean` is their regret, or the difference of it from
    `baseline` where that is not empty.
    """
    members: dict[str, list[str]] = {}
    for policy in by_policy:
        if TRAINING in policy:
            members.setdefault(policy.split(TRAINING)[0], []).append(policy)
    return [
        _training(name, [by_policy[p] for p in own], by_policy.get(baseline, []), k)
        for name, own in members.items()
        for baseline in ("", *BASELINES)
        if not baseline or baseline in by_policy
        for k in PAIR_KS
        if k <= by_policy[own[0]][0].trials
    ]


def _training(
    name: str, own: list[list[EpisodeResult]], baseline: list[EpisodeResult], k: int
) -> dict[str, Any]:
    played = own + ([baseline] if baseline else [])
    common = set.intersection(
        *({(r.task_id, r.seed) for r in results} for results in played)
    )
    scores = [
        score_matrix([r for r in results if (r.task_id, r.seed) in common], "regret", k)
        for results in played
    ]
    of = (
        paired(np.array(scores[:-1]), scores[-1])
        if baseline
        else interval(np.array(scores))
    )
    return {
        **{field: getattr(own[0][0], field) for field in GROUP},
        "policy": name,
        "n_trainings": len(own),
        "baseline": baseline[0].policy if baseline else "",
        "k": k,
        "n_pairs": len(common),
        "mean": of.mean,
        "low": of.low,
        "high": of.high,
        "seed_low": of.seed_low,
        "seed_high": of.seed_high,
        "includes_zero": of.includes_zero,
    }
