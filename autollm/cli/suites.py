"""`autollm suites`: what can be evaluated, and what a suite is made of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autollm.cli.options import Home, Json

if TYPE_CHECKING:
    from autollm.gym.tables.outcome_table import OutcomeTable
    from autollm.gym.tasks.suites import Suite

app = typer.Typer(
    help="What can be evaluated, and what a suite is made of.",
    invoke_without_command=True,
)


@app.callback()
def suites(
    context: typer.Context, home: Home = None, as_json: Json = False
) -> None:
    """List the suites, and which of them the published snapshot can play."""
    if context.invoked_subcommand:
        return
    rows, problems = suite_rows(home)
    for problem in problems:
        typer.echo(f"left out: {problem}", err=True)
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        state = {
            True: "playable",
            False: "experiments missing",
            None: "no snapshot yet",
        }[row["playable"]]
        state += ", sealed" if row["sealed"] else ""
        whose = "" if row["origin"] == "autollm" else f", of {row['origin']}"
        print(
            f"{row['suite_id']:28} {row['family']:14} {row['n_tasks']['test']:3} test "
            f"tasks   {state}{whose}\n    {row['description']}"
        )
    print("Each also as SUITE-masked: the same tasks without names and units.")


@app.command()
def describe(
    suite: Annotated[
        str, typer.Argument(help="A suite's id (autollm suites).")
    ],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the page of a suite: size, compute, cost, noise, rank correlation between
    fidelities, bounds, licence. A sealed one has none: its page would tell of its
    outcomes.
    """
    from autollm.core.errors import SnapshotError
    from autollm.core.files import join, write_atomic
    from autollm.core.places import resolve
    from autollm.evaluation.suite_page import describe as describe_suite
    from autollm.evaluation.suite_page import render
    from autollm.gym.tables.snapshot import open_snapshot
    from autollm.gym.tasks.suites import load_suite

    places = resolve(home)
    load_suite(suite, home=places.home).opened(
        ""
    )  # what is wrong is said first
    table = open_snapshot(places.home)
    loaded = load_suite(suite, table, places.home)
    missing = loaded.missing(table)
    if missing:
        raise SnapshotError(
            f"snapshot {table.table_id} lacks {len(missing)} experiments of suite "
            f"{suite}, such as {missing[0]}. "
            f"Fix: ingest source {loaded.source} (autollm sources fetch, autollm "
            "ingest), then autollm run."
        )
    about = describe_suite(loaded, table, origin_of(loaded.source))
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


@app.command()
def make(
    source: Annotated[str, typer.Argument(help="A source that has landed.")],
    gap: Annotated[
        float,
        typer.Option(
            min=1.0, help="Evidence is at least this many times cheaper."
        ),
    ] = 2.0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write a suite of your own into the home: the most expensive runs of a source, to
    be found from its cheaper ones.
    """
    from autollm.core.places import resolve
    from autollm.gym.tables.snapshot import open_snapshot
    from autollm.gym.tasks.suite_making import make_suite
    from autollm.gym.tasks.suites import load_suite

    places = resolve(home)
    table = open_snapshot(places.home)
    suite_id, url = make_suite(table, source, places.home, gap)
    suite = load_suite(suite_id, table, places.home)
    n_tasks = {s: len(suite.split(s)) for s in ("train", "validation", "test")}
    if as_json:
        print(
            json.dumps({"suite_id": suite_id, "file": url, "n_tasks": n_tasks})
        )
        return
    counts = ", ".join(f"{n} {split}" for split, n in n_tasks.items())
    print(f"{url}: {counts} tasks. Next: autollm evaluate --suite {suite_id}")
    print("Its test targets are held out from now on: no agent trains on them.")


def origin_of(source: str) -> dict[str, str] | None:
    """Licence and kind of rows of a public source. None for a source of the user's own."""
    from autollm.logs.sources import catalogue

    known = catalogue().get(source)
    if known is None:
        return None
    names = ("rows", "licence", "citation", "address")
    return {name: getattr(known, name) for name in names}


def suite_rows(home: str | None) -> tuple[list[dict[str, Any]], list[str]]:
    """One dict a suite: suite_id, masked_id (its form without names and units), origin
    (autollm, home, or a package), version, family, source, description, n_tasks by
    split, playable (None without a snapshot), sealed. And what cannot be read, each
    with its remedy.
    """
    from autollm.core.errors import SuiteError
    from autollm.core.places import resolve
    from autollm.gym.tables.snapshot import open_snapshot, published_id
    from autollm.gym.tasks.suite_files import broken_plugins, suite_files
    from autollm.gym.tasks.suites import load_suite

    places = resolve(home)
    table = open_snapshot(places.home) if published_id(places.home) else None
    rows, problems = [], broken_plugins()
    for suite_id, file in suite_files(places.home).items():
        try:
            suite = load_suite(suite_id, table, places.home)
        except SuiteError as error:
            problems.append(str(error))
            continue
        rows.append(row_of(suite, file.origin, table))
    return rows, problems


def row_of(
    suite: Suite, origin: str, table: OutcomeTable | None
) -> dict[str, Any]:
    """See `suite_rows`."""
    from autollm.gym.tasks.suites import MASKED

    splits = ("train", "validation", "test")
    return {
        "suite_id": suite.suite_id,
        "masked_id": suite.suite_id + MASKED,
        "origin": origin,
        "version": suite.version,
        "family": suite.family,
        "source": suite.source,
        "description": suite.description,
        "n_tasks": {split: len(suite.split(split)) for split in splits},
        "playable": None if table is None else not suite.missing(table),
        "sealed": suite.sealed,
    }
