"""Which run folders are one sweep: those below one folder, unless what varies in one of
the folders that hold them is not known of the runs in another.

    runs/lr-sweep/0 (lr, batch)   runs/lr-sweep-2/0 (lr, batch)   runs/ablation/0 (dropout)
    \\________________________ one ________________________/       \\____ another ____/

Invariant: every run folder is in one sweep; runs that lie side by side stay together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from autollm.core.errors import AutoLLMError
from autollm.logs.opening.run_folders import RunFolder
from autollm.logs.relation import Relation

LOOKED_AT = 6
"""Runs of a folder whose settings are looked at: what is swept varies among so many."""
Settings = dict[str, set[Any]]
"""The values of each setting."""
Read = Callable[[RunFolder], Iterable[Relation]]


def sweeps_of(
    folders: Sequence[RunFolder], read: Read
) -> list[list[RunFolder]]:
    """Run folders of one format, a list a sweep. `read`: what gives a run's relations."""
    by_parent: dict[str, list[RunFolder]] = {}
    for folder in folders:
        parent = folder.place.rpartition("/")[0]
        by_parent.setdefault(parent, []).append(folder)
    if len(by_parent) == 1:
        return [list(folders)]
    sweeps: list[tuple[list[RunFolder], Settings]] = []
    for runs in by_parent.values():
        here = _settings(runs, read)
        for mates, known in sweeps:
            if not _differ(known, here):
                mates += runs
                _add(known, here.items())
                break
        else:
            sweeps.append((list(runs), here))
    return [runs for runs, _ in sweeps]


def _settings(runs: Sequence[RunFolder], read: Read) -> Settings:
    found: Settings = {}
    step = max(1, len(runs) // LOOKED_AT)
    for run in runs[::step][:LOOKED_AT]:
        try:
            relations = list(read(run))
        except AutoLLMError:
            continue
        for relation in relations:
            for name, role in relation.roles.items():
                if role == "setting":
                    values = relation.runs[name].to_pylist()
                    _add(found, [(name, set(values))])
    return found


def _add(known: Settings, more: Iterable[tuple[str, set[Any]]]) -> None:
    for name, values in more:
        known.setdefault(name, set()).update(values - {None})


def _differ(some: Settings, others: Settings) -> bool:
    """Whether a setting that varies here is not known there."""
    for name in some.keys() ^ others.keys():
        if len(some.get(name, others.get(name, ()))) > 1:
            return True
    return False
