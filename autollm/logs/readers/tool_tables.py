"""Tables of runs that a tool exported, told by their columns: W&B's runs table and its
export script, MLflow's `search_runs` and the download of its page, Optuna's and Ray
Tune's data frames.

A table reader (CSV, JSON lines, Parquet) cuts the rows; here they get the key and the
roles that the tool's own columns have, and settings that stand as text of a dictionary
become columns (`config.lr`).

Rules
- Only a known set of columns makes a table a tool's; every other table passes unchanged.
- A column that names runs twice is no key, and a note says so.
- A row whose dictionary cannot be read is set aside by its line: part of it would be
  taken for the whole.

Invariant: rows in, less rows set aside, are the rows out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from autollm.core.errors import RecordError
from autollm.core.mapping_checks import TABLES
from autollm.logs.readers.documents import parse_mapping_text
from autollm.logs.readers.merged_cells import filled_down
from autollm.logs.readers.rows import column_of, flat_cells, metric_role
from autollm.logs.readers.wide_tables import unpivoted, with_repeats
from autollm.logs.reading import quote
from autollm.logs.relation import LINE_COLUMN, BadLines, Relation, Role

_MAX_COLUMNS = 10_000


@dataclass(frozen=True)
class Shape:
    """The columns by which a tool's table is known.

    Attributes:
        title: Whose table it is, for people.
        needs: All of these stand in it, as they are spelled.
        needs_one: And one of these, where there are any.
        needs_prefix: And a column that begins with one of these, where there are any.
        keys: The first of these that is there names a run.
    """

    title: str
    needs: tuple[str, ...]
    keys: tuple[str, ...]
    needs_one: tuple[str, ...] = ()
    needs_prefix: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    prefixes: Mapping[str, Role] = field(default_factory=dict)

    def fits(self, names: Sequence[str]) -> bool:
        """Whether these are its columns."""
        here = set(names)
        if not set(self.needs) <= here:
            return False
        if self.needs_one and not here & set(self.needs_one):
            return False
        if not self.needs_prefix:
            return True
        return any(name.startswith(self.needs_prefix) for name in names)


_WANDB_ROLES: dict[str, Role] = {
    "Name": "label",
    "name": "label",
    "ID": "label",
    "id": "label",
    "State": "status",
    "state": "status",
    "Notes": "label",
    "User": "label",
    "Tags": "label",
    "tags": "label",
    "Group": "label",
    "Job Type": "label",
    "Sweep": "label",
    "Hostname": "label",
    "Created": "time",
    "created_at": "time",
    "Updated": "time",
    "End Time": "time",
    "Runtime": "cost",
    "_runtime": "cost",
    "_timestamp": "time",
    "_step": "measured",
    "summary._runtime": "cost",
    "summary._timestamp": "time",
    "summary._step": "measured",
}
SHAPES = (
    Shape(
        "W&B's runs table",
        needs=("Name", "State"),
        keys=("ID", "Name"),
        needs_one=("Runtime", "Created", "_runtime", "_step", "_timestamp"),
        roles=_WANDB_ROLES,
        prefixes={"_wandb": "measured"},
    ),
    Shape(
        "a script over W&B's API",
        needs=(),
        keys=("id", "run_id", "name", "run"),
        needs_prefix=("summary.", "summary"),
        needs_one=("id", "run_id", "name", "run"),
        roles=_WANDB_ROLES,
        prefixes={"config.": "setting", "summary.": "result"},
    ),
    Shape(
        "MLflow's search_runs",
        needs=("run_id",),
        keys=("run_id",),
        needs_prefix=("metrics.", "params."),
        roles={
            "status": "status",
            "experiment_id": "label",
            "artifact_uri": "label",
            "start_time": "time",
            "end_time": "time",
        },
        prefixes={"params.": "setting", "metrics.": "result", "tags.": "label"},
    ),
    Shape(
        "MLflow's page",
        needs=("Start Time", "Duration", "Run ID", "Status"),
        keys=("Run ID",),
        roles={
            "Start Time": "time",
            "Duration": "cost",
            "Name": "label",
            "Run Name": "label",
            "Source Type": "label",
            "Source Name": "label",
            "User": "label",
            "Status": "status",
        },
    ),
    Shape(
        "Optuna's trials_dataframe",
        needs=("number", "state"),
        keys=("number",),
        needs_prefix=("params_", "value"),
        roles={
            "value": "result",
            "state": "status",
            "datetime_start": "time",
            "datetime_complete": "time",
            "duration": "cost",
        },
        prefixes={
            "params_": "setting",
            "values_": "result",
            "system_attrs_": "label",
        },
    ),
    Shape(
        "Ray Tune's results",
        needs=("trial_id", "training_iteration"),
        keys=("trial_id", "logdir"),
        needs_prefix=("config/",),
        roles={
            "training_iteration": "measured",
            "time_total_s": "cost",
            "time_this_iter_s": "measured",
            "time_since_restore": "measured",
            "iterations_since_restore": "measured",
            "timestamp": "time",
            "date": "time",
            "done": "measured",
            "pid": "label",
            "hostname": "label",
            "node_ip": "label",
            "logdir": "label",
            "experiment_tag": "label",
        },
        prefixes={"config/": "setting", "config.": "setting"},
    ),
)
_NESTED = frozenset(
    {
        "config",
        "params",
        "hparams",
        "hyperparameters",
        "args",
        "settings",
        "summary",
        "metrics",
        "results",
    }
)
"""Columns that may hold a dictionary as text."""


OF_PEOPLE = (*TABLES, "json", "markdown", "text-table")
"""Formats of tables that anybody writes."""


def recognized(relation: Relation) -> Relation:
    """The table with what its tool says of its columns; unchanged where no tool is
    known by them.
    """
    if relation.format not in OF_PEOPLE or relation.points is not None:
        return relation  # of a tool's own log its reader knows all
    relation = without_envelopes(_unnested(filled_down(relation)))
    relation = unpivoted(with_repeats(relation))
    names = relation.runs.column_names
    shape = next((shape for shape in SHAPES if shape.fits(names)), None)
    if shape is None:
        return relation
    key, notes = _key_of(relation, shape)
    roles: dict[str, Role] = {}
    for name in names:
        role = _role_of(name, shape)
        if role is not None:
            roles[name] = role
    if key:
        roles[key] = "key"
    return replace(
        relation,
        key=key,
        roles={**relation.roles, **roles},
        notes=(
            *relation.notes,
            f"its columns are those of {shape.title}",
            *notes,
        ),
    )


def _role_of(name: str, shape: Shape) -> Role | None:
    if name in shape.roles:
        return shape.roles[name]
    for prefix, role in shape.prefixes.items():
        if name.startswith(prefix):
            return (
                metric_role(name.removeprefix(prefix))
                if role == "result"
                else role
            )
    return None


def _key_of(relation: Relation, shape: Shape) -> tuple[str, list[str]]:
    """The column that names a run, and what is to be said of it."""
    notes = []
    for name in shape.keys:
        if name not in relation.runs.column_names:
            continue
        values = relation.runs[name]
        if values.null_count == 0 and len(values.unique()) == len(values):
            return name, notes
        notes.append(
            f"{name} does not name each run: some are empty or come twice"
        )
    return "", notes


def _unnested(relation: Relation) -> Relation:
    """Columns of dictionaries as text become columns of their own."""
    runs = relation.runs
    bad: dict[int, str] = {}
    added: dict[str, list[Any]] = {}
    nested = [name for name in runs.column_names if _may_nest(runs, name)]
    for name in nested:
        for index, text in enumerate(runs[name].to_pylist()):
            try:
                values = parse_mapping_text(text) if text else {}
                cells = flat_cells(_without_wrappers(values or {}), f"{name}.")
            except RecordError as error:
                bad.setdefault(index, f"{name}: {error}")
                continue
            for column, content in cells.items():
                added.setdefault(column, [None] * runs.num_rows)[index] = (
                    content
                )
        if len(added) > _MAX_COLUMNS:
            raise RecordError(
                f"more than {_MAX_COLUMNS} names in the dictionaries of {name}. Fix: "
                "export fewer settings."
            )
    if not nested:
        return relation
    runs = runs.drop_columns(nested)
    for column, cells in added.items():
        if column not in runs.column_names:
            runs = runs.append_column(column, column_of(cells))
    return _without_rows(replace(relation, runs=runs), bad)


def _may_nest(runs: pa.Table, name: str) -> bool:
    """Whether a column of that name holds text that begins like a dictionary."""
    if name.lower() not in _NESTED or not pa.types.is_string(
        runs.schema.field(name).type
    ):
        return False
    texts = (cell.as_py() for cell in runs[name])
    first = next((text for text in texts if text), "")
    return first.lstrip().startswith("{")


def _without_wrappers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as W&B's server keeps them: `{"lr": {"value": 0.1, "desc": null}}`."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        if name in ("_wandb", "wandb_version"):
            continue
        is_wrapped = isinstance(value, dict) and value.keys() <= {
            "value",
            "desc",
        }
        out[name] = (
            value.get("value") if is_wrapped and "value" in value else value
        )
    return out


_ENVELOPE = re.compile(r"(?P<name>.+)\.(?P<part>value|desc)")
_OF_WANDB = re.compile(r"(.*\.)?_wandb\..*")


def without_envelopes(relation: Relation) -> Relation:
    """Columns of such wrappers, `config.lr.value` beside `config.lr.desc`, by the name of
    what is wrapped; what W&B keeps of itself is left out.
    """
    found = {}
    for name in relation.runs.column_names:
        match = _ENVELOPE.fullmatch(name)
        if match and not _OF_WANDB.fullmatch(name):
            found[name] = match
    wrapped = {m["name"] for m in found.values() if m["part"] == "value"}
    described = {m["name"] for m in found.values() if m["part"] == "desc"}
    heads = {name.partition(".")[0] for name in described}
    if not wrapped & described:
        return relation
    columns = {}
    for name in relation.runs.column_names:
        match = found.get(name)
        if match is None:
            is_own = _OF_WANDB.fullmatch(name) and name.endswith("_version")
            if not is_own:
                columns[name] = name
        elif match["part"] == "value" and name.partition(".")[0] in heads:
            columns[name] = match["name"]
        elif match["part"] == "value":
            columns[name] = name
    if len(set(columns.values())) < len(columns):
        return relation
    runs = relation.runs.select(list(columns))
    return replace(relation, runs=runs.rename_columns(list(columns.values())))


def _without_rows(relation: Relation, bad: Mapping[int, str]) -> Relation:
    if not bad:
        return relation
    lines = relation.runs[LINE_COLUMN].to_pylist()
    entries = []
    for index, reason in sorted(bad.items()):
        entries.append(BadLines(lines[index], 1, reason, quote(reason)))
    kept = [
        index for index in range(relation.runs.num_rows) if index not in bad
    ]
    runs = relation.runs.take(pa.array(kept, pa.int64()))
    return replace(relation, runs=runs, bad=(*relation.bad, *entries))
