"""Recorded sources as the judge's tables: one source, one group of comparable runs, one
objective.

The lab's archives are named one by one, so that levels that are sealed, or held back
for later versions, never enter.

Invariant: a table's rows are those of its marts; nothing is read from a home.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute

from autollm.advisor.evidence.evidence import MARTS, Evidence, evidence_of_marts
from autollm.advisor.evidence.marts import build_marts, origins_in, rows_of
from autollm.advisor.evidence.reading import LogOptions, land
from autollm.core.errors import SealedError, UnknownNameError
from autollm.core.files import scratch_folder
from autollm.core.places import EMBEDDED, mirror

LAB = {
    "lab-pretraining": "pretraining-v4.tar.xz",
    "lab-optimizer": "optimizer-v1.tar.xz",
    "lab-architecture": "architecture-v2.tar.xz",
    "lab-data_mixture": "data_mixture-v1.tar.xz",
    "lab-rl_tuning": "rl_tuning-v2.tar.xz",
}
"""Archives of the recorded ladders, without their `far` and `fresh` levels."""
PUBLIC = {
    "steplaw": "steplaw",
    "regmix": "regmix",
    "admire": "admire",
    "tinker-sft": "tinker",
    "hwgpt": "hwgpt",
}
"""Folders of the mirror that AUTOLLM_DATA_DIR names."""
SURROGATES = ("hwgpt",)
"""Made by predictors, so they stand apart."""
BOUNDS = {"hwgpt": ("params_exact", 235_023_360.0)}
"""Metric and most of it that a row of the most expensive experiment may have: the median
number of parameters, as in suite `hwgpt-l-params-v1`. Without a bound the largest network wins."""
MANY_OBJECTIVES = ("lab-data_mixture", "regmix", "admire")
"""Sources whose shipped suites make a task of every objective: a table each, ..."""
MOST_OBJECTIVES = 5
"""... of the first so many, since they share their runs."""
HELD_BACK = ("fresh", "far")
"""Words of archives that no judge of today opens."""


@dataclass(frozen=True, eq=False)
class Table:
    """Runs of one group under one objective.

    Attributes:
        source: the unit of inference. group: as the marts name it, `source/group`.
        name: the group, and the objective where the source has several.
        marts: of the group, without other groups' rows.
    """

    source: str
    group: str
    name: str
    marts: Mapping[str, pa.Table]

    @cached_property
    def whole(self) -> Evidence:
        """All experiments as evidence, hidden ones too: what the judge knows."""
        return evidence_of_marts(dict(self.marts), self.group, {}, {})

    @property
    def is_surrogate(self) -> bool:
        return self.source in SURROGATES


def known_paths() -> dict[str, Path]:
    """Where each source lies; public ones only where their mirror is."""
    found = {name: EMBEDDED / archive for name, archive in LAB.items()}
    root = mirror()
    if root is not None:
        found |= {name: root / folder for name, folder in PUBLIC.items()}
    return {name: path for name, path in found.items() if path.exists()}


def chosen_paths(
    named: Iterable[str],
) -> dict[str, Path]:
    """Paths of the sources that were named, `NAME` or `NAME=PATH`; all known ones where
    none was.

    Raises:
        UnknownNameError: no source of that name. SealedError: an archive that is held
            back. FileNotFoundError: a path that is not there.
    """
    known = known_paths()
    found: dict[str, Path] = {}
    for entry in named:
        name, sign, path = entry.partition("=")
        if not sign and name not in known:
            raise UnknownNameError("source to judge on", name, known)
        found[name] = Path(path) if sign else known[name]
    for name, path in found.items():
        if any(word in path.name for word in HELD_BACK):
            raise SealedError(
                f"{path} is held back for later versions: advice is not judged on it. "
                f"Fix: name another archive for {name}."
            )
        if not path.exists():
            raise FileNotFoundError(2, "No such file or folder", str(path))
    return found or known


def tables(
    name: str,
    path: Path,
) -> list[Table]:
    """The tables of a source, in the order of their names.

    Raises:
        AdviceError: nothing could be read.
    """
    marts = _landed(path)
    found = []
    for group, origin in origins_in(marts["mart_gym__outcomes"]).items():
        mine = {mart: rows_of(rows, origin) for mart, rows in marts.items()}
        for objective in _objectives(name, mine):
            shown = f"{group}:{objective}" if objective else group
            chosen = _with_objective(mine, objective)
            if name in BOUNDS:
                chosen = _bounded(chosen, *BOUNDS[name])
            found.append(Table(name, group, shown, chosen))
    return found


def _landed(
    path: Path,
) -> dict[str, pa.Table]:
    from autollm.logs.landing import ingest

    with scratch_folder("judged") as lake:
        report = ingest([str(path)], str(lake))
        if report.n_runs == 0:
            land([str(path)], str(lake), LogOptions(), str(lake))
        return build_marts(f"{lake}/bronze", MARTS)


def _objectives(
    name: str,
    marts: Mapping[str, pa.Table],
) -> list[str]:
    """Objectives that make a table each; empty text: the source's own alone."""
    if name not in MANY_OBJECTIVES:
        return [""]
    own = marts["mart_gym__outcomes"]["objective_name"][0].as_py()
    others = [name for name, _ in _directed(marts)]
    return [own, *others][:MOST_OBJECTIVES]


