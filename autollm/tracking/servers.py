"""Tracking stores of other people: which of their runs have ended."""

from __future__ import annotations

import os

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from autollm.core.errors import SourceError
from autollm.core.redaction import redact

ENDED = ("FINISHED", "FAILED", "KILLED")
PAGE = 900
"""Runs in one answer."""
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
    try:
        client = MlflowClient(uri)
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
    ended: dict[str, int] = {}
    token = None
    while True:
        page = client.search_runs(
            experiments,
            f"attributes.end_time >= {since_ms}",
            max_results=PAGE,
            page_token=token,
        )
        for run in page:
            if run.info.status in ENDED and run.info.end_time:
                ended[run.info.run_id] = run.info.end_time
        token = page.token
        if not token:
            return ended
