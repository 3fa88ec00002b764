"""`autollm suites`: what can be evaluated."""

from __future__ import annotations

import json
from typing import Any

from autollm.cli.options import Home, Json


def suites(home: Home = None, as_json: Json = False) -> None:
    """List the suites, and which of them the published snapshot can play."""
    rows = suite_rows(home)
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        state = {True: "playable", False: "experiments missing", None: "no snapshot yet"}[row["playable"]]
        print(f"{row['suite_id']:28} {row['family']:14} {row['n_tasks']['test']:3} test tasks   {state}\n    {row['description']}")
    print("Each also as SUITE-masked: the same tasks without names and units.")


def suite_rows(home: str | None) -> list[dict[str, Any]]:
    """One dict a suite: suite_id, masked_id (its form without names and units), version, family, source, description, n_tasks by split,
    playable (None without a snapshot)."""
    from autollm.gym.snapshot import open_snapshot, published_id
    from autollm.gym.suites import MASKED, load_suite, suite_ids
    from autollm.places import resolve

    places = resolve(home)
    table = open_snapshot(places.home) if published_id(places.home) else None
    found = [load_suite(s) for s in suite_ids()]
    return [{"suite_id": s.suite_id, "masked_id": s.suite_id + MASKED, "version": s.version, "family": s.family, "source": s.source,
             "description": s.description,
             "n_tasks": {split: len(s.split(split)) for split in ("train", "validation", "test")},
             "playable": None if table is None else not s.missing(table)} for s in found]
