"""How a run ended, in one vocabulary, and the words that tools and people write for it.

    finished   ran to its planned end
    diverged   ran, but its objective is not finite or has blown up
    failed     broke: an error, out of memory, a lost node
    killed     was stopped from outside: by a person, a time limit, preemption
    pruned     was stopped by the search, for its results
    running    has not ended yet, or has not begun

Invariant: a word that is not in the table has no status. It is reported, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Status = Literal[
    "finished", "diverged", "failed", "killed", "pruned", "running"
]
OUTCOMES: tuple[Status, ...] = ("finished", "diverged")
"""Statuses with which a run is an outcome at landing (docs/mapping-files.md)."""

_WORDS: dict[Status, tuple[str, ...]] = {
    "finished": (
        "finished",  # wandb, mlflow (FINISHED)
        "complete",  # optuna (COMPLETE)
        "completed",  # slurm, sagemaker
        "terminated",  # ray tune: ended as planned, or stopped by its own rule
        "succeeded",  # kubernetes, vertex
        "success",
        "successful",
        "done",
        "ok",
        "okay",
        "pass",
        "passed",
        "keep",  # kept or discarded: the run itself ended well
        "kept",
        "discard",
        "discarded",
        "closed",  # clearml
        "published",
    ),
    "diverged": (
        "diverged",
        "diverges",
        "divergence",
        "div",
        "exploded",
        "blew_up",
        "blown_up",
        "collapsed",  # a policy whose reward fell to nothing
        "collapse",
        "unstable",
        "loss_spike",
        "loss_spikes",
        "spiked",
        "did_not_converge",
        "not_converged",
    ),
    "failed": (
        "failed",  # wandb, mlflow (FAILED)
        "fail",  # optuna (FAIL)
        "failure",
        "crashed",  # wandb
        "crash",
        "error",  # ray tune (ERROR)
        "errored",
        "node_fail",  # slurm
        "boot_fail",  # slurm
        "out_of_memory",  # slurm
        "oom",
        "cuda_oom",
        "gpu_oom",
        "oom_killed",
        "oom_error",
        "cuda_out_of_memory",
        "broken",
        "aborted",
    ),
    "killed": (
        "killed",  # wandb, mlflow (KILLED)
        "cancelled",  # slurm
        "canceled",
        "stopped",  # clearml, sagemaker
        "interrupted",
        "preempted",  # slurm, wandb
        "timeout",  # slurm
        "timed_out",
        "deadline",  # slurm
        "revoked",  # slurm
        "terminating",
    ),
    "pruned": (
        "pruned",  # optuna (PRUNED)
        "early_stopped",
        "stopped_early",
        "halted",
    ),
    "running": (
        "running",  # everybody
        "waiting",  # optuna
        "pending",  # ray tune, slurm, wandb
        "scheduled",  # mlflow (SCHEDULED)
        "queued",
        "paused",  # ray tune
        "suspended",  # slurm
        "starting",
        "preempting",  # wandb
        "in_progress",
        "unfinished",
        "incomplete",
        "created",
    ),
}
STATUSES: tuple[Status, ...] = tuple(_WORDS)


def _by_word() -> Mapping[str, Status]:
    table: dict[str, Status] = {}
    for status, words in _WORDS.items():
        for word in words:
            table[word] = status
    return MappingProxyType(table)


STATUS_OF_WORD: Mapping[str, Status] = _by_word()
"""Every known word, lower case, words joined by underscores."""

_SEPARATORS = re.compile(r"[\s_-]+")
_MARKS = re.compile(r"^[^\w?]+|[^\w?]+$")
_ENUM_PREFIXES = ("trialstate.", "runstatus.", "status.", "state.")


def status_of(word: object) -> Status | None:
    """The status that a state column's cell says; None for an unknown word.

    Case, marks around it ("✗ failed", "(OOM)") and the separator do not count ("Timed
    Out"), nor do the name of an enumeration before it ("TrialState.COMPLETE") and what
    Slurm writes after it ("CANCELLED by 1000", "CANCELLED+").
    """
    if not isinstance(word, str):
        return None
    text = _SEPARATORS.sub("_", _MARKS.sub("", word.lower()))
    for prefix in _ENUM_PREFIXES:
        text = text.removeprefix(prefix)
    text = text.split("_by_")[0]
    return STATUS_OF_WORD.get(text)
