"""A user's logs as evidence: one source's runs as an outcome table, with the names that
its columns have in the user's own files.

Everything happens in a temporary folder that is removed: nothing of the user's is
written anywhere.

Invariant: every run that landed is counted, also those without an outcome.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from autollm.advisor.evidence.contexts import choose_context
from autollm.advisor.evidence.marts import build_marts, origins_in, rows_of
from autollm.advisor.evidence.reading import (
    Cells,
    LogOptions,
    check_followed,
    columns_of,
    land,
    raw_cells,
    unreadable,
)
from autollm.advisor.evidence.resting import rested
from autollm.advisor.evidence.seeds import without_seed_shifts
from autollm.advisor.evidence.steps import with_steps
from autollm.advisor.evidence.unfinished import (
    Bounds,
    bounds_of,
    reached_outcomes,
    with_reached,
)
from autollm.advisor.words import last_part
from autollm.core.errors import (
    AdviceError,
    AutoLLMError,
    SetupError,
    UnknownNameError,
)
from autollm.core.files import is_local, local_path, scratch_folder
from autollm.core.ids import Origin
from autollm.core.records import content_hash
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.logs.choosing.catalog import (
    builtin_mappings,
    load_mapping,
    own_mappings,
)

PARAMETRIZATION = re.compile(r"param(etri[sz]ation|eteri[sz]ation|_type)")
MUP = re.compile(r"(use_?)?(u_?)?mup")
"""Columns that declare how the width enters a model's rates."""
SEEDS = "seeds"
"""Code of the note on seeds' common shifts."""
REACHED = "reached"
"""Code of the note on stopped runs that are outcomes."""
MARTS = ("mart_gym__outcomes", "dim_spaces", "fct_learning_curves", "stg_runs")


@dataclass(frozen=True)
class Evidence:
    """One source.

    Attributes:
        table: its experiments with an outcome, cheapest first.
        runs: every landed run as stg_runs has it, and `cells`, its raw cells.
        columns: canonical name -> the user's column, of knobs, fidelities, objective.
        notes: (code, text) of what was guessed while reading.
        constants: columns that have one value in every run.
    """

    source: str
    table: OutcomeTable
    runs: tuple[dict[str, Any], ...]
    columns: dict[str, str]
    notes: tuple[tuple[str, str], ...] = ()
    constants: dict[str, Any] = field(default_factory=dict)
    sd_replicas: float | None = None
    """Pooled sd of replicas of one configuration, objective's unit; None without any."""
    has_flops: bool = True
    """Whether costs are FLOPs; if not, they only order the experiments."""
    context: dict[str, str] = field(default_factory=dict)
    """Settings that are never pooled, and the parametrization where it is declared."""
    bounds: dict[str, Bounds] = field(default_factory=dict)
    """By experiment: stopped runs that are no outcomes, as inequalities."""

    @property
    def table_id(self) -> str:
        return self.table.table_id

    @cached_property
    def experiment_runs(self) -> dict[str, list[dict[str, Any]]]:
        """Runs by experiment id."""
        found: dict[str, list[dict[str, Any]]] = {}
        for run in self.runs:
            found.setdefault(run["experiment_id"], []).append(run)
        return found

    def native(self, name: str) -> str:
        """The user's own name of a knob, fidelity or objective."""
        return self.columns.get(name) or name

    def names_of_objective(self, canonical: str) -> tuple[str, ...]:
        """Its column, its canonical name, and its last part where no other metric or
        column ends so.
        """
        column = self.native(canonical)
        last = last_part(column)
        others = {name for run in self.runs for name in run["cells"]}
        for run in self.runs:
            others |= set(json.loads(run.get("secondary_json") or "{}"))
        others -= {column, canonical}
        names = [column, canonical]
        if not any(name.endswith(last) for name in others):
            names.append(last)
        return tuple(dict.fromkeys(names))


def read_evidence(
    paths: Iterable[str | Path], said: LogOptions, home: str = ""
) -> Evidence:
    """Read log files, tables or folders of them. `home`: where own mappings lie.

    Raises:
        AdviceError: nothing could be read, or more than one source and none was named.
        FileNotFoundError: a path does not exist.
    """
    with scratch_folder("advice") as folder:
        lake = str(folder)
        notes = land([str(p) for p in paths], lake, said, home)
        return _landed(lake, said, notes, is_guessed=not said.mapping)


