"""Every question of every source, asked and written down as it is answered.

Invariant: a question whose table, seed and code are as before is not asked again, and a
policy that reads and does what it did is not played again.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from autollm.advisor.deciding.study import Study
from autollm.advisor.judged.one_question import (
    ADVISOR,
    ask_advisor,
    exponents,
    optima,
    proposal_of,
    row_bootstrap,
    scored,
)
from autollm.advisor.judged.questions import (
    DrawnQuestion,
    HiddenExperiment,
    draw,
    hidden_experiments,
    sayable,
)
from autollm.advisor.judged.records import Records, made_by
from autollm.advisor.judged.sources import tables
from autollm.core.identity import code_digest, identity_of
from autollm.core.progress import Progress
from autollm.gym.tasks.view import TaskView
from autollm.policies.registry import (
    REGISTRY,
    module_of,
    policy_ids,
    why_absent,
)

ONE_QUESTION = "autollm.advisor.judged.one_question"
BOOTSTRAPPED_SEED = 0
"""The seed whose rows are bootstrapped: twenty fits a question."""
NOT_SAID = (
    ": its evidence has no value of what the target's configurations are made of, so "
    "that nobody could propose one."
)
SEES_TARGET = ("oracle",)
"""Policies that read the hidden experiment."""


def playable() -> tuple[str, ...]:
    """Policies that are installed and see no target."""
    found = []
    for policy in policy_ids():
        if policy not in SEES_TARGET and not why_absent(policy):
            found.append(policy)
    return tuple(found)


def questions_of(
    paths: Mapping[str, Path],
) -> Iterator[HiddenExperiment]:
    """All questions of the sources, one source landed at a time."""
    for name, path in paths.items():
        for table in tables(name, path):
            for hidden in hidden_experiments(table):
                if sayable(hidden):
                    yield hidden
                else:
                    print(
                        f"left out: {hidden.question_id}{NOT_SAID}",
                        file=sys.stderr,
                    )


def answer_all(
    questions: Sequence[HiddenExperiment],
    policies: Sequence[str],
    n_seeds: int,
    records: Records,
) -> list[dict[str, Any]]:
    """The answers of all questions under all seeds, in their order."""
    progress = Progress("advice judge", len(questions) * n_seeds)
    found = []
    for seed in range(n_seeds):
        for hidden in questions:
            found.append(answer(hidden, seed, policies, records))
            progress.reach(len(found), hidden.question_id)
    progress.close()
    return found


def answer(
    hidden: HiddenExperiment,
    seed: int,
    policies: Sequence[str],
    records: Records,
) -> dict[str, Any]:
    """One question under one seed: what the advice and every policy picked, and what
    the study said.
    """
    key = f"{hidden.question_id} | {seed}"
    identity = made_by(
        ONE_QUESTION,
        hidden.table.whole.table_id,
        policies={p: _policy_code(p) for p in policies},
    )
    return records.known(
        "picks",
        key,
        identity,
        lambda: _answered(draw(hidden, seed), policies, records, key),
    )


def _policy_code(policy_id: str) -> str:
    return code_digest([module_of(policy_id)], REGISTRY)


def _answered(
    drawn: DrawnQuestion, policies: Sequence[str], records: Records, key: str
) -> dict[str, Any]:
    found, pick = ask_advisor(drawn)
    picks: dict[str, Any] = {ADVISOR: pick.as_row()}
    for policy in policies:
        proposed = _proposed(drawn, policy, records, key)
        if proposed["cannot"]:
            continue
        scored_pick = scored(
            drawn,
            found,
            proposed["configuration"],
            proposed["seconds"],
            proposed["error"],
        )
        picks[policy] = scored_pick.as_row()
    return _facts(drawn, found) | {"picks": plain(picks)}


def _proposed(
    drawn: DrawnQuestion, policy: str, records: Records, key: str
) -> dict[str, Any]:
    """A policy's proposal, known or asked for."""
    identity = identity_of(
        {"reads": view_digest(drawn.view), "code": _policy_code(policy)}
    )
    return records.known(
        "proposals",
        f"{key} | {policy}",
        identity,
        lambda: plain(proposal_of(drawn, policy)),
    )


def _facts(
    drawn: DrawnQuestion,
    found: Study,
) -> dict[str, Any]:
    """What the answer says beside its picks, and what is known of the truth."""
    hidden = drawn.hidden
    loss = drawn.losses
    knobs = [asdict(optimum) for optimum in optima(drawn, found)]
    laws = [asdict(law) for law in exponents(drawn, found)]
    facts: dict[str, Any] = {
        "source": hidden.table.source,
        "table": hidden.table.name,
        "question": hidden.question_id,
        "seed": drawn.seed,
        "surrogate": hidden.table.is_surrogate,
        "times_evidence": hidden.times_evidence,
        "far": hidden.is_far,
        "n_levels": len(hidden.evidence),
        "n_rows": len(drawn.rows),
        "decider": found.policy.policy_id,
        "spread": float(np.median(loss) - loss.min()),
        "expected_spread": found.spread,
        "direction": found.question.view.direction,
        "optima": knobs,
        "exponents": laws,
    }
    return plain(facts)


def bootstraps(
    questions: Sequence[HiddenExperiment], records: Records
) -> dict[str, list[float] | None]:
    """How far below and above its mean each forecast lies when rows are resampled, by
    question; of BOOTSTRAPPED_SEED alone.
    """
    progress = Progress("rows resampled", len(questions))
    found = {}
    for i, hidden in enumerate(questions, 1):
        identity = made_by(ONE_QUESTION, hidden.table.whole.table_id)
        known = records.known(
            "bootstraps",
            hidden.question_id,
            identity,
            lambda hidden=hidden: _bootstrapped(hidden),
        )
        found[hidden.question_id] = known["bounds"]
        progress.reach(i, hidden.question_id)
    progress.close()
    return found


def _bootstrapped(hidden: HiddenExperiment) -> dict[str, Any]:
    found, _ = ask_advisor(draw(hidden, BOOTSTRAPPED_SEED))
    has_law = found.loss_law is not None
    return {"bounds": plain(row_bootstrap(found)) if has_law else None}


def view_digest(view: TaskView) -> str:
    """16 hex digits over all numbers that a policy reads."""
    digest = hashlib.sha256()
    arrays = [view.candidates, view.target_z, view.space.window]
    for experiment in view.evidence:
        arrays += [experiment.z, experiment.points, experiment.loss]
        arrays.append(experiment.diverged)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr(view.space.to_json()).encode())
    return digest.hexdigest()[:16]


def plain(value: Any) -> Any:
    """JSON values of dictionaries, sequences and numpy's numbers; an infinity is
    None.
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
