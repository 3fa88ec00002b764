"""The leaderboard: means with intervals per suite, policy and k, paired differences,
standings. Format: `leaderboard.json`, schema 2.

Trainings of one agent that differ in their seed have rows of their own, and
`trainings` says how all of them did together, with an interval that resamples trainings
too.

Invariant: one leaderboard stands on one snapshot, one version of each suite and one
off-table mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from autollm.core import files as storage
from autollm.core.errors import ComparisonError
from autollm.core.sealed import read_sealed, write_sealed
from autollm.evaluation.intervals import Interval, interval, paired
from autollm.evaluation.protocol import EpisodeResult
from autollm.evaluation.results import mean_score, score_matrix, total
from autollm.evaluation.runner import evaluation_id
from autollm.evaluation.scores import (
    GROUP,
    SCHEMA,
    Leaderboard,
    Pair,
    Score,
    SuiteStanding,
    Trainings,
)
from autollm.evaluation.standings import overall, standing

WRITTEN_AGAIN = (
    "run the command of that evaluation again, or remove its folder."
)
KS = (1, 3, 5, 10)
PAIR_KS = (1, 3)
BASELINES = ("copy-nearest", "moving-bowl", "pool-centre")
"""Every agent is compared with these in pairs; agents also with each other."""

Group = tuple[str, str, str, bool]
ByPolicy = dict[str, list[EpisodeResult]]


def build(
    results: Sequence[EpisodeResult], *, command: str, commit: str
) -> Leaderboard:
    """The leaderboard of judged episodes.

    Raises:
        ComparisonError: several snapshots, versions of a suite or versions of a policy;
            or no result.
    """
    check_comparable(results)
    rows: list[Score] = []
    pairs: list[Pair] = []
    trainings: list[Trainings] = []
    standings: list[SuiteStanding] = []
    for by_policy in _grouped(results):
        everybody: list[EpisodeResult] = []
        for own in by_policy.values():
            everybody += own
            for k in _ks(own):
                rows.append(_row(own, k))
        pairs += _pairs(by_policy)
        trainings += _trainings(by_policy)
        head = _head(everybody[0])
        for k in _ks(everybody):
            fields = standing(by_policy, k)
            if fields["rows"]:
                standings.append(SuiteStanding(**head, **fields))
    return Leaderboard(
        evaluation_id=evaluation_id(results),
        command=command,
        commit=commit,
        table_id=results[0].table_id,
        rows=tuple(rows),
        pairs=tuple(pairs),
        trainings=tuple(trainings),
        standings=tuple(standings),
        overall=tuple(overall(results, KS)),
    )


def _grouped(results: Sequence[EpisodeResult]) -> list[ByPolicy]:
    """Results that may be compared, by policy; policies as they came first."""
    out: dict[Group, ByPolicy] = {}
    for result in results:
        of_group = out.setdefault(_group(result), {})
        of_group.setdefault(result.player, []).append(result)
    return [out[group] for group in sorted(out)]


def _ks(results: Sequence[EpisodeResult]) -> list[int]:
    """Numbers of trials that all of them have."""
    trials = min(r.trials for r in results)
    return [k for k in KS if k <= trials]


def _head(result: EpisodeResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in GROUP}


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
        ("versions of policy", "player", "policy_identity"),
        ("budgets in suite", "suite", "trials"),
    ):
        values_of: dict[str, set[str]] = {}
        for result in results:
            name = getattr(result, key)
            values_of.setdefault(name, set()).add(str(getattr(result, value)))
        for name, values in sorted(values_of.items()):
            if len(values) > 1:
                raise ComparisonError(
                    f"{what} {name} differ ({', '.join(sorted(values))}): their "
                    "scores may not be compared. Evaluate them again under one."
                )


def write(board: Leaderboard, home_url: str) -> str:
    """Write `<home>/reports/<evaluation_id>/leaderboard.json` and point
    `reports/latest` at it; returns the folder's URL.
    """
    folder = storage.join(home_url, "reports", board.evaluation_id)
    write_sealed(storage.join(folder, "leaderboard.json"), board.as_json())
    return folder


def point_latest(home_url: str, evaluation_id: str) -> None:
    """Swap the pointer `<home>/reports/latest` (a text file holding the id) in one
    step.
    """
    storage.write_atomic(
        storage.join(home_url, "reports", "latest"),
        f"{evaluation_id}\n".encode(),
    )


def latest_id(home_url: str) -> str | None:
    """The evaluation that `reports/latest` points to; None before the first."""
    url = storage.join(home_url, "reports", "latest")
    return (
        storage.read_bytes(url).decode(errors="replace").strip()
        if storage.exists(url)
        else None
    )


def load(home_url: str, evaluation_id: str | None = None) -> Leaderboard:
    """A written leaderboard, the latest by default.

    Raises:
        ComparisonError: nothing was evaluated yet, there is no leaderboard of that id,
            or it is damaged.
    """
    chosen = evaluation_id or latest_id(home_url)
    url = storage.join(
        home_url, "reports", chosen or "none", "leaderboard.json"
    )
    if chosen is None or not storage.exists(url):
        raise ComparisonError(
            f"no leaderboard {chosen or ''} under {home_url}. Fix: autollm evaluate "
            "--suite ... --policies ..."
        )
    fields = read_sealed(url, ComparisonError, WRITTEN_AGAIN, SCHEMA)
    try:
        return Leaderboard.of_json(fields)
    except (ValidationError, KeyError) as error:
        raise ComparisonError(
            f"{url} holds no leaderboard of schema {SCHEMA} or before: "
            f"{str(error).splitlines()[0]}. Fix: {WRITTEN_AGAIN}"
        ) from None


def _group(r: EpisodeResult) -> Group:
    return tuple(getattr(r, name) for name in GROUP)


def _row(own: list[EpisodeResult], k: int) -> Score:
    first = own[0]
    regrets = score_matrix(own, "regret", k)
    regret = interval(regrets)
    n_calls = total(own, "n_calls")
    hours = [r.cost_device_hours for r in own]
    return Score(
        **_head(first),
        suite_version=first.suite_version,
        table_id=first.table_id,
        policy=first.policy,
        policy_version=first.policy_version,
        policy_identity=first.policy_identity,
        training=first.training,
        live=first.live,
        stage=first.stage,
        decoding=first.decoding,
        k=k,
        regret_mean=regret.mean,
        regret_low=regret.low,
        regret_high=regret.high,
        regret_seed_low=regret.seed_low,
        regret_seed_high=regret.seed_high,
        latent_regret_mean=mean_score(own, "latent_regret", k),
        raw_gap=mean_score(own, "raw_gap", k),
        diverged_first=mean_score(own, "diverged_first"),
        inference_regret=mean_score(own, "inference_regret"),
        rank_mean=mean_score(own, "rank", k),
        oracle_regret=mean_score(own, "oracle_regret", k),
        n_tasks=regrets.shape[0],
        n_seeds=regrets.shape[1],
        n_calls=n_calls,
        malformed=total(own, "malformed") / max(n_calls, 1),
        repeated=total(own, "repeated") / max(n_calls, 1),
        off_table=total(own, "off_table") / max(n_calls, 1),
        cost_device_hours=float(np.mean(hours))
        if np.isfinite(hours).all()
        else None,
    )


def _pairs(by_policy: ByPolicy) -> Iterator[Pair]:
    """Agents against baselines and against each other; without agents, every policy
    against the first baseline.
    """
    for policy, baseline in _opponents(by_policy):
        own = by_policy[policy]
        other = by_policy[baseline]
        for measure in ("regret", "latent_regret"):
            for k in PAIR_KS:
                if k <= own[0].trials:
                    yield _pair(own, other, measure, k)


def _opponents(by_policy: ByPolicy) -> Iterator[tuple[str, str]]:
    agents = [policy for policy, own in by_policy.items() if own[0].stage]
    for agent in agents:
        for baseline in BASELINES:
            if baseline in by_policy:
                yield agent, baseline
    for i, agent in enumerate(agents):
        for other in agents[:i]:
            yield agent, other
    first = BASELINES[0]
    if not agents and first in by_policy:
        for policy in by_policy:
            if policy != first:
                yield policy, first


def _pair(
    own: list[EpisodeResult], other: list[EpisodeResult], measure: str, k: int
) -> Pair:
    common = _common([own, other])
    difference = paired(
        score_matrix(_on(own, common), measure, k),
        score_matrix(_on(other, common), measure, k),
    )
    return Pair(
        **_head(own[0]),
        **_bounds(difference),
        policy=own[0].player,
        baseline=other[0].player,
        measure=measure,
        k=k,
        n_pairs=len(common),
        difference=difference.mean,
    )


def _trainings(by_policy: ByPolicy) -> Iterator[Trainings]:
    """Agents of several trainings: `mean` is their regret, or the difference of it from
    `baseline` where that is not empty.
    """
    members: dict[str, list[list[EpisodeResult]]] = {}
    for own in by_policy.values():
        if own[0].training:
            members.setdefault(own[0].policy, []).append(own)
    opponents = ["", *(b for b in BASELINES if b in by_policy)]
    for name, together in members.items():
        for baseline in opponents:
            for k in PAIR_KS:
                if k <= together[0][0].trials:
                    yield _training(
                        name, together, by_policy.get(baseline, []), k
                    )


def _training(
    name: str,
    own: list[list[EpisodeResult]],
    baseline: list[EpisodeResult],
    k: int,
) -> Trainings:
    played = [*own, baseline] if baseline else own
    common = _common(played)
    scores = [
        score_matrix(_on(results, common), "regret", k) for results in played
    ]
    own_scores = np.array(scores[: len(own)])
    bounds = (
        paired(own_scores, scores[-1]) if baseline else interval(own_scores)
    )
    return Trainings(
        **_head(own[0][0]),
        **_bounds(bounds),
        policy=name,
        n_trainings=len(own),
        baseline=baseline[0].player if baseline else "",
        k=k,
        n_pairs=len(common),
        mean=bounds.mean,
    )


def _common(played: Sequence[list[EpisodeResult]]) -> set[tuple[str, int]]:
    """(task, seed) that all of them played."""
    keys = []
    for results in played:
        keys.append({(r.task_id, r.seed) for r in results})
    return set.intersection(*keys)


def _on(
    results: list[EpisodeResult], played: set[tuple[str, int]]
) -> list[EpisodeResult]:
    return [r for r in results if (r.task_id, r.seed) in played]


def _bounds(interval: Interval) -> dict[str, Any]:
    """Both intervals, by the names that the leaderboard gives them."""
    return {
        "low": interval.low,
        "high": interval.high,
        "seed_low": interval.seed_low,
        "seed_high": interval.seed_high,
        "includes_zero": interval.includes_zero,
    }
