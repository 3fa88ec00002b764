"""`python -m pipelines.dev` (make dev): Dagster's UI with its daemon, and MLflow's UI,
on loopback, until Ctrl-C.

What does not belong here: work. Invariant: nothing listens beyond 127.0.0.1, and both
servers end with this process.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from autollm.core.errors import BusyError
from autollm.core.places import PROJECT, Places, resolve, silence_telemetry
from autollm.tracking import Tracker
from pipelines import manifest
from pipelines.instance import open_instance
from pipelines.run import hold_home, reconcile_all

HOST = "127.0.0.1"
STOP_S = 20.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Start both, print where they are, wait, stop both."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.dev",
        description="Dagster UI and MLflow UI on loopback.",
    )
    parser.add_argument("--home", help="state folder, default AUTOLLM_HOME or ./var")
    parser.add_argument("--dagster-port", type=int, default=3000)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    options = parser.parse_args(arguments)
    places = _prepared(resolve(options.home).prepare())
    dagster_port = free_port(options.dagster_port)
    mlflow_port = free_port(options.mlflow_port, taken=dagster_port)
    print(
        f"Dagster  http://{HOST}:{dagster_port}   assets, runs, schedules\nMLflow   "
        f"http://{HOST}:{mlflow_port}   trainings, models\n"
        f"home     {places.home}\nCtrl-C stops both.",
        flush=True,
    )
    return _serve(
        [dagster_command(dagster_port), mlflow_command(places, mlflow_port)],
        places.dagster,
    )


def free_port(first: int, taken: int | None = None) -> int:
    """The first free port from `first` on."""
    for port in range(first, first + 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if (
                port != taken
                and probe.connect_ex((HOST, port)) != 0
                and _can_bind(port)
            ):
                return port
    raise SystemExit(
        f"no free port from {first} to {first + 199} on {HOST}. Fix: --dagster-port or "
        "--mlflow-port."
    )


def dagster_command(port: int) -> list[str]:
    """Webserver, daemon and code location."""
    return [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-w",
        str(PROJECT / "workspace.yaml"),
        "-h",
        HOST,
        "-p",
        str(port),
        "--log-level",
        "warning",
    ]


def mlflow_command(places: Places, port: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        f"sqlite:///{places.mlflow / 'mlflow.db'}",
        "--default-artifact-root",
        (places.mlflow / "artifacts").as_uri(),
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
    ]


def _prepared(places: Places) -> Places:
    """Environment, manifest, stores, and what killed processes left."""
    silence_telemetry()
    # MLflow's server would start seven workers of jobs that nothing here uses
    os.environ.update(
        places.environment()
        | {"PYTHONWARNINGS": "ignore", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    )
    manifest.prepare()
    Tracker(places)  # the UI wants its database
    with (
        contextlib.suppress(BusyError),
        hold_home(places),
        open_instance(places) as instance,
    ):  # a run that is going on has done so
        reconcile_all(places, instance)
    return places


def _serve(commands: Sequence[Sequence[str]], cwd: Path) -> int:
    """Run until one ends or a signal comes; then stop all. In DAGSTER_HOME, where the
    only dagster.yaml lies that counts.
    """
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # before the children start: an ignored signal would stay ignored in them
        signal.signal(number, _interrupt)
    children = [
        subprocess.Popen(command, start_new_session=True, cwd=cwd)
        for command in commands
    ]
    try:
        while all(c.poll() is None for c in children):
            _pause(children)
        ended = next(c for c in children if c.poll() is not None)
        print(
            f"{' '.join(map(str, ended.args[2:4]))} ended with code {ended.returncode}",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(children)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _pause(children: Sequence[subprocess.Popen[bytes]]) -> None:
    try:
        children[0].wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        return


def _stop(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask all, then make sure; each has a session of its own, so that its own children
    end too.
    """
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
    for child in children:
        try:
            child.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
