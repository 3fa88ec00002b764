"""The only importer of MLflow: runs of training and evaluation, the model registry.
SQLite store and local artifacts under the home.

A training has one run, found again by its identity and resumed after a crash.
Checkpoints are logged by reference and hash, never copied; curves are thinned. What
does not belong here: training, scores. Invariant: a run is RUNNING only while the
process that opened it holds its lock.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from autollm.core.errors import (
    CheckpointError,
    SetupError,
    SourceError,
    UnknownNameError,
)
from autollm.core.locks import hold, is_held
from autollm.core.places import Places, silence_telemetry
from autollm.core.records import flat
from autollm.core.redaction import redact

silence_telemetry()

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import (  # noqa: E402
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.utils.file_utils import local_file_uri_to_path  # noqa: E402

# below this it tells of every table that it makes
logging.getLogger("mlflow").setLevel(logging.WARNING)

EXPERIMENTS = ("training", "evaluation", "advice")
MODEL = "autollm-agent-{profile}"
IDENTITY = "autollm.identity"
LOCK = "autollm.lock"
"""Tags of a run: whose work it is, and the lock of the process that has it open."""
MAX_POINTS = 250
MAX_BATCH = 900
FLUSH_S = 5.0
MAX_PARAM = 500
STORE_WAIT_S = 120.0
SCHEME = "models:/"
ENDED = ("FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True)
class DataUsed:
    """A data set that went into a run: its name, content digest, and what is worth
    knowing.
    """

    name: str
    digest: str
    source: str
    facts: Mapping[str, Any]


class Tracker:
    """The store of one home.

    Raises:
        SetupError: the database is damaged, or a newer MLflow wrote it.
    """

    def __init__(self, places: Places):
        self.places = places.prepare()
        database = _made_store(places)
        _check_store(database)
        _follow(database, (places.mlflow / "artifacts").as_uri())
        self.uri = store_uri(database)
        self.client = MlflowClient(self.uri)

    def experiment(self, name: str) -> str:
        """Id of an experiment, made when missing."""
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        return self.client.create_experiment(
            name,
            artifact_location=(
                self.places.mlflow / "artifacts" / name
            ).as_uri(),
        )

    @contextmanager
    def run(
        self,
        experiment: str,
        identity: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        data: Sequence[DataUsed] = (),
        total_steps: int | None = None,
    ) -> Iterator[TrackedRun]:
        """The run of an identity: opened, or resumed when a process that had it died.
        FINISHED after the block, FAILED when it raises.

        Raises:
            BusyError: a living process has this very run open.
        """
        lock = self.places.locks / f"mlflow-{identity}.lock"
        with hold(lock, f"the run {name} ({identity})"):
            run = self._open(
                experiment, identity, name, {**tags, LOCK: lock.name}
            )
            self.client.log_batch(
                run.info.run_id,
                params=[
                    Param(k, str(v)[:MAX_PARAM])
                    for k, v in flat(params).items()
                ],
            )
            self.client.log_inputs(run.info.run_id, [_input(d) for d in data])
            tracked = TrackedRun(
                self.client,
                run.info.run_id,
                run.info.experiment_id,
                total_steps,
            )
            try:
                yield tracked
            except BaseException as error:
                tracked.flush()
                stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
                self.client.set_terminated(
                    run.info.run_id, "KILLED" if stopped else "FAILED"
                )
                raise
            tracked.flush()
            self.client.set_terminated(run.info.run_id, "FINISHED")

    def find(self, experiment: str, identity: str) -> Run | None:
        """The run of an identity, the newest one."""
        runs = self.client.search_runs(
            [self.experiment(experiment)],
            f"tags.`{IDENTITY}` = '{identity}'",
            max_results=1,
        )
        return runs[0] if runs else None

    def close_orphans(self) -> list[str]:
        """Mark runs as KILLED that are RUNNING without a process that holds them;
        returns their ids.
        """
        ids = list(map(self.experiment, EXPERIMENTS))
        running = self.client.search_runs(ids, "attributes.status = 'RUNNING'")
        orphans = [
            r
            for r in running
            if not is_held(self.places.locks / r.data.tags.get(LOCK, "no-lock"))
        ]
        for run in orphans:
            self.client.set_terminated(run.info.run_id, "KILLED")
        return [r.info.run_id for r in orphans]

    def register(
        self,
        profile: str,
        folder: Path,
        digest: str,
        run_id: str,
        card: str,
        tags: Mapping[str, str],
    ) -> str:
        """The version of a checkpoint in the registry, made once for each digest, as
        `candidate`; returns its number.
        """
        name = MODEL.format(profile=profile)
        self._registered_model(name)
        reference = folder.resolve().relative_to(self.places.local).as_posix()
        known = self.client.search_model_versions(
            f"name = '{name}' and tags.digest = '{digest}'"
        )
        if known:
            version = str(known[0].version)
        else:
            made = self.client.create_model_version(
                name,
                source=folder.resolve().as_uri(),
                run_id=run_id,
                description=card,
                tags={**tags, "digest": digest, "checkpoint": reference},
            )
            version = str(made.version)
        self.client.set_registered_model_alias(name, "candidate", version)
        self.client.update_registered_model(name, description=card)
        return version

    def promote(
        self, profile: str, version: str, why: Mapping[str, str]
    ) -> None:
        """Make a version the champion; `why` is kept as its tags."""
        name = MODEL.format(profile=profile)
        for key, value in why.items():
            self.client.set_model_version_tag(name, version, key, value)
        self.client.set_registered_model_alias(name, "champion", version)

    def resolve(self, reference: str) -> Registered:
        """The checkpoint behind `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

        Raises:
            UnknownNameError: no such model, alias or version. CheckpointError: its
                folder is gone, or the reference is malformed.
        """
        name, version = self._version_of(reference)
        folder = self.places.local / version.tags["checkpoint"]
        if not folder.exists():
            raise CheckpointError(
                f"{reference} is version {version.version} of {name}, but its "
                f"checkpoint {folder} is gone. "
                "Fix: train it again (autollm run)."
            )
        return Registered(
            name,
            str(version.version),
            folder,
            version.tags["digest"],
            dict(version.tags),
        )

    def cited(self) -> set[str]:
        """Checkpoints that some registry alias points to, relative to the home."""
        out = set()
        for model in self.client.search_registered_models():
            versions = {str(v) for v in model.aliases.values()}
            found = self.client.search_model_versions(f"name = '{model.name}'")
            out |= {
                v.tags["checkpoint"]
                for v in found
                if str(v.version) in versions and "checkpoint" in v.tags
            }
        return out

    def _registered_model(self, name: str) -> None:
        try:
            self.client.get_registered_model(name)
        except MlflowException:
            self.client.create_registered_model(name)

    def _version_of(self, reference: str) -> tuple[str, Any]:
        rest = reference.removeprefix(SCHEME)
        name, _, alias = rest.partition("@")
        if not reference.startswith(SCHEME) or not name:
            raise CheckpointError(
                f"{reference!r} names no model. Expected models:/NAME@champion, "
                "models:/NAME@candidate or models:/NAME/VERSION."
            )
        models = {m.name: m for m in self.client.search_registered_models()}
        base, _, number = name.partition("/")
        if base not in models:
            raise UnknownNameError("registered model", base, models)
        if not alias and not number:
            alias = "champion"
        if alias and alias not in models[base].aliases:
            raise UnknownNameError(
                f"alias of {base}", alias, models[base].aliases
            )
        try:
            return base, self.client.get_model_version(
                base, str(models[base].aliases[alias]) if alias else number
            )
        except MlflowException:
            known = [
                str(v.version)
                for v in self.client.search_model_versions(f"name = '{base}'")
            ]
            raise UnknownNameError(
                f"version of {base}", number, known
            ) from None

    def _open(
        self, experiment: str, identity: str, name: str, tags: Mapping[str, str]
    ) -> Run:
        found = self.find(experiment, identity)
        if found is None:
            found = self.client.create_run(
                self.experiment(experiment),
                run_name=name,
                tags={**tags, IDENTITY: identity, "mlflow.user": ""},
            )
        else:
            self.client.update_run(found.info.run_id, status="RUNNING")
            self.client.log_batch(
                found.info.run_id, tags=[RunTag(k, v) for k, v in tags.items()]
            )
        return found


@dataclass(frozen=True)
class Registered:
    """A registered checkpoint: the folder it lies in, its content digest, the version's
    tags.
    """

    name: str
    version: str
    folder: Path
    digest: str
    tags: dict[str, str]


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
        _log_metrics(self.client, self.run_id, self._waiting)
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
        found = self.client.get_experiment_by_name(experiment)
        self.experiment_id = (
            found.experiment_id
            if found
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
        _log_metrics(self.client, run_id, metrics)
        self.client.set_terminated(
            run_id, "FAILED" if failed else "FINISHED", int(1000 * ended_s)
        )
        return run_id


ANSWER_S = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""A sensor's tick has a minute; MLflow's own patience is seven tries of two minutes."""


def ended_since(
    uri: str, since_ms: int, experiment: str = ""
) -> dict[str, int]:
    """Runs of any tracking store that ended at `since_ms` or later: id -> end, in ms
    since 1970. `experiment`: its name; empty: all of them.

    Raises:
        SourceError: the store does not answer, or has no such experiment.
    """
    for name, value in ANSWER_S.items():
        os.environ.setdefault(name, value)
    client = MlflowClient(uri)
    try:
        names = {e.name: e.experiment_id for e in client.search_experiments()}
        if experiment and experiment not in names:
            known = ", ".join(sorted(names)) or "none"
            raise SourceError(
                f"{redact(uri)} has no experiment {experiment!r}. It has: {known}."
            )
        wanted = [names[experiment]] if experiment else list(names.values())
        return _ended(client, wanted, since_ms)
    except (MlflowException, OSError) as error:
        raise SourceError(
            f"{redact(uri)} does not answer: {redact(str(error))[:200]}"
        ) from None


def _ended(
    client: MlflowClient, experiments: list[str], since_ms: int
) -> dict[str, int]:
    found: dict[str, int] = {}
    token = None
    while True:
        page = client.search_runs(
            experiments,
            f"attributes.end_time >= {since_ms}",
            max_results=MAX_BATCH,
            page_token=token,
        )
        for run in page:
            if run.info.status in ENDED and run.info.end_time:
                found[run.info.run_id] = run.info.end_time
        token = page.token
        if not token:
            return found


def _log_metrics(
    client: MlflowClient, run_id: str, metrics: Sequence[Metric]
) -> None:
    """In parts that a store takes at once."""
    for begin in range(0, len(metrics), MAX_BATCH):
        client.log_batch(run_id, metrics=metrics[begin : begin + MAX_BATCH])


def _made_store(places: Places) -> Path:
    """The database, made beside its place and moved into it: MLflow cannot open one
    whose making was cut off.
    """
    path = places.mlflow / "mlflow.db"
    if path.exists() and path.stat().st_size:
        return path
    with hold(
        places.locks / "mlflow-store.lock", "the MLflow store", STORE_WAIT_S
    ):
        if not path.exists() or not path.stat().st_size:
            for left in path.parent.glob("mlflow.db.new*"):
                left.unlink()
            making = path.with_name("mlflow.db.new")
            MlflowClient(store_uri(making)).search_experiments(max_results=1)
            making.replace(path)
    return path


def _check_store(database: Path) -> None:
    """That the database is whole; a few milliseconds.

    Raises:
        SetupError: it is not.
    """
    try:
        with closing(sqlite3.connect(database, timeout=STORE_WAIT_S)) as store:
            (found,) = store.execute("pragma quick_check(1)").fetchone()
            store.execute("select count(*) from experiments").fetchone()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise SetupError(
            f"{database} is damaged: {found}. Fix: move it away. The next autollm run "
            "makes an empty one; trained and judged work stays done, its curves are "
            "in the old file."
        )


def _follow(database: Path, artifacts: str) -> None:
    """Turn artifact addresses of a home that was moved to `artifacts`, its address now:
    MLflow stores them whole.
    """
    marker = "/mlflow/artifacts/"
    with (
        closing(sqlite3.connect(database, timeout=STORE_WAIT_S)) as store,
        store,
    ):
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
        ):
            store.execute(
                f"update {table} set {column} = ? || "
                f"substr({column}, instr({column}, ?) + ?) "
                f"where instr({column}, ?) > 0 and instr({column}, ?) <> 1",
                (artifacts, marker, len(marker) - 1, marker, f"{artifacts}/"),
            )


def store_uri(database: Path) -> str:
    """The address of a SQLite store; SQLAlchemy takes `?` and `%` for its own marks."""
    return f"sqlite:///{quote(str(database))}"


def _input(data: DataUsed) -> DatasetInput:
    import json

    dataset = Dataset(
        name=data.name,
        digest=data.digest,
        source_type="local",
        source=json.dumps({"uri": data.source}),
        profile=json.dumps(dict(data.facts)),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
