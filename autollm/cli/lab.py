"""`autollm lab`: train the lab's real small experiments, see what is recorded, pack it, check it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from autollm.cli.options import Home, Json

app = typer.Typer(help="The lab: real small experiments on this machine.", no_args_is_help=True)
Family = Annotated[str, typer.Argument(help="Lab family.")]


@app.command()
def run(family: Family = "pretraining",
        level: Annotated[str | None, typer.Option(help="Only this level of the ladder.")] = None,
        jobs: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = os.cpu_count() or 1,
        budget_s: Annotated[float | None, typer.Option(help="Start nothing new after so many seconds.")] = None,
        out: Annotated[Path | None, typer.Option(help="Folder of the raw logs; default <home>/lab/<family>.")] = None,
        home: Home = None) -> None:
    """Train what is not recorded yet; resumable at any time. `autollm ingest` lands the logs."""
    from autollm.lab.runner import run_family

    folder = out or _folder(home, family)
    done = run_family(family, folder, level, budget_s, jobs)
    print(f"{done.trained} runs trained, {done.skipped} recorded before, {done.left} left, {done.seconds:.0f} s: {folder}")


@app.command()
def status(home: Home = None, as_json: Json = False) -> None:
    """How many runs of each family are recorded, embedded and here."""
    counts = family_counts(home)
    if as_json:
        print(json.dumps({"families": counts}))
        return
    for name, c in counts.items():
        print(f"{name}: {c['runs']} runs recorded ({c['embedded']} embedded, {c['here']} here) of {c['declared']} declared; "
              f"{c['finished']} finished, {c['diverged']} diverged, {c['failed']} failed")


@app.command()
def summary(family: Family = "pretraining", as_json: Json = False) -> None:
    """What the embedded runs say of each level: best cell, median - min, and the noise of a cell's mean as a part of it."""
    from dataclasses import asdict

    from autollm.lab.archive import archive_path, read_runs
    from autollm.lab.spec import load_family
    from autollm.lab.summary import summarize

    levels = summarize(load_family(family), read_runs(archive_path(family)).values())
    if as_json:
        print(json.dumps([{**asdict(s), "noise_share": s.noise_share} for s in levels]))
        return
    print("level split       params   tokens    FLOPs  cells runs diverged  best (log2 rate, batch)  median-min  noise")
    for s in levels:
        noise = "-" if s.noise is None else f"{s.noise:.4f} ({100 * s.noise_share:.0f} %)"
        best = f"{s.best.rate_log2:g}, {s.best.batch_log2}{' edge' if s.edge else ''}"
        print(f"{s.level:5} {s.split:10} {s.params:7.0f} {s.tokens:8} {s.flops:8.1e} {s.n_cells:6} {s.n_runs:4} {s.n_diverged:8}  "
              f"{best:24} {s.spread:11.3f}  {noise}")


@app.command()
def verify(family: Family = "pretraining",
           sample: Annotated[int, typer.Option(min=1, help="Recorded runs to train again.")] = 5,
           max_seconds: Annotated[float, typer.Option(help="Time for all of them.")] = 120.0,
           seed: Annotated[int, typer.Option(help="Which runs are drawn.")] = 0,
           home: Home = None, as_json: Json = False) -> None:
    """Train recorded runs again and compare, within the stated noise; exit code 1 when one disagrees."""
    from autollm.lab.verify import verify as train_again
    from autollm.places import resolve

    compared = train_again(family, sample, max_seconds, resolve(home).prepare().lab, seed=seed)
    if as_json:
        print(json.dumps([{**vars(c), "agrees": c.agrees} for c in compared]))
    else:
        for c in compared:
            print(f"{'agrees   ' if c.agrees else 'DISAGREES'} {c.run_id}: recorded {c.recorded:.4f}, again {c.again:.4f}, "
                  f"tolerance {c.tolerance:.4f}")
    if not all(c.agrees for c in compared):
        raise typer.Exit(1)


@app.command()
def pack(family: Family = "pretraining", home: Home = None) -> None:
    """Write the archive that ships with the project from the logs in <home>/lab/<family>."""
    from autollm.lab.archive import pack as write

    print(write(family, _folder(home, family)))


def family_counts(home: str | None) -> dict[str, dict[str, Any]]:
    """Per family: runs (embedded and here, each once), embedded, here, declared, finished, diverged, failed."""
    from autollm.lab.archive import archive_path, read_runs
    from autollm.lab.spec import FAMILIES
    from autollm.records import RunEnd, parse_record

    out = {}
    for name, family in FAMILIES.items():
        archive = archive_path(name)
        ends = {run_id: records[-1] for run_id, records in read_runs(archive).items()} if archive.exists() else {}
        paths = sorted(_folder(home, name).glob("*.jsonl"))
        here = {p.stem: parse_record(p.read_text().splitlines()[-1]) for p in paths}
        statuses = [e.status if isinstance(e, RunEnd) else "failed" for e in (ends | here).values()]
        out[name] = {"runs": len(statuses), "embedded": len(ends), "here": len(here),
                     "declared": sum(len(family.runs(level)) for level in family.levels),
                     **{s: statuses.count(s) for s in ("finished", "diverged", "failed")}}
    return out


def _folder(home: str | None, family: str) -> Path:
    from autollm.lab.spec import load_family
    from autollm.places import resolve

    return resolve(home).lab / load_family(family).name
