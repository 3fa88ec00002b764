"""Weights & Biases projects (`wandb:ENTITY/PROJECT`), over the server's GraphQL API, with
the queries that the pinned client (wandb 0.31) asks; wandb itself is not needed.

The list of runs comes first, page by page. The server keeps older history in Parquet
files, which come whole; newer rows are asked for by windows of steps. It thins what holds
more than MAX_ROWS rows, so a window that comes back full is halved and asked again, until
every window came back whole. Where the rows do not add up to the server's own count, a
note says so.

Invariant: what is written is the full history, or says that it is not.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autollm.core.errors import RecordError, SourceError
from autollm.logs.readers.documents import parse_object
from autollm.logs.readers.fetched import (
    FETCHED_SCHEMA,
    Job,
    fetch_histories,
    history_path,
    write_lines,
)
from autollm.logs.readers.mlflow_store import records_of
from autollm.logs.readers.rows import RelationBuilder, number, whole_number
from autollm.logs.readers.wandb_offline import ROLES, add_cells, add_history
from autollm.logs.readers.wandb_server import WandbServer
from autollm.logs.relation import OpenedFile, OpenedFolder, Relation

MAX_ROWS = 1_000
"""Of one answer; the page size that the client's scan_history asks for."""
_RUNS_A_PAGE = 50  # the client's own, with configuration and summary some 1 MB
_ADDRESS = re.compile(r"([A-Za-z0-9_.-]{1,128})/([^/\s]{1,128})")

RUNS_QUERY = """query Runs($project: String!, $entity: String!, $cursor: String,
 $perPage: Int = 50, $order: String, $filters: JSONString) {
 project(name: $project, entityName: $entity) { runCount(filters: $filters)
  runs(filters: $filters, after: $cursor, first: $perPage, order: $order) {
   edges { node { name displayName state group jobType sweepName tags notes createdAt
    heartbeatAt config summaryMetrics historyLineCount historyKeys } cursor }
   pageInfo { endCursor hasNextPage } } } }"""
HISTORY_QUERY = """query HistoryPage($entity: String!, $project: String!, $run: String!,
 $minStep: Int64!, $maxStep: Int64!, $pageSize: Int!) {
 project(name: $project, entityName: $entity) { run(name: $run) {
  history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize) } } }"""
PARQUET_QUERY = """query RunParquetHistory($entity: String!, $project: String!,
 $runName: String!, $liveKeys: [String!]!) {
 project(name: $project, entityName: $entity) { run(name: $runName) {
  parquetHistory(liveKeys: $liveKeys) { parquetUrls liveData } } } }"""


