"""What a proposal comes to: the mapping tried on the rows, told in words and numbers.

Invariant: the numbers are counted on what the mapping really made of the rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from autollm.core.mapping import Mapping
from autollm.core.values import Style
from autollm.logs.mapped.mapper import Mapper
from autollm.logs.proposals.notes import Notebook
from autollm.logs.relation import BadLines, Relation

LEAST_SHARE = 0.5
"""Of the rows must land, else the proposal is an error."""
THIN = 3
"""Rows of an experiment below which it says nothing about a choice."""
SHOWN = 5
RECIPE = 1
"""The value of the knob that stands for all settings where none varies."""


@dataclass
class Trial:
    """What a mapping makes of the rows of a table. `reasons`: the first ones why rows
    are set aside.
    """

    n_land: int = 0
    n_set_aside: int = 0
    reasons: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    runs: list[dict[str, Any]] = field(default_factory=list)


_COLUMNS = (
    "run_id",
    "status",
    "objective_value",
    "config_json",
    "fidelity_json",
)
_CONTEXT = "context_json"


def try_mapping(
    relations: Sequence[Relation], mapping: Mapping, file: str
) -> Trial:
    """Map the rows that were looked at.

    Raises:
        MappingError: the mapping does not fit the table.
    """
    trial = Trial()
    mapper = Mapper()
    styles: dict[str, Style] = {}
    try:
        for relation in relations:
            _take_bad(trial, relation.bad, file)
            if relation.runs.num_rows:
                mapped = mapper.map(relation, mapping, styles)
                runs = mapped.runs
                if mapping.run_key.repeated == "quarantine":
                    runs = _of_new_keys(trial, runs)
                _take(trial, runs, mapped.bad, file)
    finally:
        mapper.connection.close()
    return trial


def _of_new_keys(trial: Trial, runs: pa.Table) -> pa.Table:
    """The runs whose key no earlier one has; the others are set aside as landing does."""
    rows = []
    for row, key in enumerate(runs.column("run_id").to_pylist()):
        if key in trial.keys:
            trial.n_set_aside += 1
            trial.reasons.append(f"the run {key!r:.60} stands there already")
        else:
            rows.append(row)
        trial.keys.add(key)
    del trial.reasons[SHOWN:]
    return runs.take(pa.array(rows, pa.int64()))


def _take_bad(trial: Trial, bad: Sequence[BadLines], file: str) -> None:
    for part in bad:
        trial.n_set_aside += part.n_lines
        if len(trial.reasons) < SHOWN:
            trial.reasons.append(f"{file} line {part.line}: {part.reason:.200}")


def _take(trial: Trial, runs: pa.Table, bad: pa.Table, file: str) -> None:
    trial.n_land += runs.num_rows
    trial.n_set_aside += bad.num_rows
    for row in bad.slice(0, max(0, SHOWN - len(trial.reasons))).to_pylist():
        trial.reasons.append(f"{file} line {row['line']}: {row['reason']:.200}")
    names = [n for n in (*_COLUMNS, _CONTEXT) if n in runs.column_names]
    trial.runs += runs.select(names).to_pylist()


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


def summarize(
    trial: Trial, mapping: Mapping, book: Notebook, source: str
) -> Summary:
    """The summary of a mapping that was tried."""
    statuses = Counter(run["status"] for run in trial.runs)
    experiments: dict[str, list[dict[str, Any]]] = {}
    for run in trial.runs:
        where = run["fidelity_json"] + (run.get(_CONTEXT) or "")
        experiments.setdefault(where, []).append(run)
    knobs = _knob_values(trial)
    ladder = []
    for rows in experiments.values():
        best = _best(rows, mapping.objective.direction)
        size = json.loads(rows[0]["fidelity_json"])
        context = json.loads(rows[0].get(_CONTEXT) or "{}")
        entry = {
            "fidelity": size,
            "n_runs": len(rows),
            "best": best and best["value"],
        }
        ladder.append(entry | ({"context": context} if context else {}))
    ladder.sort(key=lambda entry: tuple(entry["fidelity"].values()))
    best = _best_of_largest(experiments, ladder, mapping)
    _say_thin(book, ladder, len(trial.runs))
    n_doubts = len(book.notes) + len(book.questions)
    summary = Summary(
        trial.n_land,
        trial.n_set_aside,
        len(experiments),
        dict(statuses),
        knobs,
        ladder,
        best,
        n_doubts,
        "",
    )
    return _with_text(summary, mapping, source, not book.questions)


def _knob_values(trial: Trial) -> dict[str, list[Any]]:
    values: dict[str, dict[str, Any]] = {}
    for run in trial.runs:
        for name, value in json.loads(run["config_json"]).items():
            values.setdefault(name, {})[json.dumps(value)] = value
    return {name: list(found.values()) for name, found in values.items()}


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


def _best_of_largest(
    experiments: dict[str, list[dict[str, Any]]],
    ladder: list[dict[str, Any]],
    mapping: Mapping,
) -> dict[str, Any] | None:
    if not ladder:
        return None
    top = ladder[-1]["fidelity"]
    rows = []
    for found in experiments.values():
        if json.loads(found[0]["fidelity_json"]) == top:
            rows += found
    return _best(rows, mapping.objective.direction)


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


def _with_text(
    summary: Summary, mapping: Mapping, source: str, is_decided: bool
) -> Summary:
    objective, own = mapping.objective, mapping.own_names
    totals = {knob.name: knob.total for knob in mapping.knobs}
    knobs = {}
    for name, values in summary.knobs.items():
        shown = [_in_unit(value, totals.get(name, 1)) for value in values]
        knobs[own.get(name, name)] = shown
    lines = [
        f"{source}: {summary.n_runs} runs land, {summary.n_set_aside} lines are set aside; "
        f"{_counted(summary.statuses)}",
        f"{summary.n_experiments} experiments on the ladder "
        f"{', '.join(q.name for q in mapping.fidelity)}: {_rungs(summary.ladder)}",
        "knobs: " + ("; ".join(_knob_words(knobs)) or "none varies"),
    ]
    goal = own.get(objective.name, objective.name)
    direction = objective.direction if is_decided else "direction not said"
    if summary.best and is_decided:
        config = _configuration(summary.best["configuration"], own, totals)
        of = f"of run {summary.best['run']}" + (
            f" ({config:.200})" if config else ""
        )
        lines.append(
            f"best {goal} ({direction}) at the largest size: "
            f"{summary.best['value']:g} {of}"
        )
    else:
        lines.append(f"objective: {goal} ({direction})")
    doubts = summary.n_doubts
    lines.append(
        f"doubtful: {doubts} notes above" if doubts else "nothing is doubtful"
    )
    values = vars(summary) | {"text": "\n".join(lines)}
    return Summary(**values)


def _counted(statuses: dict[str, int]) -> str:
    return (
        ", ".join(f"{n} {status}" for status, n in statuses.items()) or "no run"
    )


def _rungs(ladder: list[dict[str, Any]]) -> str:
    shown = []
    for entry in ladder[:SHOWN]:
        size = ", ".join(f"{k}={v:.4g}" for k, v in entry["fidelity"].items())
        shown.append(f"{size} ({entry['n_runs']} runs)")
    more = f" and {len(ladder) - SHOWN} more" if len(ladder) > SHOWN else ""
    return "; ".join(shown) + more


def _in_unit(value: Any, total: float) -> Any:
    """Shares of a mixture in the unit of its table: percent add up to 100."""
    if not isinstance(value, dict):
        return value
    return {part: share * total for part, share in value.items()}


def _configuration(
    chosen: dict[str, Any], own: dict[str, str], totals: dict[str, float]
) -> str:
    words = []
    for name, value in chosen.items():
        shown = _in_unit(value, totals.get(name, 1))
        if isinstance(shown, dict):
            words += [f"{part}={share:.4g}" for part, share in shown.items()]
        else:
            words.append(f"{own.get(name, name)}={value}")
    return ", ".join(words)


def _part_words(mixtures: list[dict[str, float]]) -> str:
    """The parts of a mixture with their ranges, the first ones."""
    words = []
    for part in dict.fromkeys(name for found in mixtures for name in found):
        shares = [found.get(part, 0.0) for found in mixtures]
        words.append(f"{part} {min(shares):.4g} to {max(shares):.4g}")
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def _knob_words(knobs: dict[str, list[Any]]) -> list[str]:
    words = []
    if list(knobs.values()) == [[RECIPE]]:
        return []
    for name, values in knobs.items():
        if all(isinstance(v, (int, float)) for v in values):
            words.append(
                f"{name} {min(values):g} to {max(values):g} ({len(values)})"
            )
        elif all(isinstance(v, dict) for v in values):
            words.append(f"{name}: {_part_words(values)} ({len(values)})")
        else:
            shown = ", ".join(f"{value}" for value in values[:4])
            words.append(f"{name} {shown:.80} ({len(values)})")
    return words


def check_share(trial: Trial) -> str:
    """Why a mapping may not stand; empty when at least half of the rows land."""
    n_all = trial.n_land + trial.n_set_aside
    if n_all and trial.n_land >= LEAST_SHARE * n_all and trial.n_land:
        return ""
    reasons = "; ".join(trial.reasons[:3]) or "no reason was given"
    return (
        f"with this mapping only {trial.n_land} of {n_all} rows land. First reasons: "
        f"{reasons}. Fix: correct the mapping, or the table."
    )