def _directed(
    marts: Mapping[str, pa.Table],
) -> Iterator[tuple[str, str]]:
    """Secondary metrics that have a direction."""
    ladder = json.loads(marts["dim_spaces"]["ladder_json"][0].as_py())
    for metric in ladder.get("metrics", []):
        if metric.get("direction"):
            yield metric["name"], metric["direction"]


def _with_objective(
    marts: Mapping[str, pa.Table], objective: str
) -> dict[str, pa.Table]:
    """The marts with another metric as the objective; `objective` may be their own."""
    directions = dict(_directed(marts))
    if objective not in directions:
        return dict(marts)
    outcomes = marts["mart_gym__outcomes"]
    values = _reported(outcomes, objective)
    nothing = pa.nulls(len(values), pa.float64())
    outcomes = _replaced(outcomes, "objective_mean", values)
    outcomes = _replaced(outcomes, "objective_sd", nothing)
    outcomes = _replaced(outcomes, "objective_sem", nothing)
    runs = marts["stg_runs"]
    runs = _replaced(runs, "objective_value", _reported(runs, objective))
    changed = {"mart_gym__outcomes": outcomes, "stg_runs": runs}
    for name, rows in changed.items():
        rows = _replaced(rows, "objective_name", _all(rows, objective))
        direction = _all(rows, directions[objective])
        changed[name] = _replaced(rows, "objective_direction", direction)
    return {**marts, **changed}


def _bounded(
    marts: Mapping[str, pa.Table], metric: str, most: float
) -> dict[str, pa.Table]:
    """The marts without rows of the most expensive experiment beyond a bound."""
    outcomes = marts["mart_gym__outcomes"]
    compute = outcomes["compute_flops"]
    cheaper = pa.compute.less(compute, pa.compute.max(compute))
    within = pa.compute.less_equal(_reported(outcomes, metric), most)
    kept = outcomes.filter(pa.compute.or_(cheaper, within))
    return {**marts, "mart_gym__outcomes": kept}


def _reported(
    rows: pa.Table,
    metric: str,
) -> pa.Array:
    values: list[Any] = []
    for text in rows["secondary_json"].to_pylist():
        values.append(json.loads(text or "{}").get(metric))
    return pa.array(values, pa.float64())


def _all(
    rows: pa.Table,
    value: str,
) -> pa.Array:
    return pa.array([value] * rows.num_rows)


def _replaced(
    rows: pa.Table,
    column: str,
    values: pa.Array,
) -> pa.Table:
    return rows.set_column(rows.column_names.index(column), column, values)
