"""Who is ahead of whom: mean ranks with a critical difference, per suite and over all
suites together.

On every (target, seed) the policies that played all of them are ranked by regret, ties
shared. The *critical difference* is the 95 % quantile of the widest gap that resampling
(targets and seeds, crossed) opens between two mean ranks without any true one: two
policies nearer than that are not told apart, whichever pair one looks at. Form of the
comparison: J. Demsar, "Statistical comparisons of classifiers over multiple data sets"
(JMLR 2006); bootstrap in place of Nemenyi's table, since seeds of one target are no
independent data.

Invariant: a target that several suites name counts once in what is said over all
suites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from autollm.evaluation.intervals import (
    LEVEL,
    MIN_EXPERIMENTS,
    interval,
    resampled_means,
)
from autollm.evaluation.protocol import EpisodeResult
from autollm.evaluation.results import results_by_policy
from autollm.evaluation.scores import OverallStanding, Ranked

SAME = ("setting", "target_rows", "masked")
"""What results over several suites must share."""


def standing(
    by_policy: Mapping[str, Sequence[EpisodeResult]], k: int
) -> dict[str, Any]:
    """Mean regret and mean rank of policies after k trials, best rank first, on the
    (target, seed) pairs that all of them played: the fields of a `Standing`.

    `cd`: the critical difference in mean rank; None with a single seed or policy.
    `over`: what was resampled. `cliques`: policies, at least two, between the first and
    last of which lies no critical difference. No rows where there is no such pair.
    """
    policies = list(by_policy)
    scores = _by_target(by_policy, k)
    if not scores.size:
        nothing = {"k": k, "n_targets": 0, "n_seeds": 0, "over": "seeds"}
        return nothing | {"cd": None, "rows": (), "cliques": ()}
    ranks = _ranks(scores)
    n_targets, n_seeds = scores.shape[1:]
    over = "experiments and seeds" if n_targets >= MIN_EXPERIMENTS else "seeds"
    mean_ranks = np.nanmean(np.nanmean(ranks, axis=2), axis=1)
    cd = _critical_difference(ranks, mean_ranks, over != "seeds")
    order = np.argsort(mean_ranks, kind="stable")
    rows = []
    for i in order:
        rows.append(_ranked(policies[i], float(mean_ranks[i]), scores[i]))
    names = [row.policy for row in rows]
    return {
        "k": k,
        "n_targets": n_targets,
        "n_seeds": n_seeds,
        "over": over,
        "cd": cd,
        "rows": tuple(rows),
        "cliques": _cliques(names, mean_ranks[order], cd),
    }


def _critical_difference(
    ranks: np.ndarray, mean_ranks: np.ndarray, over_targets: bool
) -> float | None:
    """Critical difference of ranks [policies, targets, seeds] whose means are
    [policies]; None with a single policy or seed.
    """
    n_policies, _, n_seeds = ranks.shape
    if n_policies < 2 or n_seeds < 2:
        return None
    resampled = [resampled_means(own, over_targets) for own in ranks]
    moved = np.array(resampled) - mean_ranks[:, None]
    return float(np.quantile(np.ptp(moved, axis=0), LEVEL))


def _ranked(policy: str, rank: float, scores: np.ndarray) -> Ranked:
    """A policy with its mean rank and its regrets [targets, seeds]."""
    bounds = interval(scores)
    wide = bounds.low is not None
    return Ranked(
        policy=policy,
        rank=rank,
        regret_mean=bounds.mean,
        regret_low=bounds.low if wide else bounds.seed_low,
        regret_high=bounds.high if wide else bounds.seed_high,
    )


def overall(
    results: Sequence[EpisodeResult], ks: Sequence[int]
) -> list[OverallStanding]:
    """Standings over all suites of one setting, for each setting in which several were
    played.

    Policies that did not play every suite are named in `left_out`.
    """
    posed: dict[tuple[Any, ...], list[EpisodeResult]] = {}
    for result in results:
        posed.setdefault(attrgetter(*SAME)(result), []).append(result)
    out: list[OverallStanding] = []
    for key in sorted(posed):
        own = posed[key]
        suites = set(map(attrgetter("suite"), own))
        by_policy, left_out = _played_all(own, suites)
        if len(suites) < 2 or not by_policy:
            continue
        head = {
            **dict(zip(SAME, key, strict=True)),
            "suites": tuple(sorted(suites)),
            "left_out": tuple(sorted(left_out)),
        }
        trials = min(map(attrgetter("trials"), own))
        for k in ks:
            fields = standing(by_policy, k) if k <= trials else {}
            if fields.get("rows"):
                out.append(OverallStanding(**head, **fields))
    return out


def _played_all(
    results: Sequence[EpisodeResult], suites: set[str]
) -> tuple[dict[str, list[EpisodeResult]], list[str]]:
    """Results of the policies that played every suite, and who did not."""
    played = {}
    left_out = []
    for policy, own in results_by_policy(results).items():
        if set(map(attrgetter("suite"), own)) == suites:
            played[policy] = own
        else:
            left_out.append(policy)
    return played, left_out


def _by_target(
    by_policy: Mapping[str, Sequence[EpisodeResult]], k: int
) -> np.ndarray:
    """Regret [policies, targets, seeds], the mean over tasks that share a target; NaN
    where somebody did not play.
    """
    played = []
    for own in by_policy.values():
        played.append({(r.task_id, r.seed): r.target for r in own})
    common = set.intersection(*map(set, played))
    at_target = _places({played[0][key] for key in common})
    at_seed = _places({seed for _, seed in common})
    total = np.zeros((len(by_policy), len(at_target), len(at_seed)))
    count = np.zeros_like(total)
    for p, own in enumerate(by_policy.values()):
        for r in own:
            if (r.task_id, r.seed) in common:
                at = p, at_target[r.target], at_seed[r.seed]
                total[at] += r.regret[k - 1]
                count[at] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _places(values: set[Any]) -> dict[Any, int]:
    """The place of each value in their order."""
    return {value: i for i, value in enumerate(sorted(values))}


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks along the first axis, 1 is the lowest, ties share their mean; NaN where a
    score is NaN.
    """
    below = np.sum(scores[None] < scores[:, None], axis=1)
    equal = np.sum(scores[None] == scores[:, None], axis=1)
    return np.where(np.isnan(scores), np.nan, below + (equal + 1) / 2)


def _cliques(
    policies: Sequence[str], ranks: np.ndarray, cd: float | None
) -> tuple[tuple[str, ...], ...]:
    """Longest runs of at least two policies, sorted by rank, whose ends are no further
    apart than cd.
    """
    if cd is None:
        return ()
    # Mean ranks are sums of halves: a gap of exactly cd must not hang on rounding.
    ends = np.searchsorted(ranks, ranks + cd + 1e-9, side="right").tolist()
    cliques = []
    for i, end in enumerate(ends):
        if end - i > 1 and (i == 0 or end > ends[i - 1]):
            cliques.append(tuple(policies[i:end]))
    return tuple(cliques)
