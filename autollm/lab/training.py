"""Train a stack of runs that share shape, batch and token count, and return their raw-log records.

What a run becomes depends on its own (configuration, seed) alone: seed fixes weights and data order. AdamW (0.9, 0.95), weight
decay 0.1, 5 % warm-up, cosine to a tenth, no clipping: high rates may diverge, and are recorded so.
What does not belong here: which runs to train (spec), where logs go (runner).
"""

from __future__ import annotations

import math
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import torch

from autollm.lab.corpus import VOCABULARY, Corpus
from autollm.lab.model import Shape, StackedDecoder
from autollm.lab.spec import CONTEXT, Run
from autollm.records import Record, RunEnd, RunHeader, RunStep

VALIDATION_SEQUENCES = 512
DIVERGED_ABOVE = math.log(VOCABULARY)
"""A final loss above that of a uniform guess counts as diverged, in nats per token."""
POINTS, POINTS_IN_FULL = 40, 200
"""Step records of a run; one run in twenty keeps the larger number."""


@dataclass(frozen=True)
class Curve:
    """Train losses [points, runs] at `steps` [points], wall seconds there, and how the stack ended."""

    steps: list[int]
    losses: np.ndarray
    wall_s: list[float]
    validation: np.ndarray
    timed_out: bool


def shape_of(run: Run) -> Shape:
    return Shape(run.level.width, run.level.layers, VOCABULARY, CONTEXT)


def train_stack(runs: list[Run], corpus: Corpus, max_seconds: float = math.inf) -> dict[str, list[Record]]:
    """Records of every run by run_id. All runs share level and batch size.

    A stack that outlives `max_seconds` is recorded as failed, with the reason.
    """
    device_name, started = platform.processor() or platform.machine(), datetime.now(UTC).isoformat(timespec="seconds")
    curve = _train(runs, corpus, max_seconds)
    return {run.run_id: _records(run, i, len(runs), curve, corpus, device_name, started) for i, run in enumerate(runs)}


def _train(runs: list[Run], corpus: Corpus, max_seconds: float) -> Curve:
    level, batch = runs[0].level, int(runs[0].cell.config["batch_tokens"])
    n_steps = level.tokens // batch
    model = StackedDecoder(shape_of(runs[0]), [r.seed for r in runs])
    optimizer = _optimizer(model)
    rates = [r.cell.config["learning_rate"] for r in runs]
    stream = torch.from_numpy(corpus.train.astype(np.int64))
    orders = {seed: _order(len(stream), level.tokens, seed) for seed in {r.seed for r in runs}}
    n_sequences = batch // CONTEXT
    every = max(1, n_steps // POINTS_IN_FULL)
    steps, losses, wall_s, start = [], [], [], time.perf_counter()
    running, since = torch.zeros(len(runs)), 0
    for step in range(n_steps):
        chosen = torch.stack([orders[r.seed][step * n_sequences : (step + 1) * n_sequences] for r in runs])
        loss = model.losses(*_batch(stream, chosen))
        model.grad.zero_()
        loss.sum().backward()
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * _schedule(step, n_steps)
        optimizer.step()
        running, since = running + loss.detach(), since + 1
        if (step + 1) % every == 0 or step + 1 == n_steps:
            steps.append(step + 1)
            losses.append((running / since).numpy())
            wall_s.append(time.perf_counter() - start)
            running, since = torch.zeros(len(runs)), 0
            if wall_s[-1] > max_seconds:
                return Curve(steps, np.array(losses), wall_s, np.full(len(runs), np.nan), True)
    return Curve(steps, np.array(losses), wall_s, _validate(model, corpus), False)


def _optimizer(model: StackedDecoder) -> torch.optim.AdamW:
    """One parameter group a run: a row of the flat buffer."""
    rows = [torch.nn.Parameter(model.flat[r]) for r in range(model.runs)]
    for r, row in enumerate(rows):
        row.grad = model.grad[r]
    return torch.optim.AdamW([{"params": [row]} for row in rows], lr=0.0, betas=(0.9, 0.95), weight_decay=0.1, fused=True)


def _order(n_tokens: int, budget_tokens: int, seed: int) -> torch.Tensor:
    """Starts of sequences in the order of a seed, without repetition."""
    generator = torch.Generator().manual_seed(1_000_003 + seed)
    return torch.randperm((n_tokens - 1) // CONTEXT, generator=generator)[: budget_tokens // CONTEXT] * CONTEXT


def _batch(stream: torch.Tensor, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and next tokens, int64 [runs, sequences * CONTEXT]. starts: [runs, sequences]."""
    positions = (starts[:, :, None] + torch.arange(CONTEXT)).reshape(len(starts), -1)
    return stream[positions], stream[positions + 1]


def _schedule(step: int, n_steps: int) -> float:
    warm = min(1.0, (step + 1) / max(1, n_steps // 20))
    return warm * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / n_steps)))


@torch.no_grad()
def _validate(model: StackedDecoder, corpus: Corpus) -> np.ndarray:
    """Loss on the fixed validation slice, float64 [runs]."""
    stream = torch.from_numpy(corpus.validation.astype(np.int64))
    starts = torch.arange(VALIDATION_SEQUENCES) * CONTEXT
    parts = [model.losses(*_batch(stream, part.expand(model.runs, -1))) for part in starts.split(16)]
    return torch.stack(parts).double().mean(dim=0).numpy()


def _records(run: Run, row: int, n_runs: int, curve: Curve, corpus: Corpus, device_name: str, started: str) -> list[Record]:
    """Header, steps, end of one run. Device hours are the stack's wall time divided by its number of runs."""
    shape, batch = shape_of(run), int(run.cell.config["batch_tokens"])
    header = RunHeader(
        run_id=run.run_id, source=f"lab-{run.family}", family=run.family, config=run.cell.config,
        fidelity={"params": float(shape.params), "tokens": float(run.level.tokens)}, seed=run.seed,
        model={"width": shape.width, "layers": shape.layers, "vocabulary": shape.vocabulary, "context": shape.context},
        data={"sha256": corpus.sha256}, hardware={"device": "cpu", "name": device_name, "count": 1},
        versions={name: version(name) for name in ("torch", "numpy", "tokenizers")}, created_at=started)
    keep = POINTS_IN_FULL if int(run.run_id[-4:], 16) % 20 == 0 else POINTS
    chosen = sorted({round(i) for i in np.linspace(0, len(curve.steps) - 1, min(keep, len(curve.steps)))})
    steps = [RunStep(curve.steps[i], {"train_loss": _digits(curve.losses[i, row])}, float(curve.steps[i] * batch),
                     round(curve.wall_s[i] / n_runs, 3)) for i in chosen]
    return [header, *steps, _end(run, row, n_runs, curve)]


def _end(run: Run, row: int, n_runs: int, curve: Curve) -> RunEnd:
    trained = curve.steps[-1] * int(run.cell.config["batch_tokens"])
    cost = {"flops": 6.0 * shape_of(run).params * trained, "device_hours": _digits(curve.wall_s[-1] / n_runs / 3600)}
    loss = float(curve.validation[row])
    if curve.timed_out:
        return RunEnd("failed", {}, cost, "time limit")
    final = {"val_loss": _digits(loss), "train_loss": _digits(curve.losses[-1, row])}
    if not math.isfinite(loss) or loss > DIVERGED_ABOVE:
        return RunEnd("diverged", final, cost, f"final loss above {DIVERGED_ABOVE:.3f} nats or not finite")
    return RunEnd("finished", final, cost)


def _digits(value: float) -> float:
    return float(f"{float(value):.6g}")
