"""Judged episodes, grouped and laid out as arrays for means and intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from autollm.evaluation.protocol import EpisodeResult

T = TypeVar("T")


def having(entries: Iterable[T], **values: Any) -> list[T]:
    """Entries whose fields of these names have these values."""
    found = []
    for entry in entries:
        if all(getattr(entry, n) == value for n, value in values.items()):
            found.append(entry)
    return found


def results_by_policy(
    results: Sequence[EpisodeResult],
) -> dict[str, list[EpisodeResult]]:
    """Results of each policy; policies in the order of their first result."""
    out: dict[str, list[EpisodeResult]] = {}
    for result in results:
        out.setdefault(result.player, []).append(result)
    return out


def score_matrix(
    results: Sequence[EpisodeResult], field: str, k: int | None = None
) -> np.ndarray:
    """A field (its k-th entry) as float64 [tasks, seeds], both sorted; NaN where an
    episode is missing.
    """
    tasks = sorted({r.task_id for r in results})
    seeds = sorted({r.seed for r in results})
    out = np.full((len(tasks), len(seeds)), np.nan)
    for r in results:
        value = getattr(r, field)
        at = tasks.index(r.task_id), seeds.index(r.seed)
        out[at] = value if k is None else value[k - 1]
    return out


def mean_score(
    results: Sequence[EpisodeResult], field: str, k: int | None = None
) -> float:
    """Mean of a field (of its k-th entry) over seeds, then over tasks."""
    by_task = np.nanmean(score_matrix(results, field, k), axis=1)
    return float(np.nanmean(by_task))


def total(results: Sequence[EpisodeResult], field: str) -> int:
    """Sum of a count over all results."""
    return sum(getattr(result, field) for result in results)
