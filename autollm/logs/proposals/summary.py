"""What a proposal comes to: the mapping tried on the rows, told in words and numbers.

Invariant: the numbers are counted on what the mapping really made of the rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autollm.core.mappings.mapping import Mapping
from autollm.core.values import Style
from autollm.logs.mapped.mapper import Mapper
from autollm.logs.proposals.notes import Notebook
from autollm.logs.relation import Relation

LEAST_SHARE = 0.5
"""Of the rows must land, else the proposal is an error."""
THIN = 3
"""Rows of an experiment below which it says nothing about a choice."""
SHOWN = 5
RECIPE = 1
"""The value of the knob that stands for all settings where none varies."""


_COLUMNS = (
    "run_id",
    "status",
    "objective_value",
    "config_json",
    "fidelity_json",
    "context_json",
    "is_outcome",
)


@dataclass
class Trial:
    """What a mapping makes of the rows of a table. `reasons`: the first ones why rows
    are set aside.
    """

    n_land: int = 0
    n_set_aside: int = 0
    reasons: list[str] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Of the rows that land; 0 of none."""
        return self.n_land / max(1, self.n_land + self.n_set_aside)

    def set_aside(self, reason: str, n_lines: int = 1) -> None:
        """Count lines that do not land."""
        self.n_set_aside += n_lines
        if len(self.reasons) < SHOWN:
            self.reasons.append(reason)


def try_mapping(
    relations: Sequence[Relation], mapping: Mapping, file: str
) -> Trial:
    """Map the rows that were looked at; a key that stands there already is set aside, as
    landing does.

    Raises:
        MappingError: the mapping does not fit the table.
    """
    trial, keys = Trial(), set()
    mapper = Mapper()
    styles: dict[str, Style] = {}
    may_repeat = mapping.run_key.repeated != "quarantine"
    try:
        for relation in relations:
            for part in relation.bad:
                reason = f"{file} line {part.line}: {part.reason:.200}"
                trial.set_aside(reason, part.n_lines)
            if not relation.runs.num_rows:
                continue
            mapped = mapper.map(relation, mapping, styles)
            for row in mapped.bad.select(["line", "reason"]).to_pylist():
                trial.set_aside(
                    f"{file} line {row['line']}: {row['reason']:.200}"
                )
            for run in mapped.runs.select(_COLUMNS).to_pylist():
                key = run["run_id"]
                if may_repeat or key not in keys:
                    keys.add(key)
                    trial.runs.append(run)
                else:
                    trial.set_aside(f"the run {key!r:.60} stands there already")
    finally:
        mapper.connection.close()
    trial.n_land = len(trial.runs)
    return trial


@dataclass(frozen=True)
class Summary:
    """A proposal in numbers; `text` says them in words."""

    n_runs: int
    n_set_aside: int
    n_experiments: int
    statuses: dict[str, int]
    knobs: dict[str, list[Any]]
    ladder: list[dict[str, Any]]
    best: dict[str, Any] | None
    n_doubts: int
    text: str


def summarize(trial: Trial, mapping: Mapping, book: Notebook) -> Summary:
    """The summary of a mapping that was tried."""
    direction = mapping.objective.direction
    experiments: dict[tuple[str, str], list[dict[str, Any]]] = {}
    values: dict[str, dict[str, Any]] = {}
    for run in trial.runs:
        where = run["fidelity_json"], run["context_json"]
        experiments.setdefault(where, []).append(run)
        for name, value in json.loads(run["config_json"]).items():
            values.setdefault(name, {})[json.dumps(value)] = value
    # runs that broke off, each at a size of its own, are no experiments
    for where, runs in list(experiments.items()):
        if len(experiments) > 1 and not any(r["is_outcome"] for r in runs):
            del experiments[where]
    ladder = []
    for (fidelity, context), rows in experiments.items():
        best = _best(rows, direction)
        entry = {
            "fidelity": json.loads(fidelity),
            "n_runs": len(rows),
            "best": best and best["value"],
        }
        if context != "{}":
            entry["context"] = json.loads(context)
        ladder.append(entry)
    ladder.sort(key=lambda entry: tuple(entry["fidelity"].values()))
    largest = []
    for (fidelity, _), rows in experiments.items():
        if json.loads(fidelity) == ladder[-1]["fidelity"]:
            largest += rows
    _say_thin(book, ladder, trial.n_land)
    knobs = {name: list(found.values()) for name, found in values.items()}
    statuses = Counter(run["status"] for run in trial.runs)
    summary = Summary(
        trial.n_land,
        trial.n_set_aside,
        len(experiments),
        dict(statuses),
        knobs,
        ladder,
        _best(largest, direction),
        len(book.notes) + len(book.questions),
        "",
    )
    return replace(summary, text=_text(summary, mapping, not book.questions))


