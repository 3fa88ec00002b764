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
from autollm.logs.readers.documents import parse_object, parse_yaml
from autollm.logs.readers.fetched import (
    FETCHED_SCHEMA,
    Job,
    fetch_histories,
    history_path,
    shown_address,
    write_lines,
)
from autollm.logs.readers.mlflow_runs import (
    MlflowRun,
    add_mlflow_point,
    add_mlflow_runs,
    new_builder,
    stored_value,
)
from autollm.logs.readers.rows import (
    RelationBuilder,
    count_lines,
    number,
    read_whole,
    whole_number,
)
from autollm.logs.reading import iter_lines
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation

_EXPERIMENT = re.compile(r"(\d+)/meta\.yaml")
_RUN_FILE = re.compile(
    r"\d+/([0-9a-f]{32})/(meta\.yaml|params/.+|tags/.+|metrics/.+)"
)
_STATUSES = {
    1: "RUNNING",
    2: "SCHEDULED",
    3: "FINISHED",
    4: "FAILED",
    5: "KILLED",
}
_MAX_VALUE_BYTES = (
    2**20
)  # of one parameter or tag; MLflow allows 8,000 characters
_PAGE = 1_000


class MlflowFolderReader:
    """A file store, `mlruns/`."""

    format = "mlflow"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        claimed = [p for p in listing if _RUN_FILE.fullmatch(p)]
        if not claimed:
            return ()
        return (*[p for p in listing if _EXPERIMENT.fullmatch(p)], *claimed)

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        builder = new_builder()
        experiments: dict[str, str] = {}
        runs: dict[str, MlflowRun] = {}
        deleted: set[str] = set()
        for path, file in sorted(opened.files.items()):
            if _EXPERIMENT.fullmatch(path):
                name = _meta(builder, file).get("name")
                experiments[path.split("/")[0]] = str(name or "")
        for path, file in sorted(opened.files.items()):
            found = _RUN_FILE.fullmatch(path)
            if found is None or found[2] != "meta.yaml":
                continue
            meta = _meta(builder, file)
            if meta.get("lifecycle_stage") == "deleted":
                deleted.add(found[1])
            elif meta:
                experiment = experiments.get(path.split("/")[0], "")
                runs[found[1]] = _run(found[1], experiment, meta)
        for path, file in sorted(opened.files.items()):
            found = _RUN_FILE.fullmatch(path)
            if found is None or found[2] == "meta.yaml" or found[1] in deleted:
                continue
            run = runs.get(found[1])
            if run is None:
                builder.note(f"{path}: its run has no meta.yaml: left out")
                continue
            kind, _, name = found[2].partition("/")
            _take_file(builder, run, kind, name, file)
        if deleted:
            builder.note(f"{len(deleted)} deleted runs are left out")
        add_mlflow_runs(builder, runs.values(), opened.name)
        return [builder.relation()]


def _meta(builder: RelationBuilder, opened: OpenedFile) -> dict[str, Any]:
    data = read_whole(opened)
    n_lines = count_lines(data)
    builder.n_lines += n_lines
    try:
        return parse_yaml(data, opened.name)
    except RecordError as error:
        builder.add_bad(
            min(1, n_lines), str(error), data[:2000], n_lines, opened.name
        )
        return {}


def _run(run_id: str, experiment: str, meta: Mapping[str, Any]) -> MlflowRun:
    status = meta.get("status")
    word = (
        _STATUSES.get(status, "")
        if isinstance(status, int)
        else str(status or "")
    )
    return MlflowRun(
        run_id,
        str(meta.get("run_name") or ""),
        experiment,
        str(meta.get("user_id") or ""),
        word,
        number(meta.get("start_time")),
        number(meta.get("end_time")),
    )


def _take_file(
    builder: RelationBuilder,
    run: MlflowRun,
    kind: str,
    name: str,
    opened: OpenedFile,
) -> None:
    if kind == "metrics":
        _take_metric(builder, run, name, opened)
        return
    data = read_whole(opened, _MAX_VALUE_BYTES)
    builder.n_lines += count_lines(data)
    values = run.params if kind == "params" else run.tags
    values[name] = data.decode("utf-8", "backslashreplace").strip()
    if (kind, name) == ("tags", "mlflow.runName"):
        run.name = str(values[name])


def _take_metric(
    builder: RelationBuilder, run: MlflowRun, name: str, opened: OpenedFile
) -> None:
    """A line a point: milliseconds since 1970, value, step."""
    last: tuple[float, float] | None = None
    with opened.open() as stream:
        for line_number, line in enumerate(iter_lines(stream), start=1):
            builder.n_lines += 1
            parts = line.decode("utf-8", "replace").split()
            point = _metric_point(parts)
            if point is None:
                reason = "expected a clock, a value and a step"
                builder.add_bad(line_number, reason, line, file=opened.name)
                continue
            at_ms, value, step = point
            add_mlflow_point(builder, run, name, value, step, at_ms)
            order = (float(step or 0), at_ms)
            if last is None or order >= last:
                last = order
                run.metrics[name] = value


