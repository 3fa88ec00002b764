"""`python -m pipelines.dev` (make dev): Dagster's UI with its daemon, and MLflow's UI,
on loopback, until Ctrl-C.

Invariant: nothing listens beyond 127.0.0.1, and both servers end with this process.
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
from autollm.core.files import write_atomic
from autollm.core.places import Places, resolve, silence_telemetry
from autollm.core.progress import say
from autollm.tracking import Tracker, store_uri
from pipelines.dbt_project import prepared_project
from pipelines.instance import install, open_instance
from pipelines.run import hold_home, reconcile_all

HOST = "127.0.0.1"
CODE_PORT = 4266
"""First port that is tried for the code server; few other programs use it."""
LAST_PORT = 65_535
STOP_S = 20.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Start both, print where they are, wait, stop both."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.dev",
        description="Dagster UI and MLflow UI on loopback.",
    )
    parser.add_argument(
        "--home", help="state folder, default AUTOLLM_HOME or ./var"
    )
    parser.add_argument("--dagster-port", type=int, default=3000)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    options = parser.parse_args(arguments)
    places = _prepared(resolve(options.home).prepare())
    dagster_port = free_port(options.dagster_port)
    mlflow_port = free_port(options.mlflow_port, taken=(dagster_port,))
    code_port = free_port(CODE_PORT, taken=(dagster_port, mlflow_port))
    say(
        f"Dagster  http://{HOST}:{dagster_port}   assets, runs, schedules\n"
        f"MLflow   http://{HOST}:{mlflow_port}   trainings, models\n"
        f"home     {places.home}\n"
        "Ctrl-C stops both.",
        sys.stdout,
    )
    workspace = write_workspace(places, code_port)
    commands = [
        code_server_command(code_port),
        webserver_command(workspace, dagster_port),
        daemon_command(workspace),
        mlflow_command(places, mlflow_port),
    ]
    return _serve(commands, places.dagster)


def free_port(first: int, taken: Sequence[int] = ()) -> int:
    """The first free port from `first` on that is not one of `taken`."""
    last = min(first + 199, LAST_PORT)
    candidates = range(first, last + 1) if first > 0 else ()
    for port in candidates:
        if port not in taken and _answers_nobody(port) and _can_bind(port):
            return port
    raise SystemExit(
        f"no free port from {first} to {last} on {HOST}. Fix: --dagster-port or "
        "--mlflow-port."
    )


def write_workspace(places: Places, code_port: int) -> Path:
    """The file by which web server and daemon share one process with our code."""
    path = places.dagster / "workspace.yaml"
    text = (
        "load_from:\n"
        f"  - grpc_server: {{host: {HOST}, port: {code_port}, location_name: autollm}}\n"
    )
    write_atomic(str(path), text.encode())
    return path


def code_server_command(port: int) -> list[str]:
    """Our definitions, loaded once for both web server and daemon."""
    place = ["-h", HOST, "-p", str(port), "--log-level", "warning"]
    module = ["-m", "pipelines.definitions", "--location-name", "autollm"]
    return [
        sys.executable,
        "-m",
        "dagster",
        "code-server",
        "start",
        *place,
        *module,
    ]


def webserver_command(workspace: Path, port: int) -> list[str]:
    """Dagster's web server behind the guard of pipelines/webserver.py."""
    place = ["--workspace", str(workspace), "--host", HOST, "--port", str(port)]
    levels = [
        "--uvicorn-log-level",
        "warning",
        "--dagster-log-level",
        "warning",
    ]
    return [sys.executable, "-m", "pipelines.webserver", *place, *levels]


def daemon_command(workspace: Path) -> list[str]:
    """Schedules, sensors and queued runs."""
    daemon = str(Path(sys.executable).with_name("dagster-daemon"))
    return [
        daemon,
        "run",
        "--workspace",
        str(workspace),
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
        store_uri(places.mlflow / "mlflow.db"),
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
    """Set the environment, prepare manifest and stores, and clean up after killed
    processes.
    """
    silence_telemetry()
    # MLflow's server would start seven workers of jobs that nothing here uses
    os.environ.update(
        places.environment()
        | {
            "PYTHONWARNINGS": "ignore",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
    )
    install(places)  # dagster-dbt reads the instance's settings, too
    prepared_project(places)
    Tracker(places)  # the UI wants its database
    with (
        contextlib.suppress(BusyError),
        hold_home(places),
        open_instance(places) as instance,
    ):  # a run that is going on has done so
        reconcile_all(places, instance)
    return places


def _serve(commands: Sequence[Sequence[str]], cwd: Path) -> int:
    """Run the commands until one ends or a signal comes, then stop all of them. They
    run in DAGSTER_HOME, so that they read its dagster.yaml.
    """
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # before the children start: an ignored signal would stay ignored in them
        signal.signal(number, _interrupt)
    children = []
    for command in commands:
        children.append(
            subprocess.Popen(command, start_new_session=True, cwd=cwd)
        )
    try:
        while all(c.poll() is None for c in children):
            _pause(children)
        ended = next(c for c in children if c.poll() is not None)
        command = " ".join(ended.args[:5])
        say(f"{command} ended with code {ended.returncode}")
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


def _answers_nobody(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
