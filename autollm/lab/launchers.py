"""Where stacks of runs are trained: processes of this machine, or jobs of a Slurm
cluster through submitit.

A launcher is a context manager that takes a function and its arguments, tells which
tickets have ended, and returns their results or raises their exceptions.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    wait,
)
from pathlib import Path
from typing import Any, Protocol, Self

from autollm.core.errors import UnknownNameError
from autollm.core.extras import naming_extra
from autollm.core.processes import die_with_parent

LAUNCHERS = ("local", "slurm")
POLL_S = 5.0
"""Pause between two looks at the queue of a cluster."""


class Launcher(Protocol):
    """`slots`: how many tickets may be open at once."""

    slots: int

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def submit(self, work: Callable[..., None], *arguments: Any) -> Any: ...
    def wait(self, tickets: Sequence[Any]) -> list[Any]: ...
    def result(self, ticket: Any) -> None: ...


class LocalLauncher:
    """`jobs` processes of this machine, one thread each."""

    def __init__(self, jobs: int = 1):
        self.slots = jobs

    def __enter__(self) -> Self:
        self._pool = ProcessPoolExecutor(
            self.slots,
            mp_context=mp.get_context("spawn"),
            initializer=_begin_worker,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(
        self, work: Callable[..., None], *arguments: Any
    ) -> Future[None]:
        return self._pool.submit(work, *arguments)

    def wait(self, tickets: Sequence[Future[None]]) -> list[Future[None]]:
        return list(wait(tickets, return_when=FIRST_COMPLETED).done)

    def result(self, ticket: Future[None]) -> None:
        ticket.result()


class SubmititLauncher:
    """One job a stack, one core each. `out_dir` of the sweep must be a folder that the
    nodes share.

    Args:
        folder: where submitit keeps its scripts and logs. cluster: `slurm`, or
            submitit's own `local` and `debug`.
        slots: jobs in the queue at most. parameters: for submitit's executor, such as
            slurm_partition.
    """

    def __init__(
        self,
        folder: Path,
        cluster: str = "slurm",
        slots: int = 64,
        poll_s: float = POLL_S,
        **parameters: Any,
    ):
        with naming_extra("launcher 'slurm'"):
            import submitit
        self.slots, self._poll_s = slots, poll_s
        self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        self._executor.update_parameters(
            **{
                "name": "autollm-lab",
                "cpus_per_task": 1,
                "timeout_min": 240,
                **parameters,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Jobs in the queue stay there: their logs count when the sweep is resumed."""

    def submit(self, work: Callable[..., None], *arguments: Any) -> Any:
        return self._executor.submit(_single_threaded, work, *arguments)

    def wait(self, tickets: Sequence[Any]) -> list[Any]:
        while not (ended := [t for t in tickets if t.done()]):
            time.sleep(self._poll_s)
        return ended

    def result(self, ticket: Any) -> None:
        ticket.result()


def load_launcher(name: str, jobs: int, folder: Path) -> Launcher:
    """A launcher by name; `jobs` are processes here or jobs in the queue.

    Raises:
        UnknownNameError: no such launcher. SetupError: its package is not installed.
    """
    if name == "local":
        return LocalLauncher(jobs)
    if name == "slurm":
        return SubmititLauncher(folder, slots=jobs)
    raise UnknownNameError("launcher", name, LAUNCHERS)


def _begin_worker() -> None:
    """Use one thread, and stop when the runner is killed: its successor would otherwise
    train the same runs a second time.
    """
    die_with_parent()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


def _single_threaded(work: Callable[..., None], *arguments: Any) -> None:
    """On a node: one thread, and nothing else of the local pool's rules (a job outlives
    its submitter).
    """
    import torch

    torch.set_num_threads(1)
    work(*arguments)