def _best(rows: list[dict[str, Any]], direction: str) -> dict[str, Any] | None:
    finished = [r for r in rows if r["status"] == "finished"]
    finished = [r for r in finished if r["objective_value"] is not None]
    if not finished:
        return None
    pick = min if direction == "min" else max
    best = pick(finished, key=lambda r: r["objective_value"])
    return {
        "run": best["run_id"],
        "value": best["objective_value"],
        "configuration": json.loads(best["config_json"]),
    }


def _say_thin(
    book: Notebook, ladder: list[dict[str, Any]], n_runs: int
) -> None:
    thin = [entry for entry in ladder if entry["n_runs"] < THIN]
    if len(thin) > 1 and sum(e["n_runs"] for e in thin) > n_runs / 2:
        book.say(
            "thin-experiments",
            f"{len(thin)} of {len(ladder)} experiments have fewer than {THIN} runs: they "
            "say how the outcome grows with size, and little about a choice. If the runs "
            "belong together, correct [[fidelity]] or [[context]].",
        )


def _text(summary: Summary, mapping: Mapping, is_decided: bool) -> str:
    """The summary in words. Knobs have the names and units of the table: shares that are
    percent there add up to 100.
    """
    goal, own = mapping.objective, mapping.own_names
    shared = Counter(
        own.values()
    )  # the rates of two optimizers are of one column
    totals = {knob.name: knob.total for knob in mapping.knobs}
    ladder = [
        f"{_shown(e['fidelity'])} ({e['n_runs']} runs)"
        for e in summary.ladder[:SHOWN]
    ]
    knobs = []
    for name, values in summary.knobs.items():
        shown = [_in_unit(value, totals[name]) for value in values]
        if values != [RECIPE] or len(summary.knobs) > 1:
            raw = own.get(name, name)
            knobs.append(_knob_words(raw if shared[raw] < 2 else name, shown))
    objective = own.get(goal.name, goal.name)
    best = f"objective: {objective} (direction not said)"
    if is_decided:
        best = f"objective: {objective} ({goal.direction})"
    if is_decided and summary.best:
        found = summary.best
        best = f"best {objective} ({goal.direction}) at the largest size: "
        best += f"{found['value']:g} of run {found['run']}"
        config = _configuration(found["configuration"], own, totals)
        best += f" ({config:.200})" if config else ""
    doubts = summary.n_doubts
    statuses = (f"{n} {s}" for s, n in summary.statuses.items())
    return "\n".join(
        (
            f"{mapping.source}: {summary.n_runs} runs land, {summary.n_set_aside} lines "
            f"are set aside; {', '.join(statuses) or 'no run'}",
            f"{summary.n_experiments} experiments on the ladder "
            f"{', '.join(q.name for q in mapping.fidelity)}: "
            f"{'; '.join(ladder)}{_more(summary.ladder)}",
            "knobs: " + ("; ".join(knobs) or "none varies"),
            best,
            f"doubtful: {doubts} notes above"
            if doubts
            else "nothing is doubtful",
        )
    )


def _shown(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name}={x:.4g}" for name, x in numbers.items())


def _more(entries: Sequence[Any]) -> str:
    n_more = len(entries) - SHOWN
    return f" and {n_more} more" if n_more > 0 else ""


def _in_unit(value: Any, total: float) -> Any:
    """Shares of a mixture in the unit of its table."""
    if not isinstance(value, dict):
        return value
    return {part: share * total for part, share in value.items()}


def _configuration(
    chosen: dict[str, Any], own: dict[str, str], totals: dict[str, float]
) -> str:
    words = []
    for name, value in chosen.items():
        shown = _in_unit(value, totals[name])
        is_mixture = isinstance(shown, dict)
        own_name = own.get(name, name)
        words.append(_shown(shown) if is_mixture else f"{own_name}={value}")
    return ", ".join(words)


def _knob_words(name: str, values: list[Any]) -> str:
    """A knob with the range of its values, or the first ones."""
    n = len(values)
    if all(isinstance(v, (int, float)) for v in values):
        return f"{name} {min(values):g} to {max(values):g} ({n})"
    if all(isinstance(v, dict) for v in values):
        parts = dict.fromkeys(part for found in values for part in found)
        words = []
        for part in parts:
            shares = [found.get(part, 0.0) for found in values]
            words.append(f"{part} {min(shares):.4g} to {max(shares):.4g}")
        return f"{name}: {', '.join(words[:SHOWN])}{_more(words)} ({n})"
    return f"{name} {', '.join(map(str, values[:4])):.80} ({n})"


def check_share(trial: Trial) -> str:
    """Why a mapping may not stand; empty when at least half of the rows land."""
    n_all = trial.n_land + trial.n_set_aside
    if trial.n_land and trial.share >= LEAST_SHARE:
        return ""
    reasons = "; ".join(trial.reasons[:3]) or "no reason was given"
    return (
        f"with this mapping only {trial.n_land} of {n_all} rows land. First reasons: "
        f"{reasons}. Fix: correct the mapping, or the table."
    )
