"""Recorded runs as the commands of `autollm lab` find them: in the archives that ship,
in the home, in a folder of logs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def family_counts(home: str | None) -> dict[str, dict[str, Any]]:
    """Per family: runs (embedded and here, each once), embedded, here, declared,
    finished, diverged, failed.
    """
    from autollm.core.records import RunEnd
    from autollm.lab.archive import archives, read_runs
    from autollm.lab.families import FAMILIES
    from autollm.lab.runner import declared, read_log

    out = {}
    for name, family in FAMILIES.items():
        embedded = {}
        for archive in archives(name):
            for run_id, records in read_runs(archive).items():
                embedded[run_id] = records[-1]
        counts = {}
        for path in sorted(folder_of(home, name).glob("*.jsonl")):
            counts[path.stem] = read_log(path)[-1]
        statuses = []
        for end in (embedded | counts).values():
            is_ended = isinstance(end, RunEnd)
            statuses.append(end.status if is_ended else "failed")
        out[name] = {
            "runs": len(statuses),
            "embedded": len(embedded),
            "here": len(counts),
            "declared": declared(family),
            "finished": statuses.count("finished"),
            "diverged": statuses.count("diverged"),
            "failed": statuses.count("failed"),
        }
    return out


def runs_of(family: str, here: Path | None) -> dict[str, Any]:
    """Records by run_id of a folder of logs, or of the ladder's archive; without sealed
    levels.
    """
    from autollm.lab.archive import read_runs, shipped
    from autollm.lab.families import load_family
    from autollm.lab.quality import level_name_of
    from autollm.lab.spec import FRESH

    if here is None:
        return read_runs(shipped(family))
    known = load_family(family)
    sealed = {level.name for level in known.sweep_levels(FRESH)}
    runs = {}
    for run_id, records in logs_in(here).items():
        if level_name_of(known, records) not in sealed:
            runs[run_id] = records
    return runs


def logs_in(folder: Path) -> dict[str, Any]:
    """Records by run_id of every log in a folder.

    Raises:
        SetupError: there is none. RecordError: one is damaged.
    """
    from autollm.core.errors import SetupError
    from autollm.lab.runner import read_log

    logs = {}
    for path in sorted(folder.glob("*.jsonl")):
        logs[path.stem] = read_log(path)
    if not logs:
        raise SetupError(
            f"{folder} holds no log of a run (*.jsonl). Fix: autollm lab run, or name "
            "another folder."
        )
    return logs


def chosen_runs(
    family: str,
    recorded: dict[str, Any],
    named: Sequence[str],
    levels: Sequence[str],
    sample: int,
    seed: int,
) -> list[str]:
    """Ids of the runs that are named and of those of the levels; where neither is said,
    a sample of all.

    Raises:
        UnknownNameError: a run that is not recorded, or no such level. SetupError: no
            run of the levels is recorded.
    """
    from autollm.core.errors import SetupError, UnknownNameError
    from autollm.lab.families import load_family
    from autollm.lab.summary import runs_by_level

    chosen = list(named)
    known = load_family(family)
    by_level = runs_by_level(known, recorded.values()) if levels else {}
    for name in levels:
        runs = by_level.get(known.level(name).name, [])
        chosen += sorted(header.run_id for header, _ in runs)
    chosen = list(dict.fromkeys(chosen))
    if levels and not chosen:
        raise SetupError(
            f"no run of {', '.join(levels)} is recorded here. Fix: autollm lab run "
            f"{family} --level {levels[0]}, or name another level."
        )
    if not chosen:
        n = min(sample, len(recorded))
        chosen = sorted(random.Random(seed).sample(sorted(recorded), n))
    for run_id in chosen:
        if run_id not in recorded:
            raise UnknownNameError("run", run_id, recorded)
    return chosen


def folder_of(home: str | None, family: str) -> Path:
    """Where the logs of a family lie in a home."""
    from autollm.core.places import resolve
    from autollm.lab.families import load_family

    return resolve(home).lab / load_family(family).name
