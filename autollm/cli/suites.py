"""`autollm suites`: what can be evaluated, and what a suite is made of."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from autollm.cli.options import Home, Json

app = typer.Typer(
    help="What can be evaluated, and what a suite is made of.",
    invoke_without_command=True,
)


@app.callback()
def suites(context: typer.Context, home: Home = None, as_json: Json = False) -> None:
    """List the suites, and which of them the published snapshot can play."""
    if context.invoked_subcommand:
        return
    rows = suite_rows(home)
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        state = {
            True: "playable",
            False: "experiments missing",
            None: "no snapshot yet",
        }[row["playable"]]
        print(
            f"{row['suite_id']:28} {row['family']:14} {row['n_tasks']['test']:3} test "
            f"tasks   {state}\n    {row['description']}"
        )
    print("Each also as SUITE-masked: the same tasks without names and units.")


@app.command()
def describe(
    suite: Annotated[str, typer.Argument(help="A suite's id (autollm suites).")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the page of a suite: size, compute, cost, noise, rank correlation between
    fidelities, bounds, licence.
    """
    from autollm.core.errors import SnapshotError
    from autollm.core.files import join, write_atomic
    from autollm.core.places import resolve
    from autollm.evaluation.suite_page import describe as describe_suite
    from autollm.evaluation.suite_page import render
    from autollm.gym.tables.snapshot import open_snapshot
    from autollm.gym.tasks.suites import load_suite

    places, found = resolve(home), load_suite(suite)
    table = open_snapshot(places.home)
    missing = found.missing(table)
    if missing:
        raise SnapshotError(
            f"snapshot {table.table_id} lacks {len(missing)} experiments of suite "
            f"{suite}, such as {missing[0]}. "
            f"Fix: ingest source {found.source} (autollm sources fetch, autollm "
            "ingest), then autollm run."
        )
    about = describe_suite(found, table, origin_of(found.source))
    if as_json:
        print(json.dumps(about))
        return
    url = join(places.reports, "suites", table.table_id, f"{suite}.html")
    write_atomic(url, render(about).encode())
    low, high = about["compute_flops"]
    print(
        f"{suite}: {about['n_experiments']} experiments, {about['n_outcomes']} "
        f"outcomes, {low:.2g} to {high:.2g} FLOPs a run\npage     {url}"
    )


def origin_of(source: str) -> dict[str, str] | None:
    """Licence and kind of rows of a public source; groups of one (`name/group`) share
    its entry. None for a source of the user's own.
    """
    from autollm.logs.sources import catalogue

    known = catalogue().get(source.split("/")[0])
    return (
        {
            name: getattr(known, name)
            for name in ("rows", "licence", "citation", "address")
        }
        if known
        else None
    )


def suite_rows(home: str | None) -> list[dict[str, Any]]:
    """One dict a suite: suite_id, masked_id (its form without names and units),
    version, family, source, description, n_tasks by split, playable (None without a
    snapshot).
    """
    from autollm.core.places import resolve
    from autollm.gym.tables.snapshot import open_snapshot, published_id
    from autollm.gym.tasks.suites import MASKED, load_suite, suite_ids

    places = resolve(home)
    table = open_snapshot(places.home) if published_id(places.home) else None
    found = [load_suite(s) for s in suite_ids()]
    return [
        {
            "suite_id": s.suite_id,
            "masked_id": s.suite_id + MASKED,
            "version": s.version,
            "family": s.family,
            "source": s.source,
            "description": s.description,
            "n_tasks": {
                split: len(s.split(split)) for split in ("train", "validation", "test")
            },
            "playable": None if table is None else not s.missing(table),
        }
        for s in found
    ]
