"""The guard between training and what an agent is scored on.

Held out is every experiment that is a test target of any suite: it may be evidence when
the agent is tested, but never a target in training or selection. Checked where
trajectories are made, where they are loaded, and before RL begins. Invariant: a
checkpoint's `experiments` lists every recorded target that it or a parent was trained
on.
"""

from __future__ import annotations

from collections.abc import Iterable

from autollm.core.errors import CheckpointError
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.suites import held_out


def assert_no_held_out(
    targets: Iterable[str], where: str, table: OutcomeTable | None = None
) -> None:
    """Check that no training or selection target is held out.

    Args:
        table: what suites name by a fidelity is then resolved to its experiments.

    Raises:
        CheckpointError: one is; the message names it.
    """
    leaked = sorted(set(targets) & held_out(table))
    if leaked:
        more = f" and {len(leaked) - 1} more" if len(leaked) > 1 else ""
        raise CheckpointError(
            f"{where} holds the held-out experiment {leaked[0]}{more} as a target. "
            "Expected: targets of train "
            "splits only. Fix: take it out of the train split, or train anew on "
            "trajectories without it."
        )


def training_targets(metadata: dict) -> list[str]:
    """Recorded targets that a checkpoint (or set of trajectories) was trained on."""
    return list(metadata.get("experiments") or [])
