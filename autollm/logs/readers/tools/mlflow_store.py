"""MLflow's tracking stores: the file store (`mlruns/`), read as files, and any address
that MLflow's own client opens (a server, a SQL database, a managed service), fetched run
by run into a folder that is then read. SQLite files need neither: see sqlite_stores.

    <folder>/runs.jsonl                the head, then a run a line
    <folder>/histories/<run>.jsonl     the head, then a point a line

Invariant: a history that is there is whole; fetching again asks only for runs that have
changed since.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autollm.core.errors import RecordError, SourceError
from autollm.core.extras import naming_extra
from autollm.logs.readers.cells import Cells, Row, number, whole_number
from autollm.logs.readers.documents import parse_yaml
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.tools.fetched import (
    RUNS,
    FetchedReader,
    Job,
    fetch_histories,
    shown_address,
    write_runs,
)
from autollm.logs.readers.tools.mlflow_runs import (
    ROLES,
    MlflowRun,
    add_mlflow_point,
    add_mlflow_runs,
    note_deleted,
    stored_value,
    take_text,
    told_run,
)
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation

_EXPERIMENT = re.compile(r"(?P<experiment>\d+)/meta\.yaml")
_RUN_FILE = re.compile(
    r"(?P<experiment>\d+)/(?P<run>[0-9a-f]{32})/"
    r"(?P<kind>meta\.yaml|params|tags|metrics)(/(?P<name>.+))?"
)
_STATUSES = ("", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
"""By the number that a run's meta.yaml holds."""
_MAX_VALUE_BYTES = 2**20
"""Of one parameter or tag; MLflow allows 8,000 characters."""
_PAGE = 1_000


class MlflowFolderReader:
    """A file store, `mlruns/`."""

    format = "mlflow"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        claimed = list(filter(_RUN_FILE.fullmatch, listing))
        experiments = filter(_EXPERIMENT.fullmatch, listing)
        return (*experiments, *claimed) if claimed else ()

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        builder = RelationBuilder(self.format, "run_id", ROLES)
        experiments: dict[str, str] = {}
        runs: dict[str, MlflowRun] = {}
        deleted: set[str] = set()
        files = sorted(opened.files.items(), key=_begins)
        for path, file in files:
            whole = _EXPERIMENT.fullmatch(path)
            if whole:
                meta = builder.document(file, parse_yaml)
                experiments[whole["experiment"]] = str(meta.get("name") or "")
            found = _RUN_FILE.fullmatch(path)
            if found is None or found["run"] in deleted:
                continue
            run_id = found["run"]
            if found["kind"] == "meta.yaml":
                meta = builder.document(file, parse_yaml)
                if meta.get("lifecycle_stage") == "deleted":
                    deleted.add(run_id)
                elif meta:
                    experiment = experiments.get(found["experiment"], "")
                    runs[run_id] = told_run(run_id, experiment, _named(meta))
            elif run_id not in runs:
                builder.note(f"{path}: its run has no meta.yaml: left out")
            elif found["kind"] == "metrics":
                _take_metric(builder, runs[run_id], found["name"], file)
            else:
                text = builder.document(file, _text, _MAX_VALUE_BYTES) or ""
                take_text(runs[run_id], found["kind"], found["name"], text)
        note_deleted(builder, len(deleted))
        add_mlflow_runs(builder, runs.values(), opened.name)
        return [builder.relation()]


def _begins(entry: tuple[str, OpenedFile]) -> tuple[int, bool, str]:
    """Experiments come before their runs, and what a run is before its values."""
    path = entry[0]
    return min(path.count("/"), 2), not path.endswith("/meta.yaml"), path


def _named(meta: Row) -> Cells:
    """A run's file with its status as a word; `name` is the run's id, too."""
    status = meta.get("status")
    if isinstance(status, int):
        status = dict(enumerate(_STATUSES)).get(status)
    return {**meta, "status": status, "name": None}


def _text(data: bytes, name: str) -> str:
    return data.decode("utf-8", "backslashreplace").strip()


def _take_metric(
    builder: RelationBuilder, run: MlflowRun, name: str, opened: OpenedFile
) -> None:
    """A line a point: milliseconds since 1970, value, step."""
    for line_number, line in builder.lines(opened):
        with builder.setting_aside(line_number, line, opened.name):
            try:
                at_ms, logged, *steps = map(float, line.split())
                (step,) = steps or [0.0]
            except ValueError:
                reason = "expected a clock, a value and a step"
                raise RecordError(reason) from None
            value = stored_value(logged) or 0.0
            add_mlflow_point(
                builder, run, name, value, whole_number(step), at_ms
            )