def _metric_point(
    parts: Sequence[str],
) -> tuple[float, float, int | None] | None:
    if len(parts) not in (2, 3):
        return None
    try:
        value = stored_value(float(parts[1]))
        step = whole_number(float(parts[2])) if len(parts) == 3 else 0
        at_ms = float(parts[0])
    except ValueError:
        return None
    return None if value is None else (at_ms, value, step)


class MlflowFetchedReader:
    """What `fetch_mlflow` wrote."""

    format = "mlflow-api"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        if "runs.jsonl" not in listing or "mlflow.fetched" not in listing:
            return ()
        histories = [
            p for p in listing if re.fullmatch(r"histories/[^/]+\.jsonl", p)
        ]
        return ("runs.jsonl", *histories)

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        builder = new_builder(self.format)
        runs: dict[str, MlflowRun] = {}
        for _, record in records_of(builder, opened.files["runs.jsonl"]):
            run = _fetched_run(record)
            runs[history_path("", run.run_id)] = run
        for path, file in sorted(opened.files.items()):
            run = runs.get(path)
            if run is None:
                continue
            for line, record in records_of(builder, file):
                value = stored_value(record.get("value"))
                if value is None:
                    builder.add_bad(line, "no number", str(record), file=path)
                    continue
                step = whole_number(record.get("step"))
                metric = str(record.get("metric"))
                at_ms = number(record.get("at_ms"))
                add_mlflow_point(builder, run, metric, value, step, at_ms)
        add_mlflow_runs(builder, runs.values(), "runs.jsonl")
        return [builder.relation()]


def _fetched_run(record: Mapping[str, Any]) -> MlflowRun:
    """A line of runs.jsonl; what has another type than it should is left out."""
    run = MlflowRun(
        str(record.get("run_id")),
        str(record.get("name") or ""),
        str(record.get("experiment") or ""),
        str(record.get("user") or ""),
        str(record.get("status") or ""),
        number(record.get("start_ms")),
        number(record.get("end_ms")),
    )
    for name in ("params", "tags"):
        values = record.get(name)
        getattr(run, name).update(values if isinstance(values, dict) else {})
    metrics = record.get("metrics")
    for name, value in (metrics if isinstance(metrics, dict) else {}).items():
        as_logged = stored_value(value)
        if as_logged is not None:
            run.metrics[name] = as_logged
    return run


def records_of(
    builder: RelationBuilder, opened: OpenedFile
) -> Iterable[tuple[int, dict[str, Any]]]:
    """The objects after the head, by line."""
    with opened.open() as stream:
        for line_number, line in enumerate(iter_lines(stream), start=1):
            builder.n_lines += 1
            try:
                record = parse_object(line, "a line")
            except RecordError as error:
                builder.add_bad(line_number, str(error), line, file=opened.name)
                continue
            if "schema" not in record:
                yield line_number, record


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
        names = {e.experiment_id: e.name for e in found}
        wanted = [
            i
            for i, name in names.items()
            if not experiments or name in experiments
        ]
        runs = _search_runs(client, wanted, names, say)
    except errors as error:
        said = shown_address(str(error))[:300]
        raise SourceError(
            f"mlflow:{shown} does not answer: {said}. Fix: check the address and "
            "MLFLOW_TRACKING_USERNAME, or read its SQLite file."
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlflow.fetched").write_text(f"{shown}\n")
    head = {"schema": FETCHED_SCHEMA, "tool": "mlflow", "n_runs": len(runs)}
    write_lines(folder / "runs.jsonl", [head, *[vars(run) for run in runs]])
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
    client: Any,
    wanted: Sequence[str],
    names: Mapping[str, str],
    say: Callable[[str], None],
) -> list[MlflowRun]:
    runs: list[MlflowRun] = []
    token = None
    while wanted:
        page = client.search_runs(wanted, max_results=_PAGE, page_token=token)
        for entity in page:
            info = entity.info
            runs.append(
                MlflowRun(
                    info.run_id,
                    info.run_name or "",
                    names.get(info.experiment_id, ""),
                    info.user_id or "",
                    info.status,
                    info.start_time,
                    info.end_time,
                    dict(entity.data.params),
                    dict(entity.data.metrics),
                    dict(entity.data.tags),
                )
            )
        say(f"mlflow: {len(runs)} runs")
        token = page.token
        if not token:
            break
    return runs


def _history(client: Any, run: MlflowRun) -> Callable[[], list[dict[str, Any]]]:
    def fetch() -> list[dict[str, Any]]:
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