def read_home(home: str, said: LogOptions) -> Evidence:
    """The evidence that has landed in a home, of the source that was named.

    Raises:
        AdviceError: nothing has landed, or more than one source and none was named.
        SetupError: the home is no local folder.
    """
    if not is_local(home):
        raise SetupError(
            f"the home {home} is no local folder, which DuckDB reads alone. Fix: name "
            "the logs, or --home FOLDER."
        )
    bronze = f"{local_path(home)}/bronze"
    if not any(Path(bronze).glob("batches/*/runs.parquet")):
        raise AdviceError(
            "unreadable",
            f"nothing has landed in {home}.",
            "autollm ingest PATH, or name the logs here.",
        )
    return _landed(local_path(home), said)


def _landed(
    home: str,
    said: LogOptions,
    notes: tuple[tuple[str, str], ...] = (),
    is_guessed: bool = False,
) -> Evidence:
    """The evidence of one source that landed in a local home, read by the mapping that
    was named, the home's own or a built-in one.
    """
    bronze = f"{home}/bronze"
    marts = build_marts(bronze, MARTS)
    origin = _one_origin(marts["mart_gym__outcomes"], said.source)
    mapping = None
    if said.mapping:
        mapping = load_mapping(said.mapping, home)
    else:
        known = builtin_mappings() | own_mappings(home)
        mapping = known.get(origin.source)
    is_guessed = is_guessed and origin.source not in builtin_mappings()
    if mapping is not None and not is_guessed:
        check_followed(said, mapping)
    found = evidence_of_marts(
        marts,
        origin.name,
        raw_cells(bronze),
        columns_of(mapping),
        notes,
        said.context,
        said.planned,
    )
    no_flops = mapping is not None and mapping.cost.guessed
    return replace(found, has_flops=found.has_flops and not no_flops)


def evidence_of_marts(
    marts: dict[str, pa.Table],
    source: str,
    cells: Cells,
    columns: dict[str, str],
    notes: tuple[tuple[str, str], ...] = (),
    wanted: Mapping[str, str] | None = None,
    planned: Mapping[str, Any] | None = None,
) -> Evidence:
    """Evidence from marts (MARTS) of any bronze. `source`: the name of an origin; empty
    where there is one alone. `wanted`: values of contexts; `planned`: a configuration
    that may say others.

    Raises:
        AdviceError: no run has an outcome, or several sources and none was named.
        QuestionError: no run has the wanted context.
    """
    outcomes = marts["mart_gym__outcomes"]
    origin = _one_origin(outcomes, source)
    mine = {name: _of_origin(mart, origin) for name, mart in marts.items()}
    mine, told, context = choose_context(mine, wanted or {}, planned or {})
    notes += told
    runs = mine["stg_runs"].sort_by([("run_id", "ascending")]).to_pylist()
    for run in runs:
        key = origin, run["run_id"]
        run["cells"], run["line"] = cells.get(key, ({}, 0))
    constants = _constants([r["cells"] for r in runs])
    context |= _declared(constants)
    outcomes = mine["mart_gym__outcomes"]
    shifted = without_seed_shifts(runs)
    if shifted is not runs:
        outcomes = _averaged_again(outcomes, shifted)
        notes += ((SEEDS, "what seeds shift in all cells alike is taken out"),)
    moved = reached_outcomes(runs)
    if moved:
        outcomes = with_reached(outcomes, moved)
        runs = _counted_there(runs, moved)
        notes += ((REACHED, _reached_text(moved)),)
    outcomes = _with_compute(outcomes)
    table = _outcome_table(outcomes, mine, context)
    return Evidence(
        origin.name,
        table,
        tuple(runs),
        columns,
        notes,
        constants,
        _replica_sd(outcomes),
        None not in mine["mart_gym__outcomes"]["compute_flops"].to_pylist(),
        context,
        bounds_of(runs, mine["fct_learning_curves"], _sign_of(outcomes)),
    )


def _averaged_again(outcomes: pa.Table, runs: list[dict[str, Any]]) -> pa.Table:
    """The outcome mart with means over the objectives of `runs`, where all replicas of a
    cell finished.
    """
    cells: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        if run["is_outcome"]:
            key = run["experiment_id"], run["config_id"]
            cells.setdefault(key, []).append(run["objective_value"])
    rows = outcomes.to_pylist()
    for row in rows:
        values = cells.get((row["experiment_id"], row["config_id"]), [])
        if values and row["n_diverged"] == 0:
            row["objective_mean"] = float(np.mean(values))
    return pa.Table.from_pylist(rows, schema=outcomes.schema)


