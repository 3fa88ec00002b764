"""`autollm lab`: train the lab's real small experiments, see what is recorded, pack it,
check it.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Annotated

import typer

from autollm.cli.lab_runs import (
    chosen_runs,
    family_counts,
    folder_of,
    logs_in,
    runs_of,
)
from autollm.cli.options import Home, Json, split

app = typer.Typer(
    help="The lab: real small experiments on this machine.",
    no_args_is_help=True,
)
Family = Annotated[str, typer.Argument(help="Lab family.")]
Sweep = Annotated[
    str,
    typer.Option(
        help="ladder, far (validation) or fresh (sealed test levels)."
    ),
]
NUMBERS = ("recorded", "again", "difference", "tolerance")
LOGS_HERE_HELP = "A folder of logs instead of the embedded runs."
LEVEL_HELP = "Only this level, of the ladder or beside it; default the ladder."
LOGS_HELP = "Folder of the raw logs; default <home>/lab/<family>."


@app.command()
def run(
    family: Family = "pretraining",
    level: Annotated[str | None, typer.Option(help=LEVEL_HELP)] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Start nothing new after this time: 2h, 30m, 600s."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            help="Go on where logs are recorded already, or refuse to."
        ),
    ] = True,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processes of one thread each; with slurm, jobs in the queue.",
        ),
    ] = os.cpu_count() or 1,
    launcher: Annotated[
        str,
        typer.Option(help="local (processes here) or slurm (one job a stack)."),
    ] = "local",
    out: Annotated[Path | None, typer.Option(help=LOGS_HELP)] = None,
    home: Home = None,
) -> None:
    """Train what is not recorded yet; resumable at any time. `autollm ingest` lands the
    logs.
    """
    from autollm.lab.launchers import load_launcher
    from autollm.lab.runner import run_family

    folder = out or folder_of(home, family)
    if not resume and any(folder.glob("*.jsonl")):
        raise typer.BadParameter(
            f"{folder} holds logs. Fix: --resume goes on with them, --out takes "
            "another folder"
        )
    started = load_launcher(launcher, jobs, folder.parent / "slurm")
    done = run_family(
        family,
        folder,
        level,
        seconds(budget) if budget is not None else None,
        launcher=started,
    )
    print(
        f"{done.trained} runs trained, {done.skipped} recorded before, {done.left} "
        f"left, {done.seconds:.0f} s: {folder}"
    )


@app.command()
def pilot(
    family: Family,
    levels: Annotated[str, typer.Option(help="Levels, separated by commas.")],
    cells: Annotated[
        int, typer.Option(min=4, help="Cells of each level.")
    ] = 12,
    budget: Annotated[
        str | None, typer.Option(help="Start nothing new after this time.")
    ] = None,
    home: Home = None,
) -> None:
    """Train a few cells of some levels in one process and say what they show;
    resumable.
    """
    from autollm.lab.pilot import run_pilot

    folder = folder_of(home, family).with_name(f"pilot-{family}")
    left = run_pilot(
        family,
        split(levels),
        cells,
        folder,
        seconds(budget) if budget is not None else None,
    )
    summary(family, here=folder)
    print(f"{left} runs left: {folder}")


def seconds(text: str) -> float:
    """Seconds of a duration such as 2h, 30m, 600s or 600."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    number, unit = (
        (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    )
    try:
        duration_s = float(number) * unit
    except ValueError:
        duration_s = math.nan
    if not duration_s > 0:
        raise typer.BadParameter(
            f"duration {text!r}: expected a positive number and h, m or s, such as 2h "
            "or 30m"
        )
    return duration_s


@app.command()
def status(home: Home = None, as_json: Json = False) -> None:
    """How many runs of each family are recorded, embedded and here."""
    counts = family_counts(home)
    if as_json:
        print(json.dumps({"families": counts}))
        return
    for name, c in counts.items():
        print(
            f"{name}: {c['runs']} runs recorded ({c['embedded']} embedded, {c['here']} "
            f"here) of {c['declared']} declared; "
            f"{c['finished']} finished, {c['diverged']} diverged, {c['failed']} failed"
        )


@app.command()
def summary(
    family: Family = "pretraining",
    here: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help=LOGS_HERE_HELP),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="Another metric with a direction instead of the family's objective."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """What runs say of each level: best cell, median - min, the noise of a cell's mean
    as a part of it, rank correlations.
    """
    from autollm.lab.families import load_family
    from autollm.lab.summary import lines, rank_correlations, summarize

    known = load_family(family)
    runs = runs_of(family, here)
    levels = summarize(known, runs.values(), objective)
    if as_json:
        print(json.dumps([level.described for level in levels]))
        return
    correlations = rank_correlations(known, runs.values(), objective)
    print("\n".join(lines(known, levels, correlations)))


