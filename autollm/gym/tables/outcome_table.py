"""Fidelity-indexed outcome tables in memory: dense, read-only arrays, shared by every
task and environment.

Rows of one experiment lie side by side; experiment and row ids are dense integers.
`loss` is the objective turned so that lower is better, with non-finite outcomes at the
experiment's worst finite value. Secondary metrics stand beside it; those with a
direction may be a task's objective too, the others bound what is feasible.

Invariant: arrays are never written after construction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from autollm.core.errors import SnapshotError, UnknownNameError
from autollm.core.ids import Origin
from autollm.core.metrics import Metric
from autollm.core.records import canonical_json, content_hash
from autollm.core.spaces.space import Space


@dataclass(frozen=True)
class Experiment:
    """One fidelity point of one source. `z` is log2 of the fidelity coordinates, in the
    ladder's order. `signal`: the logged metric whose curves are recorded, None where
    there are none. `context`: settings that outcomes must share to be compared
    (parametrization, optimizer, tokenizer ...), as far as they are known. `group`: of
    the source, within which alone outcomes compare; empty where it has none.
    """

    experiment_id: str
    label: str
    source: str
    family: str
    fidelity: dict[str, float]
    compute_flops: float
    objective: str
    direction: str
    space: Space
    metrics: tuple[Metric, ...] = ()
    signal: Metric | None = None
    context: dict[str, str] = field(default_factory=dict)
    group: str = ""

    @property
    def origin(self) -> Origin:
        """What its outcomes may be compared within."""
        return Origin(self.source, self.group)

    @property
    def objectives(self) -> dict[str, str]:
        """Direction of everything that a task may optimize here, by name; its own
        objective first.
        """
        return {self.objective: self.direction} | {
            m.name: m.direction for m in self.metrics if m.direction
        }

    @cached_property
    def z(self) -> np.ndarray:
        return np.log2(np.array(list(self.fidelity.values()), dtype=float))


COLUMNS: dict[str, Any] = {
    "objective": np.float64,  # mean over replicas, the source's own unit
    "noise_sd": np.float64,  # of the mean; NaN where there is one replica
    "n_replicas": np.int32,
    "diverged": np.bool_,
    "cost_flops": np.float64,  # of one run
    "cost_device_hours": np.float64,  # of one run; NaN where the source does not say
    "latent": np.float64,  # smoothed loss that only the judge reads
}


@dataclass(frozen=True)
class OutcomeTable:
    """All experiments of a snapshot.

    Attributes:
        offsets: int64 [n_experiments + 1], rows of experiment e are
            offsets[e]:offsets[e + 1].
        columns: name -> array [n_rows], see COLUMNS.
        points: per experiment, float64 [n_rows_e, n_coordinates], natural units.
        metric_values, metric_latents: float64, a block [n_metrics_e, n_rows_e] per
            experiment, one after the other: values in the source's own unit (NaN: not
            reported), and the smoothed losses of those with a direction (NaN
            elsewhere).
        curve_offsets: int64 [n_rows + 1], points of row i's curve are
            curve_offsets[i]:curve_offsets[i + 1]; empty where no source has a signal.
        curve_points: float64 [n_points, 2], share of the run's steps and value of the
            signal, in the source's own unit.
        make_source: makes the outcome source of a draw, where outcomes come from elsewhere
            than these rows (a live gym); None: they do not.
    """

    table_id: str
    experiments: tuple[Experiment, ...]
    offsets: np.ndarray
    columns: dict[str, np.ndarray]
    points: tuple[np.ndarray, ...]
    metric_values: np.ndarray = field(default_factory=lambda: np.empty(0))
    metric_latents: np.ndarray = field(default_factory=lambda: np.empty(0))
    curve_offsets: np.ndarray = field(
        default_factory=lambda: np.empty(0, dtype=np.int64)
    )
    curve_points: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    make_source: Callable[[Any, OutcomeTable], Any] | None = None

    @cached_property
    def _index(self) -> dict[str, int]:
        return {e.experiment_id: i for i, e in enumerate(self.experiments)}

    def index(self, experiment_id: str) -> int:
        """Dense id of an experiment.

        Raises:
            UnknownNameError: not in this snapshot.
        """
        if experiment_id not in self._index:
            raise UnknownNameError("experiment", experiment_id, self._index)
        return self._index[experiment_id]

    def with_outcomes_from(
        self, make_source: Callable[[Any, OutcomeTable], Any]
    ) -> OutcomeTable:
        """The same experiments with outcomes from elsewhere: then it is `live`, and its
        scores never stand beside recorded ones.

        `make_source`: (draw, table) -> OutcomeSource.
        """
        return replace(self, make_source=make_source)

    @property
    def live(self) -> bool:
        """Whether outcomes come from elsewhere than these rows."""
        return self.make_source is not None

    def digest(self, experiment_ids: Iterable[str]) -> str:
        """16 hex digits over all that a play of these experiments can read: what they
        are, their rows, metrics and curves. In the order given.

        Raises:
            UnknownNameError: one is not in this table.
        """
        digests = [self._digest_of(self.index(e)) for e in experiment_ids]
        return content_hash("\n".join(digests))

    def __contains__(self, experiment_id: str) -> bool:
        return experiment_id in self._index

    def column(self, name: str, experiment: int) -> np.ndarray:
        """A column's view on one experiment, [n_rows_e]."""
        return self.columns[name][
            self.offsets[experiment] : self.offsets[experiment + 1]
        ]

    @cached_property
    def snappings(self) -> dict[int, Any]:
        """Nearest rows of the declared grid's points (snapping.py) by experiment, found
        once for all environments.
        """
        return {}

    def lookup(self, experiments: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Losses float64 [n] of rows (ids within their experiment's table) [n] of
        experiments (dense ids) [n]: one gather.

        Raises:
            IndexError: beyond the table's first or last row. A row beyond its own
                experiment is not noticed: ids come from this table.
        """
        return self.loss[self.offsets[experiments] + rows]

    @cached_property
    def loss(self) -> np.ndarray:
        """float64 [n_rows]: lower is better, always finite."""
        out = self.columns["objective"].copy()
        for e, experiment in enumerate(self.experiments):
            rows = slice(self.offsets[e], self.offsets[e + 1])
            out[rows] = oriented(out[rows], experiment.direction)
        out.setflags(write=False)
        return out

    def losses(self, experiment: int, objective: str = "") -> np.ndarray:
        """Losses of one experiment, [n_rows_e]: of its own objective, or of another one
        by name.

        Raises:
            UnknownNameError: it has no such objective. SnapshotError: a metric without
                a direction.
        """
        if self._is_own(experiment, objective):
            return self.loss[
                self.offsets[experiment] : self.offsets[experiment + 1]
            ]
        if (experiment, objective) not in self._metric_losses:
            loss = oriented(
                self.metric(experiment, objective),
                self._direction(experiment, objective),
            )
            loss.setflags(write=False)
            self._metric_losses[experiment, objective] = loss
        return self._metric_losses[experiment, objective]

    def latent(self, experiment: int, objective: str = "") -> np.ndarray:
        """Smoothed losses of one experiment, [n_rows_e], which only the judge reads.

        Raises:
            UnknownNameError: it has no such objective. SnapshotError: a metric without
                a direction.
        """
        if self._is_own(experiment, objective):
            return self.column("latent", experiment)
        self._direction(experiment, objective)
        return self._block(self.metric_latents, experiment, objective)

    def metric(self, experiment: int, name: str) -> np.ndarray:
        """Values of a metric, or of the experiment's own objective, in the source's
        unit, [n_rows_e]; NaN where it was not reported.

        Raises:
            UnknownNameError: the experiment has no such metric.
        """
        own = self.experiments[experiment].objective
        return (
            self.column("objective", experiment)
            if name == own
            else self._block(self.metric_values, experiment, name)
        )

    def curve(self, experiment: int, row: int) -> np.ndarray:
        """What the signal was while a row's run went on, float64 [n, 2]: share of the
        run's steps, ascending, and value as recorded. Empty where nothing was.
        """
        if not len(self.curve_offsets):
            return self.curve_points
        i = self.offsets[experiment] + row
        return self.curve_points[
            self.curve_offsets[i] : self.curve_offsets[i + 1]
        ]

    def _digest_of(self, experiment: int) -> str:
        """64 hex digits over one experiment, as it lies in memory."""
        if experiment not in self._digests:
            described = self.experiments[experiment]
            first = self.offsets[experiment]
            end = self.offsets[experiment + 1]
            digest = hashlib.sha256(_facts_of(described).encode())
            for name in sorted(self.columns):
                digest.update(
                    np.ascontiguousarray(self.columns[name][first:end]).data
                )
            digest.update(np.ascontiguousarray(self.points[experiment]).data)
            for metric in described.metrics:
                for values in (self.metric_values, self.metric_latents):
                    digest.update(
                        self._block(values, experiment, metric.name).data
                    )
            if len(self.curve_offsets):
                ends = self.curve_offsets[first : end + 1]
                digest.update(np.diff(ends).data)
                digest.update(self.curve_points[ends[0] : ends[-1]].data)
            self._digests[experiment] = digest.hexdigest()
        return self._digests[experiment]

    @cached_property
    def _digests(self) -> dict[int, str]:
        return {}

    @cached_property
    def _metric_losses(self) -> dict[tuple[int, str], np.ndarray]:
        return {}

    @cached_property
    def _metric_starts(self) -> np.ndarray:
        sizes = np.diff(self.offsets) * np.array(
            [len(e.metrics) for e in self.experiments], dtype=np.int64
        )
        return np.concatenate([[0], np.cumsum(sizes)])

    def _is_own(self, experiment: int, objective: str) -> bool:
        return objective in ("", self.experiments[experiment].objective)

    def _block(
        self, values: np.ndarray, experiment: int, name: str
    ) -> np.ndarray:
        names = [m.name for m in self.experiments[experiment].metrics]
        if name not in names:
            label = self.experiments[experiment].label
            raise UnknownNameError(
                f"metric of {label}",
                name,
                [self.experiments[experiment].objective, *names],
            )
        n = int(self.offsets[experiment + 1] - self.offsets[experiment])
        begin = int(self._metric_starts[experiment]) + names.index(name) * n
        return values[begin : begin + n]

    def _direction(self, experiment: int, objective: str) -> str:
        described = self.experiments[experiment]
        if objective not in described.objectives and objective in (
            m.name for m in described.metrics
        ):
            raise SnapshotError(
                f"metric {objective!r} of {described.label} has no direction, so it is no "
                "objective. Known objectives: "
                f"{', '.join(described.objectives)}. Fix: give it a direction in the "
                "source's mapping, and ingest again."
            )
        if objective not in described.objectives:
            raise UnknownNameError(
                f"objective of {described.label}",
                objective,
                described.objectives,
            )
        return described.objectives[objective]


def _facts_of(experiment: Experiment) -> str:
    """All of an experiment but its rows, as text."""
    facts = {f.name: getattr(experiment, f.name) for f in fields(experiment)}
    facts["space"] = experiment.space.to_json()
    facts["metrics"] = [[m.name, m.direction] for m in experiment.metrics]
    signal = experiment.signal
    facts["signal"] = [signal.name, signal.direction] if signal else None
    return canonical_json(facts, digits=None)


def oriented(objective: np.ndarray, direction: str) -> np.ndarray:
    """Objective [n] turned so that lower is better; a non-finite outcome counts as the
    worst finite one.
    """
    loss = np.where(
        np.isfinite(objective),
        objective if direction == "min" else -objective,
        np.nan,
    )
    worst = np.nanmax(loss) if np.isfinite(loss).any() else 0.0
    return np.where(np.isnan(loss), worst, loss)
