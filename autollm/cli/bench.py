"""`autollm bench`: how fast the gym and the landing are on this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from autollm.cli.options import Json

app = typer.Typer(
    no_args_is_help=True,
    help="Speeds on this machine, as ratios measured in one run.",
)
ROWS = {
    "scalar_vs_dict": "an unwrapped step with an integer action, a dict look-up = 1",
    "lookup_vector_vs_dict": "a bare look-up in a batch of 4,096, a dict look-up = 1",
    "step_vector_vs_dict": "an environment's step in a batch of 4,096, a dict look-up "
    "= 1",
    "scalar_vs_syne_tune": "an unwrapped step, a look-up in Syne Tune's tabular "
    "blackbox = 1",
    "open_s": "seconds to open a suite of a snapshot of a million outcomes",
    "open_mb": "MB that this takes beyond the imports",
    "thousand_envs_mb": "MB that a thousand environments on it add",
}


@app.callback()
def _group() -> None:
    """A group of its own."""


@app.command()
def gym(
    rounds: Annotated[
        int,
        typer.Option(
            min=1, help="Alternating rounds; the quickest of each counts."
        ),
    ] = 200,
    as_json: Json = False,
) -> None:
    """Measure the gym's look-ups, steps and the opening of a large snapshot."""
    from autollm.stages.gym_bench import measure_opening, measure_ratios

    ratios = {**measure_ratios(rounds), **measure_opening()}
    if as_json:
        print(json.dumps(ratios))
        return
    for name, meaning in ROWS.items():
        value = ratios[name]
        print(
            f"{name:22} {'null' if value is None else f'{value:.3g}':>8}   {meaning}"
        )


INGEST_ROWS = {
    "table_vs_duckdb": "landing a table, bare DuckDB to Parquet = 1",
    "table_processor_vs_duckdb": "the same in processor time",
    "history_vs_duckdb": "landing one long run log, bare DuckDB to Parquet = 1",
    "history_processor_vs_duckdb": "the same in processor time",
    "folder_s": "seconds to land a folder of small run logs",
    "folder_again_s": "seconds when it comes again",
    "peak_mb": "MB resident at most",
}


@app.command()
def ingest(
    rows: Annotated[
        int, typer.Option(min=1, help="Rows of the table.")
    ] = 200_000,
    history_mb: Annotated[
        int, typer.Option(min=1, help="MB of the run log.")
    ] = 50,
    logs: Annotated[int, typer.Option(min=1, help="Small run logs.")] = 500,
    as_json: Json = False,
) -> None:
    """Measure landing on files made for it: a table, a long history, a folder of logs."""
    from autollm.stages.ingest_bench import measure_ingest

    ratios = measure_ingest(rows, history_mb, logs)
    if as_json:
        print(json.dumps(ratios))
        return
    for name, meaning in INGEST_ROWS.items():
        print(f"{name:22} {ratios[name]:>8.3g}   {meaning}")
