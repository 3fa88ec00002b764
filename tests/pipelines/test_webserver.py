"""Dagster's page obeys its own pages alone: a guard by itself, and around the real
server.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from autollm.core.places import resolve
from pipelines.dev import free_port, webserver_command
from pipelines.instance import install
from pipelines.webserver import OwnPagesOnly

PORT = 3000
OWN = {"host": f"127.0.0.1:{PORT}"}
MUTATION = "mutation { reloadWorkspace { __typename } }"


async def reached(scope, receive, send):
    """An application that says that it was asked."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"reached"})


def status_of(method, path, headers):
    async def ask():
        transport = httpx.ASGITransport(app=OwnPagesOnly(reached, PORT))
        async with httpx.AsyncClient(transport=transport) as client:
            url = f"http://127.0.0.1:{PORT}{path}"
            return (
                await client.request(method, url, headers=headers)
            ).status_code

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "method, path, headers",
    [
        ("GET", "/", {"host": f"evil.example:{PORT}"}),
        ("GET", "/", {"host": "127.0.0.1:3001"}),
        ("POST", "/graphql", OWN | {"origin": "https://evil.example"}),
        ("POST", "/graphql", OWN | {"origin": "null"}),
        ("POST", "/graphql", OWN | {"origin": "http://127.0.0.1:8888"}),
        ("GET", f"/graphql?query={MUTATION}", OWN),
        ("GET", f"/graphql/?query={MUTATION}", OWN),
        ("GET", "/logs/x", OWN | {"sec-fetch-site": "cross-site"}),
        ("POST", "/", OWN | {"sec-fetch-site": "same-site"}),
    ],
)
def test_guard__request_of_a_foreign_page__is_refused(method, path, headers):
    assert status_of(method, path, headers) == 403


@pytest.mark.parametrize(
    "method, path, headers",
    [
        ("GET", "/", OWN),
        ("GET", "/graphql", OWN),
        ("POST", "/graphql", OWN | {"origin": f"http://127.0.0.1:{PORT}"}),
        ("POST", "/graphql", {"host": f"localhost:{PORT}"}),
        ("POST", "/graphql", OWN | {"sec-fetch-site": "same-origin"}),
        (
            "GET",
            "/runs",
            OWN
            | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        ),
    ],
)
def test_guard__request_of_an_own_page__is_served(method, path, headers):
    assert status_of(method, path, headers) == 200


def test_guard__websocket_of_a_foreign_page__is_closed():
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    headers = [
        (b"host", OWN["host"].encode()),
        (b"origin", b"https://evil.example"),
    ]
    scope = {"type": "websocket", "path": "/graphql", "headers": headers}
    asyncio.run(OwnPagesOnly(reached, PORT)(scope, receive, send))
    assert [m["type"] for m in sent] == ["websocket.close"]


@contextlib.contextmanager
def real_server(tmp_path):
    """The server of `make dev` on a workspace of its own; its address."""
    places = resolve(tmp_path / "home").prepare()
    install(places)
    (tmp_path / "nothing.py").write_text(
        "import dagster as dg\ndefs = dg.Definitions()"
    )
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text("load_from:\n  - python_file: nothing.py\n")
    port = free_port(3900)
    child = subprocess.Popen(
        webserver_command(workspace, port),
        env=os.environ | places.environment(),
        cwd=tmp_path,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(url)
                break
            assert child.poll() is None, "the server ended as it began"
            time.sleep(0.1)
        yield url
    finally:
        os.killpg(child.pid, signal.SIGINT)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
def test_webserver__real_one__refuses_what_dagster_itself_carries_out(tmp_path):
    with real_server(tmp_path) as url:
        query = {"query": "{ version }"}
        own = httpx.post(f"{url}/graphql", json=query)
        foreign = httpx.post(
            f"{url}/graphql",
            json=query,
            headers={"origin": "https://evil.example"},
        )
        by_get = httpx.get(f"{url}/graphql", params={"query": MUTATION})
        rebound = httpx.get(url, headers={"host": "evil.example"})
        page = httpx.get(url)
    assert "version" in own.json()["data"] and page.status_code == 200
    assert [r.status_code for r in (foreign, by_get, rebound)] == [403] * 3
