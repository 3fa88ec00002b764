"""`autollm doctor`: what is missing or unusual on this machine, each with its remedy."""

from __future__ import annotations

import dataclasses
import json

import typer

from autollm.cli.options import Home, Json

MARKS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


def doctor(home: Home = None, as_json: Json = False) -> None:
    """Say what is missing or unusual, with remedies; exit code 1 when something stops
    the default run.
    """
    from autollm.core.places import resolve
    from autollm.stages.health import examine

    findings = examine(resolve(home))
    if as_json:
        print(json.dumps([dataclasses.asdict(f) for f in findings]))
    else:
        for f in findings:
            print(
                f"{MARKS[f.state]} {f.what}: {f.found}"
                + (f"\n        fix: {f.remedy}" if f.remedy else "")
            )
    if any(f.state == "problem" for f in findings):
        raise typer.Exit(1)
