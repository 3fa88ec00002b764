"""A trained run as a raw log: header, step records thinned to what the contract allows,
end. Imports no torch.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from autollm.core.records import Record, RunEnd, RunHeader, RunStep
from autollm.lab.spec import Family, Run

POINTS, POINTS_IN_FULL = 40, 200
"""Step records of a run; one run in twenty keeps the larger number."""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def header(
    family: Family,
    run: Run,
    *,
    model: Mapping[str, Any],
    sha256: str,
    packages: Sequence[str],
    started: str,
) -> RunHeader:
    """The header of a run; `sha256` names its data, `packages` what its numbers depend
    on.

    It names the clock of its device hours unless that is the wall's.
    """
    clock = {} if run.level.clock == "wall" else {"clock": run.level.clock}
    return RunHeader(
        run_id=run.run_id,
        source=f"lab-{run.family}",
        family=run.family,
        config=run.config,
        fidelity=family.fidelity(run.level),
        seed=run.seed,
        model=dict(model),
        data={"sha256": sha256},
        hardware={"device": "cpu", "name": cpu_name(), "count": 1, **clock},
        versions={name: version(name) for name in packages},
        created_at=started,
    )


@cache
def cpu_name() -> str:
    """The processor's model where the system tells it, its architecture otherwise: runs
    agree to the last digit on equal ones only.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [
        line.partition(":")[2].strip()
        for line in lines
        if line.startswith("model name")
    ]
    return models[0] if models else platform.processor() or platform.machine()


def thinned(run: Run, steps: Sequence[RunStep]) -> list[RunStep]:
    """At most POINTS of the steps, first and last among them; POINTS_IN_FULL for one
    run in twenty.
    """
    keep = POINTS_IN_FULL if int(run.run_id[-4:], 16) % 20 == 0 else POINTS
    spread = np.linspace(0, len(steps) - 1, min(keep, len(steps)))
    chosen = sorted({round(i) for i in spread})
    return [steps[i] for i in chosen]


def end(
    final: Mapping[str, float],
    cost: Mapping[str, float],
    *,
    timed_out: bool,
    diverged: str = "",
) -> RunEnd:
    """How a run ended; `diverged` is the reason why it counts as that."""
    cost = {**cost, "device_hours": digits(cost["device_hours"])}
    if timed_out:
        return RunEnd("failed", {}, cost, "time limit")
    rounded = {name: digits(value) for name, value in final.items()}
    return (
        RunEnd("diverged", rounded, cost, diverged)
        if diverged
        else RunEnd("finished", rounded, cost)
    )


def loss_diverged(loss: float, limit: float) -> str:
    """Why a final loss counts as diverged; empty where it does not."""
    return (
        ""
        if math.isfinite(loss) and loss <= limit
        else f"final loss above {limit:.3f} nats or not finite"
    )


def digits(value: float) -> float:
    """Rounded to six significant digits."""
    return float(f"{float(value):.6g}")


def language_model_logs(
    family: Family,
    runs: Sequence[Run],
    curve: Any,
    finals: Sequence[Mapping[str, float]],
    *,
    models: Sequence[Mapping[str, Any]],
    sha256: str,
    started: str,
    batch_tokens: int,
    flops_a_token: float,
    limit: float,
    judged_loss: str = "",
) -> dict[str, list[Record]]:
    """Records by run_id of the runs of a stack, see `header` and `language_model_log`.
    `finals` and `models`: what each run ended with, and what it trained.
    """
    out = {}
    for row, run in enumerate(runs):
        head = header(
            family,
            run,
            model=models[row],
            sha256=sha256,
            packages=("torch", "numpy", "tokenizers"),
            started=started,
        )
        out[run.run_id] = language_model_log(
            family,
            run,
            row,
            curve,
            n_runs=len(runs),
            batch_tokens=batch_tokens,
            final=finals[row],
            flops_a_token=flops_a_token,
            head=head,
            limit=limit,
            judged_loss=judged_loss,
        )
    return out


def language_model_log(
    family: Family,
    run: Run,
    row: int,
    curve: Any,
    *,
    n_runs: int,
    batch_tokens: int,
    final: Mapping[str, float],
    flops_a_token: float,
    head: RunHeader,
    limit: float,
    judged_loss: str = "",
) -> list[Record]:
    """Records of one run of a stack; `curve` as stack.fit gives it. Device hours are
    the stack's time by its level's clock, divided by its runs.

    `judged_loss`: the name of the final loss by which a run counts as diverged (above
    `limit`); empty for the objective.
    """
    steps = [
        RunStep(
            step,
            {"train_loss": digits(curve.losses[i, row])},
            float(step * batch_tokens),
            round(curve.wall_s[i] / n_runs, 3),
        )
        for i, step in enumerate(curve.steps)
    ]
    spent_s = (
        curve.wall_s[-1] if run.level.clock == "wall" else curve.processor_s
    )
    flops = flops_a_token * curve.steps[-1] * batch_tokens
    cost = {"flops": flops, "device_hours": spent_s / n_runs / 3600}
    full = {**final, "train_loss": curve.losses[-1, row]}
    diverged = (
        ""
        if curve.timed_out
        else loss_diverged(
            float(full[judged_loss or family.objective.name]), limit
        )
    )
    return [
        head,
        *thinned(run, steps),
        end(full, cost, timed_out=curve.timed_out, diverged=diverged),
    ]