def fetch_wandb(
    project: str,
    folder: Path,
    server: WandbServer,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """All runs of a project, into `folder`; gives it.

    Args:
        project: "ENTITY/PROJECT".
        say: Is told how far it is.

    Raises:
        SourceError: no such project, no answer, or some histories did not come.
    """
    found = _ADDRESS.fullmatch(project)
    if found is None:
        raise SourceError(
            f"wandb:{project}: expected wandb:ENTITY/PROJECT. Fix: copy both from the "
            "project's page."
        )
    names = {"entity": found[1], "project": found[2]}
    runs = []
    for run in _list_runs(server, names):
        runs.append(run)
        if len(runs) % _RUNS_A_PAGE == 0:
            say(f"wandb: {len(runs)} runs")
    head = {
        "schema": FETCHED_SCHEMA,
        "tool": "wandb",
        **names,
        "n_runs": len(runs),
    }
    write_lines(folder / "runs.jsonl", [head, *runs])
    (folder / "wandb.fetched").write_text(f"{project}\n")
    jobs = []
    for run in runs:
        if run.get("historyLineCount") != 0:
            mark = json.dumps(
                [run.get("historyLineCount"), run.get("heartbeatAt")]
            )
            jobs.append(Job(run["name"], mark, _history(server, names, run)))
    fetch_histories(folder, jobs, (SourceError,), say)
    return folder


def _list_runs(
    server: WandbServer, names: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        variables = {
            **names,
            "cursor": cursor,
            "perPage": _RUNS_A_PAGE,
            "order": "+created_at",
            "filters": "{}",
        }
        project = server.ask(RUNS_QUERY, variables).get("project")
        if not isinstance(project, dict):
            raise SourceError(
                f"no project {names['entity']}/{names['project']} at {server.base_url}. "
                "Fix: check both names, and that the key may read it."
            )
        try:
            page = project["runs"]
            nodes = [edge["node"] for edge in page["edges"]]
            info = page["pageInfo"]
            ids = [node["name"] for node in nodes]
            has_more = bool(info.get("hasNextPage"))
            following = info.get("endCursor")
        except (KeyError, TypeError, AttributeError) as error:
            raise SourceError(f"a page of runs lacks {error}") from None
        if not all(isinstance(run_id, str) for run_id in ids):
            raise SourceError("a run without a name")
        yield from nodes
        if not has_more:
            return
        if not following or following == cursor:
            raise SourceError(
                "the list of runs does not go on, though it says so"
            )
        cursor = following


def _history(
    server: WandbServer, names: Mapping[str, str], run: Mapping[str, Any]
) -> Callable[[], list[dict[str, Any]]]:
    def fetch() -> list[dict[str, Any]]:
        variables = {**names, "run": run["name"], "pageSize": MAX_ROWS}
        last = _last_step(run)
        rows = stored_history(server, names, run["name"])
        first = 0
        for row in rows:
            first = max(first, (whole_number(row.get("_step")) or 0) + 1)
        rows += full_history(server, variables, first, last + 1)
        expected = run.get("historyLineCount")
        if isinstance(expected, int) and expected != len(rows):
            rows.append({"_n_expected": expected, "_n_rows": len(rows)})
        return rows

    return fetch


def _last_step(run: Mapping[str, Any]) -> int:
    """The last step of the history, by what the server says of its keys, else of the
    summary; else as many steps as there are lines.
    """
    keys = run.get("historyKeys")
    said = keys.get("lastStep") if isinstance(keys, dict) else None
    last = whole_number(said)
    if last is None:
        last = whole_number(_object(run.get("summaryMetrics")).get("_step"))
    if last is None:
        last = whole_number(run.get("historyLineCount"))
    return max(0, last or 0)


def stored_history(
    server: WandbServer, names: Mapping[str, str], run_id: str
) -> list[dict[str, Any]]:
    """The rows that the server keeps in files, by step; none where it keeps none.

    Raises:
        SourceError: a file does not come, or is no Parquet.
    """
    asked = {**names, "runName": run_id, "liveKeys": ["_step"]}
    try:
        data = server.ask(PARQUET_QUERY, asked)
    except SourceError as error:
        if "parquetHistory" in str(error):  # a server from before such files
            return []
        raise
    try:
        urls = data["project"]["run"]["parquetHistory"]["parquetUrls"] or []
    except (KeyError, TypeError) as error:
        raise SourceError(f"the list of history files lacks {error}") from None
    rows: list[dict[str, Any]] = []
    for url in urls:
        rows += _parquet_rows(server.download(str(url)))
    return sorted(rows, key=lambda row: whole_number(row.get("_step")) or 0)


def _parquet_rows(data: bytes) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(io.BytesIO(data))
        records = table.to_pylist()
    except (OSError, pa.ArrowException, ValueError) as error:
        raise SourceError(
            f"a history file is no Parquet: {str(error)[:200]}"
        ) from None
    rows = []
    for record in records:
        filled = {}
        for name, value in record.items():
            if isinstance(value, (int, float, str, bool)):
                filled[name] = value
        rows.append(filled)
    return rows


def full_history(
    server: WandbServer, variables: Mapping[str, Any], first: int, end: int
) -> list[dict[str, Any]]:
    """The rows of the steps from `first` up to, not with, `end`.

    Raises:
        SourceError: the server does not answer, or one step alone holds too many rows.
    """
    windows = [(first, end)]
    rows: list[dict[str, Any]] = []
    while windows:
        low, high = windows.pop()
        found = _page(server, variables, low, high)
        if len(found) < MAX_ROWS or high - low == 1:
            rows += found
            continue
        middle = (low + high) // 2
        windows += [(middle, high), (low, middle)]
    return rows


def _page(
    server: WandbServer, variables: Mapping[str, Any], low: int, high: int
) -> list[dict[str, Any]]:
    asked = {**variables, "minStep": low, "maxStep": high}
    data = server.ask(HISTORY_QUERY, asked)
    try:
        lines = data["project"]["run"]["history"]
        return [parse_object(line, "a row of the history") for line in lines]
    except (KeyError, TypeError) as error:
        raise SourceError(f"a page of history lacks {error}") from None
    except RecordError as error:
        raise SourceError(f"a page of history: {error}") from None


class WandbFetchedReader:
    """What `fetch_wandb` wrote."""

    format = "wandb-api"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        if "runs.jsonl" not in listing or "wandb.fetched" not in listing:
            return ()
        histories = [
            p for p in listing if re.fullmatch(r"histories/[^/]+\.jsonl", p)
        ]
        return ("runs.jsonl", *histories)

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`."""
        builder = RelationBuilder(self.format, "run_id")
        builder.roles.update(ROLES)
        runs: dict[str, str] = {}
        for line, node in records_of(builder, opened.files["runs.jsonl"]):
            run_id = str(node.get("name"))
            runs[history_path("", run_id)] = run_id
            try:
                _add_run(builder, run_id, node, line)
            except RecordError as error:
                builder.add_bad(line, str(error), str(node), file="runs.jsonl")
                runs.pop(history_path("", run_id))
        for path, file in sorted(opened.files.items()):
            if path in runs:
                _read_history(builder, runs[path], file)
        return [builder.relation()]


def _read_history(
    builder: RelationBuilder, run_id: str, opened: OpenedFile
) -> None:
    for line, row in records_of(builder, opened):
        if "_n_expected" in row:
            builder.note(
                f"{run_id}: {row.get('_n_rows')} rows of history came, the server counts "
                f"{row['_n_expected']}: it may be thinned"
            )
            continue
        try:
            add_history(builder, run_id, line, row)
        except RecordError as error:
            builder.add_bad(line, str(error), str(row), file=opened.name)


def _add_run(
    builder: RelationBuilder, run_id: str, node: Mapping[str, Any], line: int
) -> None:
    tags = node.get("tags")
    summary = _object(node.get("summaryMetrics"))
    cells: dict[str, Any] = {
        "run_id": run_id,
        "run_name": node.get("displayName") or None,
        "group": node.get("group") or None,
        "job_type": node.get("jobType") or None,
        "tags": ", ".join(map(str, tags))
        if isinstance(tags, list) and tags
        else None,
        "notes": node.get("notes") or None,
        "sweep_id": node.get("sweepName") or None,
        "created": node.get("createdAt") or None,
        "state": node.get("state") or None,
        "runtime_s": number(summary.pop("_runtime", None)),
        "last_step": whole_number(summary.pop("_step", None)),
    }
    summary.pop("_timestamp", None)
    settings = {}
    for name, said in _object(node.get("config")).items():
        is_wrapped = isinstance(said, dict) and "value" in said
        settings[name] = said["value"] if is_wrapped else said
    add_cells(builder, cells, "config.", settings)
    add_cells(builder, cells, "summary.", summary)
    builder.add_run(cells, "runs.jsonl", line)


def _object(value: Any) -> dict[str, Any]:
    """An object, or the JSON text of one; the server's empty answer is empty."""
    if isinstance(value, str) and value:
        return parse_object(value, "configuration or summary")
    return dict(value) if isinstance(value, dict) else {}
