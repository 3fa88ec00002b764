"""`autollm clean`: delete old snapshots and checkpoints that nothing cites, and judged
episodes that answer nothing any more.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from autollm.cli.options import Home, Json


def clean(
    keep: Annotated[
        int,
        typer.Option(
            min=0,
            help="Newest snapshots and checkpoints of each kind to keep in any case.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Delete old snapshots and checkpoints, never what a champion, a current agent or a
    report cites; and judged episodes of policies that play otherwise today.
    """
    from autollm.core.places import resolve
    from autollm.stages.cleaning import clean as delete
    from autollm.stages.cleaning import removable

    places = resolve(home)
    removed = removable(places, keep) if dry_run else delete(places, keep)
    if as_json:
        print(json.dumps([vars(item) for item in removed]))
        return
    verb = "would remove" if dry_run else "removed"
    total = 0
    for item in removed:
        megabytes = item.n_bytes / 1e6
        total += item.n_bytes
        print(f"{verb} {item.kind} {item.name} ({megabytes:.1f} MB)")
    ending = "removable" if dry_run else "removed"
    print(f"{len(removed)} {ending}, {total / 1e6:.1f} MB")
