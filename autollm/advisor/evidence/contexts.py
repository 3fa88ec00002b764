"""Settings that are never pooled (tokenizer, data, optimizer ...): which of their values
counts.

The one that the user names, else the one that the plan to be checked names, else the
one with most outcomes, of as many the one with the largest size. Where every size has a
value of its own, what the setting does and what scale does cannot be told apart:
`confounded`.

Invariant: runs of two contexts never stand in one experiment table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute

from autollm.advisor.words import last_part, several
from autollm.core.errors import QuestionError, UnknownNameError

Marts = dict[str, pa.Table]
Notes = tuple[tuple[str, str], ...]
NO_CONTEXT = "{}"


@dataclass(frozen=True)
class _Found:
    """A context's experiments, their fidelities, and how many runs have an outcome."""

    experiments: set[str]
    fidelities: set[str]
    n_outcomes: int

    @property
    def rank(self) -> tuple[int, float]:
        """Most outcomes first; of as many the one that reaches the largest size."""
        sizes = [json.loads(text).values() for text in self.fidelities]
        return -self.n_outcomes, -max(map(math.prod, sizes), default=0.0)


def choose_context(
    marts: Marts,
    wanted: Mapping[str, str],
    planned: Mapping[str, Any] | None = None,
) -> tuple[Marts, Notes, dict[str, str]]:
    """The marts of one context, what is to be said of the others, and that context.
    `planned`: a configuration, whose context counts where none is `wanted`.

    Raises:
        QuestionError: no run has what was `wanted`.
    """
    if "context_json" not in marts["stg_runs"].column_names:
        return marts, (), {}
    contexts = _contexts(marts)
    known = dict(contexts)
    notes: list[tuple[str, str]] = []
    if not wanted:
        wanted, notes = _of_plan(planned or {}, contexts)
    if wanted:
        known = _fitting(contexts, wanted)
    kept = min(known, key=lambda c: (*known[c].rank, c))
    if len(contexts) > 1:
        others = len(contexts) - 1
        text = (
            f"only runs of {_in_words(kept)} count; {several(others, 'other context')} "
            f"{'is' if others == 1 else 'are'} left out"
        )
        another = _spelled(kept, contexts)
        if another and not wanted:
            text += f". Fix: --context {another} for another one"
        notes.append(("context-left-out", text))
        notes += _confounded(contexts)
    chosen = pa.array(sorted(known[kept].experiments))
    out = {}
    for name, mart in marts.items():
        if len(contexts) > 1 and "experiment_id" in mart.column_names:
            among = pa.compute.is_in(mart["experiment_id"], chosen)
            mart = mart.filter(among)
        out[name] = mart
    context = {k: str(v) for k, v in json.loads(kept).items()}
    return out, tuple(notes), context


def _in_words(context: str) -> str:
    """`tokenizer = bpe, data = v2`."""
    values = json.loads(context)
    told = [f"{name} = {value}" for name, value in values.items()]
    return ", ".join(told) or "no context"


def _of_plan(
    planned: Mapping[str, Any], contexts: Mapping[str, _Found]
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The context that a plan names, and a note on what it names and no run has."""
    values = _values(t for t, found in contexts.items() if found.n_outcomes)
    named: dict[str, str] = {}
    notes = []
    for key, value in planned.items():
        name = next((n for n in values if last_part(n) == last_part(key)), "")
        if not name:
            continue
        known = sorted({v.lower() for v in values[name]})
        if str(value).lower() in known:
            named[name] = str(value)
        else:
            text = (
                f"your plan says {key} = {value}, and no run of yours has it "
            )
            text += f"({', '.join(known)})"
            notes.append(("context-left-out", f"{text}: judge it with care"))
    return named, notes


def _values(contexts: Iterable[str]) -> dict[str, set[str]]:
    """By setting, the values that it has in contexts."""
    values: dict[str, set[str]] = {}
    for text in contexts:
        for name, value in json.loads(text).items():
            values.setdefault(name, set()).add(str(value))
    return values


def _contexts(marts: Marts) -> dict[str, _Found]:
    """Contexts by their JSON, of runs in any state."""
    with_outcome = set(marts["mart_gym__outcomes"]["experiment_id"].to_pylist())
    found: dict[str, _Found] = {}
    columns = ["experiment_id", "context_json", "fidelity_json"]
    for run in marts["stg_runs"].select(columns).to_pylist():
        context = run["context_json"] or NO_CONTEXT
        here = found.get(context, _Found(set(), set(), 0))
        here.experiments.add(run["experiment_id"])
        counts = run["experiment_id"] in with_outcome
        if counts:
            here.fidelities.add(run["fidelity_json"])
        found[context] = _Found(
            here.experiments, here.fidelities, here.n_outcomes + counts
        )
    return found


def _fitting(
    contexts: Mapping[str, _Found], wanted: Mapping[str, str]
) -> dict[str, _Found]:
    """Those that have all wanted values."""
    values = _values(contexts)
    for name in wanted:
        if name not in values:
            raise QuestionError(
                f"--context: {UnknownNameError('setting', name, values)}"
            )
    found = {}
    for text, context in contexts.items():
        here = {k: str(v).lower() for k, v in json.loads(text).items()}
        fits = all(here.get(n) == v.lower() for n, v in wanted.items())
        if fits and context.n_outcomes:
            found[text] = context
    if not found:
        asked = ",".join(f"{n}={v}" for n, v in wanted.items())
        listed = "; ".join(
            f"{n}: {', '.join(sorted(values[n]))}" for n in wanted
        )
        raise QuestionError(
            f"--context {asked}: no run with an outcome has it. Known: {listed}."
        )
    return found


def _spelled(kept: str, contexts: Mapping[str, _Found]) -> str:
    """Another context with an outcome, as it is asked for; empty where there is none,
    or it has no setting to name it by."""
    for text in sorted(set(contexts) - {kept, NO_CONTEXT}):
        if contexts[text].n_outcomes:
            values = json.loads(text)
            return ",".join(f"{name}={value}" for name, value in values.items())
    return ""


def _confounded(contexts: Mapping[str, _Found]) -> list[tuple[str, str]]:
    """A note where no fidelity has runs of two contexts, and there are several."""
    with_outcomes = [c for c in contexts.values() if c.n_outcomes]
    fidelities = [f for c in with_outcomes for f in c.fidelities]
    if len(with_outcomes) < 2 or len(set(fidelities)) < len(fidelities):
        return []
    text = (
        f"{' and '.join(_changing(contexts))} changes with scale and never within one: "
        "what it does and what scale does cannot be told apart. Fix: runs of both at one "
        "size."
    )
    return [("confounded-context", text)]


def _changing(contexts: Iterable[str]) -> list[str]:
    """Settings that have not the same value in all contexts."""
    first, *others = (json.loads(text) for text in contexts)
    names = sorted(set().union(first, *others))
    changing = []
    for name in names:
        if any(other.get(name) != first.get(name) for other in others):
            changing.append(name)
    return changing