class MlflowFetchedReader(FetchedReader):
    """What `fetch_mlflow` wrote."""

    format = "mlflow-api"
    tool = "mlflow"
    roles = ROLES

    def run_of(
        self, builder: RelationBuilder, record: Cells, line: int
    ) -> tuple[str, MlflowRun]:
        """See `FetchedReader`; what has another type than it should is left out."""
        said = {name: record.get(name) for name in ("name", "status")}
        said["user_id"] = record.get("user")
        said["start_time"] = record.get("start_ms")
        said["end_time"] = record.get("end_ms")
        run_id = str(record.get("run_id"))
        run = told_run(run_id, str(record.get("experiment") or ""), said)
        for name in ("params", "tags", "metrics"):
            values = record.get(name)
            if isinstance(values, dict):
                getattr(run, name).update(values)
        for name, value in list(run.metrics.items()):
            as_logged = stored_value(value)
            if as_logged is None:
                del run.metrics[name]
            else:
                run.metrics[name] = as_logged
        return run_id, run

    def take(
        self,
        builder: RelationBuilder,
        run: MlflowRun,
        record: Cells,
        line: int,
    ) -> None:
        """See `FetchedReader`."""
        value = stored_value(record.get("value"))
        if value is None:
            raise RecordError("no number")
        metric = str(record.get("metric"))
        step = whole_number(record.get("step"))
        at_ms = number(record.get("at_ms"))
        add_mlflow_point(builder, run, metric, value, step, at_ms)

    def finish(
        self, builder: RelationBuilder, runs: Sequence[MlflowRun]
    ) -> None:
        """See `FetchedReader`."""
        add_mlflow_runs(builder, runs, RUNS)


def fetch_mlflow(
    uri: str,
    folder: Path,
    experiments: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """All runs of a tracking store, into `folder`; gives it.

    Args:
        uri: Whatever MLflow takes as a tracking URI.
        experiments: Names; all active ones where none is given.
        say: Is told how far it is.

    Raises:
        SetupError: mlflow is not installed.
        SourceError: the store cannot be opened, or some histories could not be fetched.
    """
    shown = shown_address(uri)
    client, errors = _client(uri)
    try:
        found = client.search_experiments(max_results=_PAGE)
        names = {}
        for experiment in found:
            if not experiments or experiment.name in experiments:
                names[experiment.experiment_id] = experiment.name
        runs = _search_runs(client, names, say)
    except errors as error:
        said = shown_address(str(error))[:300]
        raise SourceError(
            f"mlflow:{shown} does not answer: {said}. Fix: check the address and "
            "MLFLOW_TRACKING_USERNAME, or read its SQLite file."
        ) from None
    write_runs(folder, "mlflow", shown, [vars(run) for run in runs])
    jobs = []
    for run in runs:
        mark = json.dumps([run.status, run.end_ms, sorted(run.metrics.items())])
        jobs.append(Job(run.run_id, mark, _history(client, run)))
    fetch_histories(folder, jobs, errors, say)
    return folder


def _client(uri: str) -> tuple[Any, tuple[type[Exception], ...]]:
    with naming_extra("reading an MLflow address"):
        import mlflow
        import requests
        import sqlalchemy.exc
        from mlflow.exceptions import MlflowException

    errors = (
        MlflowException,
        requests.RequestException,
        sqlalchemy.exc.SQLAlchemyError,
        OSError,
    )
    try:
        return mlflow.MlflowClient(tracking_uri=uri), errors
    except errors as error:
        raise SourceError(
            f"mlflow:{uri} cannot be opened: {str(error)[:300]}"
        ) from None


def _search_runs(
    client: Any, names: Mapping[str, str], say: Callable[[str], None]
) -> list[MlflowRun]:
    """The runs of these experiments, by id."""
    runs: list[MlflowRun] = []
    token = None
    while names:
        page = client.search_runs([*names], max_results=_PAGE, page_token=token)
        for entity in page:
            info = dict(entity.info)
            run_id = info["run_id"]
            run = told_run(run_id, names[info["experiment_id"]], info)
            run.params.update(entity.data.params)
            run.metrics.update(entity.data.metrics)
            run.tags.update(entity.data.tags)
            runs.append(run)
        say(f"mlflow: {len(runs)} runs")
        token = page.token
        if not token:
            break
    return runs


def _history(client: Any, run: MlflowRun) -> Callable[[], list[Cells]]:
    def fetch() -> list[Cells]:
        points = []
        for metric in sorted(run.metrics):
            for point in client.get_metric_history(run.run_id, metric):
                points.append(
                    {
                        "metric": metric,
                        "step": point.step,
                        "value": point.value,
                        "at_ms": point.timestamp,
                    }
                )
        return points

    return fetch
