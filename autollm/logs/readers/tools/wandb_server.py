"""One W&B server's GraphQL endpoint: who asks, how long it waits, what an answer holds.

The key is WANDB_API_KEY, or the server's entry in the netrc file. It goes into one header
of requests to that server, and nowhere else: no message, no file and no URL holds it.

Invariant: every failure is a SourceError or SetupError; no answer is held beyond
_MAX_ANSWER_BYTES.
"""

from __future__ import annotations

import netrc
import os
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from autollm.core.errors import RecordError, SetupError, SourceError
from autollm.logs.readers.documents import parse_object

CLOUD = "https://api.wandb.ai"
_MAX_ANSWER_BYTES = 256 * 2**20
_TIMEOUT_S = 60.0
_MAX_TRIES = 7  # waits of 1, 2, 4 ... 32 s: a minute altogether
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class WandbServer:
    """One server's GraphQL endpoint.

    Args:
        base_url: WANDB_BASE_URL, or the cloud's.
        key: The API key; "" for none.
        sleep: Waits between tries; given seconds.

    Raises:
        SetupError: the address is none, or there is no key.
    """

    def __init__(
        self,
        base_url: str = "",
        key: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = (
            base_url or os.environ.get("WANDB_BASE_URL") or CLOUD
        ).rstrip("/")
        if urlsplit(self.base_url).scheme not in ("http", "https"):
            raise SetupError(
                f"WANDB_BASE_URL is {self.base_url!r}, expected http(s)://host"
            )
        found = find_key(self.base_url) if key is None else key
        if not found:
            raise SetupError(
                f"no API key for {self.base_url}. Fix: set WANDB_API_KEY, or run "
                "`wandb login`, which writes it into the netrc file."
            )
        self._sleep = sleep
        self._auth = httpx.BasicAuth("api", found)
        self._client = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False)

    def ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The `data` of an answer; waits and asks again while the server is busy.

        Raises:
            SourceError: no answer, or one that says why not.
        """
        body = {"query": query, "variables": dict(variables)}
        url = f"{self.base_url}/graphql"

        def post() -> httpx.Response:
            return self._whole("POST", url, json=body, auth=self._auth)

        return _data_of(self._persist(post), self.base_url)

    def download(self, url: str) -> bytes:
        """A file that the server points to. The key is not sent: the address, of an
        object store often, is signed.

        Raises:
            SourceError: it does not come.
        """
        if urlsplit(url).scheme not in ("http", "https"):
            raise SourceError("a history file whose address is no http(s)")
        answer = self._persist(lambda: self._whole("GET", url))
        if answer.status_code != 200:
            raise SourceError(f"a history file: status {answer.status_code}")
        return answer.content

    def _persist(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        """The answer; asks again, after waits, while the server is busy."""
        problem = ""
        for attempt in range(_MAX_TRIES):
            if attempt:
                self._sleep(_wait_s(attempt, problem))
            try:
                answer = send()
            except httpx.HTTPError as error:
                problem = type(error).__name__
                continue
            if answer.status_code not in _AGAIN:
                return answer
            after = answer.headers.get("retry-after", "")
            problem = f"status {answer.status_code} {after}"
        raise SourceError(
            f"{self.base_url} did not answer {_MAX_TRIES} times, the last: {problem}. "
            "Fix: run the same command again later; what came is kept."
        )

    def _whole(self, method: str, url: str, **options: Any) -> httpx.Response:
        """An answer of at most _MAX_ANSWER_BYTES."""
        with self._client.stream(method, url, **options) as answer:
            data = bytearray()
            for part in answer.iter_bytes():
                data += part
                if len(data) > _MAX_ANSWER_BYTES:
                    raise SourceError(
                        f"an answer of more than {_MAX_ANSWER_BYTES} bytes. Fix: land "
                        "the run files or an export instead."
                    )
            after = answer.headers.get("retry-after", "")
            return httpx.Response(
                answer.status_code,
                headers={"retry-after": after},
                content=bytes(data),
            )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


def find_key(base_url: str) -> str:
    """The API key for a server: WANDB_API_KEY, else netrc; "" where there is none."""
    key = os.environ.get("WANDB_API_KEY", "")
    if key:
        return key.strip()
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        entry = netrc.netrc(str(path)).authenticators(
            urlsplit(base_url).hostname or ""
        )
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return ""
    return (entry[2] or "") if entry else ""


def _wait_s(attempt: int, problem: str) -> float:
    """Doubling, with a random part so that workers do not ask at once again; what the
    server says in Retry-After counts, up to a minute.
    """
    said = problem.rpartition(" ")[2]
    if said.isdecimal():
        return min(float(said), 60.0)
    return 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25)


def _data_of(answer: httpx.Response, base_url: str) -> dict[str, Any]:
    if answer.status_code in (401, 403):
        raise SourceError(
            f"{base_url} refuses the API key (status {answer.status_code}). Fix: set "
            "WANDB_API_KEY to one that may read the project."
        )
    if answer.status_code != 200:
        raise SourceError(
            f"{base_url} answers with status {answer.status_code}"
        )
    try:
        said = parse_object(answer.content, "the answer")
    except RecordError as error:
        raise SourceError(f"{base_url} answers no JSON: {error}") from None
    errors = said.get("errors")
    if errors:
        first = errors[0] if isinstance(errors, list) else errors
        text = first.get("message") if isinstance(first, dict) else first
        raise SourceError(f"{base_url} says: {str(text)[:200]}")
    data = said.get("data")
    if not isinstance(data, dict):
        raise SourceError(f"{base_url} answers without data")
    return data
