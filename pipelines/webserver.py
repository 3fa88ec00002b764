"""Dagster's web server, obeying only pages that it served itself.

    python -m pipelines.webserver --workspace FILE --host 127.0.0.1 --port 3000

Any page that a browser shows can send requests to loopback. Dagster's server carries
out a mutation that comes by GET or from a foreign page, and answers under any host
name, so that a rebound name reads what it answers. This wrapper refuses all three with
403 before Dagster sees them.

It replaces one name inside Dagster's own command, the only private import of this
project; constraints.txt pins the version and a test starts the real server.
Invariant: what is refused reaches no code of Dagster.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")


class OwnPagesOnly:
    """An ASGI application around another one.

    Args:
        app: the application that is guarded.
        port: where it is served; own pages have the address `http://NAME:port` with a
            name of OWN_NAMES.
    """

    def __init__(self, app: App, port: int):
        self.app = app
        self.hosts = [f"{name}:{port}" for name in OWN_NAMES]

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        problem = (
            self.problem(scope)
            if scope["type"] in ("http", "websocket")
            else ""
        )
        if not problem:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send(
                {"type": "websocket.close", "code": 1008, "reason": problem}
            )
        else:
            await _refuse(send, problem)

    def problem(self, scope: Scope) -> str:
        """Why a request is refused; empty when it is served."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            named = ", ".join(hosts) or "nothing"
            return f"host {named!r} is not one of {', '.join(self.hosts)}"
        for origin in _values(scope, b"origin"):
            if origin not in [f"http://{host}" for host in self.hosts]:
                return f"origin {origin!r} is not a page of this server"
        sites = _values(scope, b"sec-fetch-site")
        if any(s in ("cross-site", "same-site") for s in sites) and not _visits(
            scope
        ):
            return "the request was made by a page of another site"
        if scope.get("method") in ("GET", "HEAD") and _runs_graphql(scope):
            return "GraphQL is answered to POST alone: an image of any page can GET"
        return ""


def _values(scope: Scope, header: bytes) -> list[str]:
    values = []
    for name, value in scope["headers"]:
        if name.lower() == header:
            values.append(value.decode("latin-1").lower())
    return values


def _visits(scope: Scope) -> bool:
    """Whether a person followed a link to a page."""
    navigates = _values(scope, b"sec-fetch-mode") == ["navigate"]
    return navigates and scope.get("method") == "GET"


def _runs_graphql(scope: Scope) -> bool:
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return scope["path"].rstrip("/").endswith("/graphql") and "query" in query


async def _refuse(send: Send, problem: str) -> None:
    head: Iterable[tuple[bytes, bytes]] = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 403, "headers": head})
    text = f"refused: {problem}\n".encode()
    await send({"type": "http.response.body", "body": text})


def main() -> None:
    """Dagster's own command, its application guarded."""
    from dagster_webserver import cli

    make = cli.create_app_from_workspace_process_context
    serve = cli.host_dagster_ui_with_workspace_process_context

    def host(
        context: Any, host: str, port: int, *rest: Any, **named: Any
    ) -> None:
        def guarded(*args: Any, **kwargs: Any) -> App:
            return OwnPagesOnly(make(*args, **kwargs), port)

        cli.create_app_from_workspace_process_context = guarded
        serve(context, host, port, *rest, **named)

    cli.host_dagster_ui_with_workspace_process_context = host
    cli.main()


if __name__ == "__main__":
    main()