def _counted_there(
    runs: list[dict[str, Any]], moved: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The runs, those of `moved` as outcomes where they count."""
    there = {run["run_id"]: run for run in moved}
    listed = []
    for run in runs:
        run = there.get(run["run_id"], run)
        counts = run["run_id"] in there
        listed.append(run | {"status": "finished"} if counts else run)
    return listed


def _reached_text(moved: list[dict[str, Any]]) -> str:
    return (
        f"{len(moved)} runs that were stopped count at what they reached, since their "
        "rate was constant or annealed there"
    )


def _sign_of(outcomes: pa.Table) -> float:
    direction = outcomes["objective_direction"][0].as_py()
    return -1.0 if direction == "max" else 1.0


def _one_origin(outcomes: pa.Table, source: str) -> Origin:
    origins = origins_in(outcomes)
    if not origins:
        raise AdviceError(
            "unreadable",
            "no run has an outcome.",
            "let runs that are still running come to their end, name the objective's "
            "column, --objective NAME:min, or correct the status rules of the mapping.",
        )
    if source and source not in origins:
        raise UnknownNameError("source", source, origins)
    if len(origins) > 1 and not source:
        listed = []
        for name in list(origins)[:12]:
            n_rows = rows_of(outcomes, origins[name]).num_rows
            listed.append(f"{name} ({n_rows} rows)")
        raise AdviceError(
            "several-sources",
            f"{len(origins)} groups of runs whose outcomes may not be compared: "
            f"{', '.join(listed)}.",
            "--source NAME.",
        )
    return origins[source or next(iter(origins))]


def _of_origin(mart: pa.Table, origin: Origin) -> pa.Table:
    """Rows of an origin without what names the landing."""
    kept = rows_of(mart, origin)
    return (
        kept.drop_columns(["batch_id"])
        if "batch_id" in kept.column_names
        else kept
    )


def _with_compute(outcomes: pa.Table) -> pa.Table:
    """Compute of every experiment; where the mapping gives none, the product of its
    fidelities orders them.
    """
    known = outcomes["compute_flops"].to_pylist()
    if None not in known:
        return outcomes
    products = [
        float(np.prod(list(json.loads(text).values())))
        for text in outcomes["fidelity_json"].to_pylist()
    ]
    at = outcomes.column_names.index("compute_flops")
    return outcomes.set_column(
        at, "compute_flops", pa.array(products, pa.float64())
    )


def _without_metrics(outcomes: pa.Table) -> pa.Table:
    """Outcomes without secondary metrics, which the advisor does not read: smoothing a
    judge's table of each took 20 of 28 s on 1,088 runs of 13 metrics.
    """
    at = outcomes.column_names.index("secondary_json")
    nothing = pa.array(["{}"] * outcomes.num_rows)
    return outcomes.set_column(at, "secondary_json", nothing)


def _declared(constants: Mapping[str, Any]) -> dict[str, str]:
    """The parametrization, where every run declares the same one."""
    found = {}
    for column, value in constants.items():
        word = column.lower().replace("/", ".").rsplit(".", 1)[-1]
        if PARAMETRIZATION.fullmatch(word):
            found["parametrization"] = str(value)
        elif MUP.fullmatch(word) and str(value).lower() in ("true", "1", "yes"):
            found["parametrization"] = "mup"
    return found


def _outcome_table(
    outcomes: pa.Table, marts: dict[str, pa.Table], context: Mapping[str, str]
) -> OutcomeTable:
    from autollm.snapshots.arrays import table_of_marts

    keys = [("experiment_id", "ascending"), ("config_id", "ascending")]
    outcomes = outcomes.sort_by(keys)
    table_id = content_hash(
        json.dumps(outcomes.to_pylist(), sort_keys=True, default=str)
    )
    try:
        table = table_of_marts(
            table_id,
            _without_metrics(outcomes),
            with_steps(marts["dim_spaces"], outcomes),
            marts["fct_learning_curves"],
            contexts=dict.fromkeys(
                outcomes["experiment_id"].to_pylist(), json.dumps(dict(context))
            ),
        )
    except AutoLLMError as error:
        raise unreadable(error) from error
    return rested(table)


def _constants(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Cells that have one value in every row, and are no text of a path's length."""
    if not rows or not rows[0]:
        return {}
    found = {}
    for name, value in rows[0].items():
        plain = (
            isinstance(value, (str, int, float, bool)) and len(str(value)) <= 60
        )
        if (
            plain
            and value != ""
            and all(row.get(name) == value for row in rows)
        ):
            found[name] = value
    return found


def _replica_sd(outcomes: pa.Table) -> float | None:
    """Pooled sd within configurations that were run more than once and never diverged."""
    total = 0.0
    freedom = 0
    columns = ["objective_sd", "n_replicas", "n_diverged"]
    for row in outcomes.select(columns).to_pylist():
        if row["objective_sd"] is not None and row["n_diverged"] == 0:
            total += (row["n_replicas"] - 1) * row["objective_sd"] ** 2
            freedom += row["n_replicas"] - 1
    return float(np.sqrt(total / freedom)) if freedom else None
