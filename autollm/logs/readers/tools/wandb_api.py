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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autollm.core.errors import RecordError, SourceError
from autollm.logs.readers.cells import Cells, Row, whole_number
from autollm.logs.readers.documents import parse_object
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.tools.fetched import (
    RUNS,
    FetchedReader,
    Job,
    fetch_histories,
    write_runs,
)
from autollm.logs.readers.tools.wandb_offline import (
    ROLES,
    add_history,
    add_run,
    unwrapped,
)
from autollm.logs.readers.tools.wandb_server import WandbServer

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
    write_runs(folder, "wandb", project, runs)
    jobs = []
    for run in runs:
        if run.get("historyLineCount") != 0:
            mark = [run.get("historyLineCount"), run.get("heartbeatAt")]
            jobs.append(
                Job(run["name"], json.dumps(mark), _history(server, names, run))
            )
    fetch_histories(folder, jobs, (SourceError,), say)
    return folder


def _list_runs(
    server: WandbServer, names: Mapping[str, str]
) -> Iterator[Cells]:
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
        with _expected("a page of runs"):
            page = project["runs"]
            nodes = [edge["node"] for edge in page["edges"]]
            ids = [node["name"] for node in nodes]
            following = page["pageInfo"].get("endCursor")
            has_more = page["pageInfo"].get("hasNextPage")
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


@contextmanager
def _expected(what: str) -> Iterator[None]:
    """What is taken out of an answer within is in it, else it is the server's fault."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{what} lacks {error}") from None
    except RecordError as error:
        raise SourceError(f"{what}: {error}") from None


def _history(
    server: WandbServer, names: Mapping[str, str], run: Row
) -> Callable[[], list[Cells]]:
    def fetch() -> list[Cells]:
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


def _last_step(run: Row) -> int:
    """The last step of the history, by what the server says of its keys, else of the
    summary; else as many steps as there are lines.
    """
    keys = run.get("historyKeys")
    said = (
        keys.get("lastStep") if isinstance(keys, dict) else None,
        _object(run.get("summaryMetrics")).get("_step"),
        run.get("historyLineCount"),
    )
    known = filter(None, map(whole_number, said))
    return max(0, next(known, 0))


def stored_history(
    server: WandbServer, names: Mapping[str, str], run_id: str
) -> list[Cells]:
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
    with _expected("the list of history files"):
        urls = data["project"]["run"]["parquetHistory"]["parquetUrls"] or []
    rows: list[Cells] = []
    for url in urls:
        rows += _parquet_rows(server.download(str(url)))
    return sorted(rows, key=lambda row: whole_number(row.get("_step")) or 0)


def _parquet_rows(data: bytes) -> list[Cells]:
    try:
        records = pq.read_table(io.BytesIO(data)).to_pylist()
    except (OSError, pa.ArrowException, ValueError) as error:
        raise SourceError(
            f"a history file is no Parquet: {str(error)[:200]}"
        ) from None
    rows = []
    for record in records:
        plain = (int, float, str, bool)
        rows.append({n: v for n, v in record.items() if isinstance(v, plain)})
    return rows


def full_history(
    server: WandbServer, variables: Row, first: int, end: int
) -> list[Cells]:
    """The rows of the steps from `first` up to, not with, `end`.

    Raises:
        SourceError: the server does not answer, or one step alone holds too many rows.
    """
    windows = [(first, end)]
    rows: list[Cells] = []
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
    server: WandbServer, variables: Row, low: int, high: int
) -> list[Cells]:
    asked = {**variables, "minStep": low, "maxStep": high}
    data = server.ask(HISTORY_QUERY, asked)
    with _expected("a page of history"):
        lines = data["project"]["run"]["history"]
        return [parse_object(line, "a row of the history") for line in lines]


class WandbFetchedReader(FetchedReader):
    """What `fetch_wandb` wrote."""

    format = "wandb-api"
    tool = "wandb"
    roles = ROLES

    def run_of(
        self, builder: RelationBuilder, node: Row, line: int
    ) -> tuple[str, str]:
        """See `FetchedReader`."""
        run_id = str(node.get("name"))
        tags = node.get("tags")
        cells: Cells = {"run_id": run_id}
        for column, name in _CELLS.items():
            cells[column] = node.get(name) or None
        if isinstance(tags, list) and tags:
            cells["tags"] = ", ".join(map(str, tags))
        config = _object(node.get("config"))
        settings = {name: unwrapped(said) for name, said in config.items()}
        summary = _object(node.get("summaryMetrics"))
        add_run(builder, cells, settings, summary, RUNS, line)
        return run_id, run_id

    def take(
        self, builder: RelationBuilder, run: str, row: Cells, line: int
    ) -> None:
        """See `FetchedReader`."""
        if "_n_expected" in row:
            builder.note(
                f"{run}: {row.get('_n_rows')} rows of history came, the server counts "
                f"{row['_n_expected']}: it may be thinned"
            )
        else:
            add_history(builder, run, line, row)


_CELLS = {
    "run_name": "displayName",
    "group": "group",
    "job_type": "jobType",
    "notes": "notes",
    "sweep_id": "sweepName",
    "created": "createdAt",
    "state": "state",
}
"""Columns, and what the server calls them."""


def _object(value: Any) -> Cells:
    """An object, or the JSON text of one; the server's empty answer is empty."""
    if isinstance(value, str) and value:
        return parse_object(value, "configuration or summary")
    return dict(value) if isinstance(value, dict) else {}
