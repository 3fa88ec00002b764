"""`autollm clean`: delete old snapshots and checkpoints that nothing cites."""

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
    """Delete old snapshots and checkpoints; never what a champion, a current agent or a
    report cites.
    """
    from autollm.core.places import resolve
    from autollm.stages.cleaning import clean as delete
    from autollm.stages.cleaning import removable

    places = resolve(home)
    found = removable(places, keep) if dry_run else delete(places, keep)
    if as_json:
        print(json.dumps([vars(item) for item in found]))
        return
    for item in found:
        print(
            f"{'would remove' if dry_run else 'removed'} {item.kind} {item.name} "
            f"({item.n_bytes / 1e6:.1f} MB)"
        )
    print(
        f"{len(found)} removed, {sum(i.n_bytes for i in found) / 1e6:.1f} MB"
        if not dry_run
        else f"{len(found)} removable"
    )
