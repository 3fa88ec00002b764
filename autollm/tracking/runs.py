"""What goes into a run of MLflow: data sets, numbers, tables, checkpoints by reference."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.utils.file_utils import local_file_uri_to_path

from autollm.tracking.store import store_uri

MAX_POINTS = 250
"""Most points of a curve: more than a screen shows."""
MAX_BATCH = 900
"""Metrics in one call: MLflow's REST stores take a thousand."""
FLUSH_S = 5.0


@dataclass(frozen=True)
class DataUsed:
    """A data set that went into a run: its name, content digest, and what is worth
    knowing.
    """

    name: str
    digest: str
    source: str
    facts: Mapping[str, Any]


class TrackedRun:
    """An open run. `log` takes a training's numbers, one value a metric and step: what
    an interrupted process logged already is left out.
    """

    def __init__(
        self,
        client: MlflowClient,
        run_id: str,
        experiment_id: str,
        total_steps: int | None = None,
    ):
        self.client = client
        self.run_id = run_id
        self.experiment_id = experiment_id
        self._every = max(1, -(-(total_steps or 0) // MAX_POINTS))
        self._waiting: list[Metric] = []
        self._flushed_s = time.monotonic()
        self._logged = self._last_steps()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log numbers of a step (every n-th one of a long curve)."""
        if step % self._every and step > 1:
            return
        now = int(time.time() * 1000)
        new = {
            k: float(v)
            for k, v in metrics.items()
            if step > self._logged.get(k, -1)
        }
        self._waiting += [Metric(k, v, now, step) for k, v in new.items()]
        self._logged |= dict.fromkeys(new, step)
        if time.monotonic() - self._flushed_s > FLUSH_S:
            self.flush()

    def final(self, metrics: Mapping[str, float]) -> None:
        """Log numbers that belong to no step; set once."""
        now = int(time.time() * 1000)
        self._waiting += [
            Metric(k, float(v), now, 0)
            for k, v in metrics.items()
            if k not in self._logged
        ]

    def tag(self, **tags: str) -> None:
        for key, value in tags.items():
            self.client.set_tag(self.run_id, key, value)

    def table(self, rows: Sequence[Mapping[str, Any]], file: str) -> None:
        """Rows as a table artifact, in place of what an interrupted process left there:
        MLflow would append to it.
        """
        columns: dict[str, list[Any]] = {name: [] for name in rows[0]}
        for row in rows:
            for name, column in columns.items():
                column.append(row[name])
        folder = self.client.get_run(self.run_id).info.artifact_uri
        left = Path(local_file_uri_to_path(folder)) / file
        left.unlink(missing_ok=True)
        self.client.log_table(self.run_id, columns, file)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a small file to the run."""
        self.client.log_artifact(self.run_id, str(path), folder)

    def text(self, content: str, file: str) -> None:
        self.client.log_text(self.run_id, content, file)

    def json(self, value: Mapping[str, Any], file: str) -> None:
        self.client.log_dict(self.run_id, dict(value), file)

    def checkpoint(self, folder: Path, digest: str) -> None:
        """Log a checkpoint by reference and hash, with the sha256 of each of its files."""
        files = {
            p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.iterdir())
            if p.is_file()
        }
        self.client.log_dict(
            self.run_id,
            {"folder": str(folder), "digest": digest, "sha256": files},
            "checkpoint.json",
        )
        self.tag(checkpoint=str(folder), checkpoint_digest=digest)

    def flush(self) -> None:
        _log_in_parts(self.client, self.run_id, self._waiting)
        self._waiting = []
        self._flushed_s = time.monotonic()

    def _last_steps(self) -> dict[str, int]:
        last = {}
        for name in self.client.get_run(self.run_id).data.metrics:
            history = self.client.get_metric_history(self.run_id, name)
            last[name] = max(metric.step for metric in history)
        return last


class RunWriter:
    """Writes finished runs of elsewhere into one experiment of a store of their own."""

    def __init__(self, database: Path, experiment: str):
        self.client = MlflowClient(store_uri(database))
        known = self.client.get_experiment_by_name(experiment)
        self.experiment_id = (
            known.experiment_id
            if known
            else self.client.create_experiment(experiment)
        )

    def write(
        self,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        points: Sequence[tuple[int, float, Mapping[str, float]]],
        started_s: float,
        ended_s: float,
        *,
        failed: bool,
    ) -> str:
        """Write one run; returns its id. `points`: step, seconds since 1970, values by
        metric.
        """
        run_id = self.client.create_run(
            self.experiment_id, int(1000 * started_s), dict(tags), name
        ).info.run_id
        self.client.log_batch(
            run_id, params=[Param(k, str(v)) for k, v in params.items()]
        )
        metrics = [
            Metric(k, v, int(1000 * at_s), step)
            for step, at_s, values in points
            for k, v in values.items()
        ]
        _log_in_parts(self.client, run_id, metrics)
        self.client.set_terminated(
            run_id, "FAILED" if failed else "FINISHED", int(1000 * ended_s)
        )
        return run_id


def _log_in_parts(
    client: MlflowClient, run_id: str, metrics: Sequence[Metric]
) -> None:
    """In parts that a store takes at once."""
    for begin in range(0, len(metrics), MAX_BATCH):
        client.log_batch(run_id, metrics=metrics[begin : begin + MAX_BATCH])


def dataset_input(data: DataUsed) -> DatasetInput:
    dataset = Dataset(
        name=data.name,
        digest=data.digest,
        source_type="local",
        source=json.dumps({"uri": data.source}),
        profile=json.dumps(dict(data.facts)),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
