"""A W&B server on loopback that answers the two queries of the pinned client, and thins a
history beyond the asked number of rows, as the real one does."""

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0123456789abcdef0123456789abcdef01234567"


class Project:
    """Runs by name: their node and their history; what was asked, and how to fail."""

    def __init__(self, runs):
        self.runs = runs
        self.asked = []
        self.failures = []
        self.lock = threading.Lock()

    def answer(self, query, variables):
        if "HistoryPage" in query:
            return self._history(variables)
        return self._runs(variables)

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
        rows = [row for row in history if low <= row["_step"] < high]
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
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            said = self.headers.get("authorization", "").removeprefix("Basic ")
            with project.lock:
                project.asked.append(body)
                status = project.failures.pop(0) if project.failures else 200
            if base64.b64decode(said) != f"api:{KEY}".encode():
                status = 401
            data = {}
            if status == 200:
                data = {"data": project.answer(body["query"], body["variables"])}
            content = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def node(name, state="finished", n_rows=0, **config):
    """A run as the server tells it."""
    wrapped = {key: {"value": value, "desc": None} for key, value in config.items()}
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
