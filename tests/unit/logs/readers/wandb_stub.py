"""A W&B server on loopback that answers the queries of the pinned client, and thins a
history beyond the asked number of rows, as the real one does."""

import base64
import io
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq

KEY = "0123456789abcdef0123456789abcdef01234567"


class Project:
    """Runs by name: their node and their history; what was asked, and how to fail."""

    def __init__(self, runs):
        self.runs = runs
        self.in_files = {}
        self.is_old = False
        self.url = ""
        self.asked = []
        self.failures = []
        self.lock = threading.Lock()

    def answer(self, query, variables):
        if "HistoryPage" in query:
            return self._history(variables)
        if "RunHistoryKeys" in query:
            keys = self.runs[variables["name"]][0]["historyKeys"]
            return {"project": {"run": {"historyKeys": keys}}}
        if "viewer" in query:  # the pinned client asks who it is, ours does not
            return {
                "viewer": {"id": "u1", "username": "user", "entity": "team"}
            }
        if "ParquetHistory" in query:
            return self._parquet(variables["runName"])
        return self._runs(variables)

    def _parquet(self, name):
        if self.is_old:
            return None
        urls = [f"{self.url}/{name}.parquet"] if name in self.in_files else []
        n_live = self.in_files.get(name, 0)
        live = [{"_step": row["_step"]} for row in self.runs[name][1][n_live:]]
        stored = {"parquetUrls": urls, "liveData": live[:1]}
        return {"project": {"run": {"parquetHistory": stored}}}

    def file_of(self, path):
        """The rows of a run that were put into a file."""
        name = path.strip("/").removesuffix(".parquet")
        rows = self.runs[name][1][: self.in_files[name]]
        out = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), out)
        return out.getvalue()

    def _runs(self, variables):
        names = sorted(self.runs)
        first = int(variables.get("cursor") or 0)
        end = first + 2  # two a page, so that there are pages
        edges = []
        for index, name in enumerate(names[first:end], start=first):
            edges.append({"node": self.runs[name][0], "cursor": str(index + 1)})
        info = {"endCursor": str(end), "hasNextPage": end < len(names)}
        runs = {"edges": edges, "pageInfo": info}
        return {"project": {"runCount": len(names), "runs": runs}}

    def _history(self, variables):
        _, history = self.runs[variables["run"]]
        low = variables["minStep"]
        high = variables["maxStep"]
        live = history[self.in_files.get(variables["run"], 0) :]
        rows = [row for row in live if low <= row["_step"] < high]
        n_rows = variables["pageSize"]
        if len(rows) > n_rows:  # thinned, without a word
            rows = [rows[i * len(rows) // n_rows] for i in range(n_rows)]
        lines = [json.dumps(row) for row in rows]
        return {"project": {"run": {"history": lines}}}


@contextmanager
def serving(project):
    """The base URL of a server for one project."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(
                self.rfile.read(int(self.headers["content-length"]))
            )
            said = self.headers.get("authorization", "").removeprefix("Basic ")
            with project.lock:
                project.asked.append(body)
                status = project.failures.pop(0) if project.failures else 200
            if base64.b64decode(said) != f"api:{KEY}".encode():
                status = 401
            data = {}
            if status == 200:
                data = {
                    "data": project.answer(
                        body["query"], body.get("variables") or {}
                    )
                }
            if "data" in data and data["data"] is None:
                said = 'Cannot query field "parquetHistory" on type "Run".'
                data = {"errors": [{"message": said}]}
            self._answer(status, json.dumps(data).encode())

        def do_GET(self):
            assert "authorization" not in self.headers
            self._answer(200, project.file_of(self.path))

        def _answer(self, status, content):
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(
        target=server.serve_forever, args=(0.02,), daemon=True
    )
    thread.start()
    project.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield project.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def node(name, state="finished", n_rows=0, **config):
    """A run as the server tells it."""
    wrapped = {
        key: {"value": value, "desc": None} for key, value in config.items()
    }
    wrapped["_wandb"] = {"value": {"cli_version": "0.31.0"}}
    return {
        "name": name,
        "displayName": f"name of {name}",
        "state": state,
        "group": None,
        "jobType": None,
        "sweepName": "sw1",
        "tags": ["a", "b"],
        "notes": None,
        "createdAt": "2025-06-15T15:06:40",
        "heartbeatAt": "2025-06-15T16:06:40",
        "config": json.dumps(wrapped),
        "summaryMetrics": json.dumps(
            {"val": {"loss": 2.5}, "nan": "NaN", "_step": 9, "_runtime": 60.5}
        ),
        "historyLineCount": n_rows,
        "historyKeys": {"lastStep": 10 * (n_rows - 1)} if n_rows else None,
    }