@app.command()
def page(
    family: Family = "pretraining",
    here: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help=LOGS_HERE_HELP),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the page of a family: ladder, optimum over scale, rank correlation between
    levels, noise, landscapes.
    """
    from autollm.core.files import join, write_atomic
    from autollm.core.places import resolve
    from autollm.lab.families import load_family
    from autollm.stages.lab_page import describe, render

    known, runs = load_family(family), runs_of(family, here)
    if as_json:
        print(json.dumps(describe(known, runs)))
        return
    url = join(resolve(home).reports, "lab", f"{family}.html")
    write_atomic(url, render(known, runs).encode())
    print(f"{family}: {len(runs)} runs\npage     {url}")


@app.command()
def verify(
    family: Family = "pretraining",
    sample: Annotated[
        int, typer.Option(min=1, help="Recorded runs to train again.")
    ] = 5,
    max_seconds: Annotated[
        float, typer.Option(help="Time for all of them.")
    ] = 120.0,
    seed: Annotated[int, typer.Option(help="Which runs are drawn.")] = 0,
    sweep: Sweep = "ladder",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Train recorded runs again and compare, within the stated noise; exit code 1 when
    one disagrees. Of sealed runs it says the difference alone.
    """
    from autollm.core.places import resolve
    from autollm.lab.archive import shipped
    from autollm.lab.spec import FRESH
    from autollm.lab.verify import verify as train_again

    cache, archive = resolve(home).prepare().lab, shipped(family, sweep=sweep)
    compared = train_again(family, sample, max_seconds, cache, archive, seed)
    hidden = {"recorded", "again"} if sweep == FRESH else set()
    rows = []
    for c in compared:
        shown = c.described.items()
        rows.append(
            {name: value for name, value in shown if name not in hidden}
        )
    if as_json:
        print(json.dumps(rows))
    else:
        for row in rows:
            values = [
                f"{name} {_shown(row[name])}" for name in row if name in NUMBERS
            ]
            verdict = "agrees   " if row["agrees"] else "DISAGREES"
            print(f"{verdict} {row['run_id']}: {', '.join(values)}")
    if not all(c.agrees for c in compared):
        raise typer.Exit(1)


def _shown(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"


@app.command()
def pack(
    family: Family = "pretraining",
    sweep: Sweep = "ladder",
    here: Annotated[Path | None, typer.Option(help=LOGS_HELP)] = None,
    home: Home = None,
) -> None:
    """Write an archive that ships with the project from the logs in
    <home>/lab/<family>.
    """
    from autollm.lab.archive import pack as write

    print(write(family, here or folder_of(home, family), sweep=sweep))


@app.command()
def quality(
    family: Annotated[
        str, typer.Argument(help="Lab family; all of them by default.")
    ] = "",
    sweep: Annotated[
        str, typer.Option(help="far or fresh; both by default.")
    ] = "",
    here: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help=LOGS_HERE_HELP),
    ] = None,
    as_json: Json = False,
) -> None:
    """Whether far and fresh levels can judge: noise, cells, diverged runs, optimum in the window.

    Nothing else is said of them: fresh levels are sealed.
    """
    from dataclasses import asdict

    from autollm.core.errors import UnknownNameError
    from autollm.lab.archive import archive_path, read_runs
    from autollm.lab.families import FAMILIES, load_family
    from autollm.lab.quality import qualities, shown
    from autollm.lab.spec import FAR, FRESH

    if sweep not in ("", FAR, FRESH):
        raise UnknownNameError("sweep", sweep, (FAR, FRESH))
    found = []
    for known in [load_family(family)] if family else FAMILIES.values():
        for one in [sweep] if sweep else (FAR, FRESH):
            archive = archive_path(known.name, sweep=one)
            if here is not None:
                found += qualities(known, one, logs_in(here).values())
            elif archive.exists():
                found += qualities(known, one, read_runs(archive).values())
    rows = [{**asdict(q), "fits": q.fits} for q in found]
    print(json.dumps(rows) if as_json else shown(found))


@app.command()
def export(
    family: Family = "pretraining",
    tools: Annotated[
        str,
        typer.Option(
            "--as",
            help="trainer-state, mlflow, tensorboard, wandb, csv, with commas.",
        ),
    ] = "trainer-state,mlflow",
    run: Annotated[
        str, typer.Option(help="Run ids, with commas, instead of a sample.")
    ] = "",
    level: Annotated[
        str, typer.Option(help="All runs of these levels, with commas.")
    ] = "",
    sample: Annotated[
        int, typer.Option(min=1, help="Runs drawn at random.")
    ] = 3,
    seed: Annotated[int, typer.Option(help="Which runs are drawn.")] = 0,
    here: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help=LOGS_HERE_HELP),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder; default <home>/lab/exports/<family>."),
    ] = None,
    home: Home = None,
) -> None:
    """Write recorded runs as other tools log them, through each tool's own package
    (extra `exports`).
    """
    from autollm.lab.exports import export as write

    if not split(tools):
        raise typer.BadParameter("--as names no tool, such as csv")
    recorded = runs_of(family, here)
    chosen = chosen_runs(
        family, recorded, split(run), split(level), sample, seed
    )
    folder = out or folder_of(home, family).parent / "exports" / family
    records = [recorded[run_id] for run_id in chosen]
    for written in write(records, split(tools), folder):
        print(f"{len(chosen)} runs: {written}")
