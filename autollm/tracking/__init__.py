"""Runs of training, evaluation and advice, and the model registry: the only package that
imports MLflow. SQLite store and local artifacts under the home.

    store (the database) -> runs (what goes into one) -> tracker (finding, opening,
    registering); servers: other people's stores

A training has one run, found again by its identity and resumed after a crash.
Checkpoints are logged by reference and hash, never copied; curves are thinned.
Invariant: a run is RUNNING only while the process that opened it holds its lock.
"""

from __future__ import annotations

import logging

from autollm.core.places import silence_telemetry

silence_telemetry()  # before MLflow is imported for the first time

from autollm.tracking.runs import (  # noqa: E402
    MAX_POINTS,
    DataUsed,
    RunWriter,
    TrackedRun,
)
from autollm.tracking.servers import ended_since  # noqa: E402
from autollm.tracking.store import store_uri  # noqa: E402
from autollm.tracking.tracker import (  # noqa: E402
    EXPERIMENTS,
    IDENTITY,
    Registered,
    Tracker,
)

# below this it tells of every table that it makes
logging.getLogger("mlflow").setLevel(logging.WARNING)

__all__ = [
    "EXPERIMENTS",
    "IDENTITY",
    "MAX_POINTS",
    "DataUsed",
    "Registered",
    "RunWriter",
    "TrackedRun",
    "Tracker",
    "ended_since",
    "store_uri",
]
