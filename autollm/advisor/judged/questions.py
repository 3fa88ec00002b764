"""Which experiments are hidden, and what a seed shows of the rest.

A question hides one experiment and all that cost more than an eighth of it (where the
ladder has no such gap: all that are as expensive), and asks for its best configuration.
A seed keeps four fifths of the rows of every experiment. Windows are those of the rows
that are shown: the hidden experiment's own window says where its authors expected the
optimum.

Invariant: what is shown is a function of (question, seed), and holds no outcome of the
hidden experiment or of any that is as expensive.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from autollm.advisor.asking.question import make_question
from autollm.advisor.evidence.evidence import Evidence, evidence_of_marts
from autollm.advisor.judged.sources import Table
from autollm.core.errors import SpaceError
from autollm.core.spaces.space import Space
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.drawing import ALWAYS_LISTED, KEEP
from autollm.gym.tasks.view import TaskView

FAR = 8.0
"""Times its most expensive evidence that a hidden experiment costs."""
SLACK = 1.001
"""Sizes are told with few digits: 7.999 times counts as 8."""
CHEAPER = 1.1
"""The same where a ladder has no gap of FAR."""
LEAST_ROWS = 8
"""Rows from which a median and a best say how good a pick is."""
PEERS_ROWS = 3000
"""Rows of a view that policies get: all of them, but for HW-GPT's 20,000."""


@dataclass(frozen=True)
class HiddenExperiment:
    """One question. target, evidence: dense ids of the table's experiments."""

    table: Table
    target: int
    evidence: tuple[int, ...]
    times_evidence: float

    @property
    def question_id(self) -> str:
        """The table's name and the hidden experiment's label."""
        return f"{self.table.name} | {self.label}"

    @property
    def label(self) -> str:
        return self.experiments[self.target].label

    @property
    def experiments(self) -> tuple[Any, ...]:
        return self.table.whole.table.experiments

    @property
    def is_far(self) -> bool:
        return self.times_evidence * SLACK >= FAR

    @property
    def fidelity(self) -> dict[str, float]:
        return dict(self.experiments[self.target].fidelity)


def hidden_experiments(table: Table) -> list[HiddenExperiment]:
    """The questions of a table: each experiment that costs FAR times as much as at
    least two others; where none does, as one other; where none does, the most expensive
    one from all cheaper ones. Empty: there is nothing to hide.
    """
    whole = table.whole.table
    flops = np.array([e.compute_flops for e in whole.experiments])
    enough = np.diff(whole.offsets) >= LEAST_ROWS
    for least_levels in (2, 1):
        found = []
        for target in np.flatnonzero(enough):
            shown = np.flatnonzero(flops * FAR <= flops[target] * SLACK)
            if len(shown) >= least_levels:
                found.append(_hidden(table, target, shown, flops))
        if found:
            return found
    for target in np.flatnonzero(enough)[::-1]:
        shown = np.flatnonzero(flops * CHEAPER <= flops[target])
        if len(shown):
            return [_hidden(table, target, shown, flops)]
    return []


def _hidden(
    table: Table, target: int, shown: np.ndarray, flops: np.ndarray
) -> HiddenExperiment:
    times = float(flops[target] / flops[shown].max())
    return HiddenExperiment(table, int(target), tuple(map(int, shown)), times)


@dataclass(frozen=True)
class DrawnQuestion:
    """What a seed makes of a question.

    Attributes:
        evidence: what is shown. rows: ids of the hidden experiment's rows in play.
        pool [n, d]: their configurations in the evidence's coordinates, where the family
            lists them; None: the evidence's window is asked about.
    """

    hidden: HiddenExperiment
    seed: int
    evidence: Evidence
    rows: np.ndarray
    pool: np.ndarray | None

    @property
    def truth(self) -> OutcomeTable:
        return self.hidden.table.whole.table

    def column(self, name: str) -> np.ndarray:
        """A column of the rows in play, [n_rows]."""
        return self.truth.column(name, self.hidden.target)[self.rows]

    @cached_property
    def losses(self) -> np.ndarray:
        """[n_rows], lower is better."""
        return self.truth.losses(self.hidden.target)[self.rows]

    @cached_property
    def points(self) -> np.ndarray:
        """[n_rows, d] in the whole table's coordinates."""
        return self.truth.points[self.hidden.target][self.rows]

    @property
    def space(self) -> Space:
        """The whole table's."""
        return self.hidden.experiments[self.hidden.target].space

    @cached_property
    def view(self) -> TaskView:
        """What policies read: the same evidence, target and candidates."""
        table = self.evidence.table
        levels = range(len(table.experiments))
        return make_question(
            table,
            levels,
            self.hidden.fidelity,
            trials=1,
            pool=self.pool,
            most_rows=PEERS_ROWS,
        ).view

    @property
    def policy_rng(self) -> np.random.Generator:
        return np.random.default_rng(_streams(self.hidden, self.seed)[2])


def draw(
    hidden: HiddenExperiment,
    seed: int,
) -> DrawnQuestion:
    """Show a question's evidence under a seed."""
    streams = _streams(hidden, seed)
    kept = _kept_cells(hidden, np.random.default_rng(streams[0]))
    evidence = cell_evidence(hidden, kept)
    n_rows = len(hidden.table.whole.table.points[hidden.target])
    rng = np.random.default_rng(streams[1])
    rows = np.sort(rng.choice(n_rows, _share(n_rows), replace=False))
    rows, pool = _listed(hidden, evidence.table.experiments[0].space, rows)
    return DrawnQuestion(hidden, seed, evidence, rows, pool)


def cell_evidence(
    hidden: HiddenExperiment,
    keys: Sequence[str],
) -> Evidence:
    """The evidence of the rows `experiment|configuration` alone."""
    marts = {}
    for name, rows in hidden.table.marts.items():
        marts[name] = _among(rows, keys)
    return evidence_of_marts(marts, hidden.table.group, {}, {})


@dataclass(frozen=True)
class Cell:
    """A row of the evidence. experiment: dense id in the whole table; point [d] in its
    coordinates; key: `experiment|configuration`.
    """

    experiment: int
    key: str
    point: np.ndarray


def cells_of(drawn: DrawnQuestion) -> list[Cell]:
    """The rows that a seed shows, in the order of their keys."""
    hidden = drawn.hidden
    ids = {hidden.experiments[e].experiment_id: e for e in hidden.evidence}
    configs: dict[str, str] = {}
    for run in drawn.evidence.runs:
        key = f"{run['experiment_id']}|{run['config_id']}"
        configs[key] = run["config_json"]
    found = []
    for key in sorted(configs):
        point = drawn.space.encode(json.loads(configs[key]))
        found.append(Cell(ids[key.partition("|")[0]], key, point))
    return found


def stream_of(
    hidden: HiddenExperiment,
    seed: int,
    purpose: int,
) -> np.random.Generator:
    """A stream of a question's seed for another purpose than drawing rows."""
    first = _streams(hidden, seed)[0]
    words = [purpose, *first.generate_state(4).tolist()]
    return np.random.default_rng(np.random.SeedSequence(words))


def _share(n: int) -> int:
    return max(1, round(KEEP * n))


def _streams(
    hidden: HiddenExperiment,
    seed: int,
) -> list[np.random.SeedSequence]:
    """Streams of the evidence, of the target's rows and of the policies."""
    digest = hashlib.sha256(hidden.question_id.encode()).digest()[:8]
    number = int.from_bytes(digest, "little")
    return np.random.SeedSequence([seed, number]).spawn(3)


def _kept_cells(
    hidden: HiddenExperiment,
    rng: np.random.Generator,
) -> list[str]:
    """`experiment|configuration` of the evidence's rows that a seed keeps."""
    outcomes = hidden.table.marts["mart_gym__outcomes"]
    shown = {hidden.experiments[e].experiment_id for e in hidden.evidence}
    cells: dict[str, list[str]] = {}
    columns = outcomes.select(["experiment_id", "config_id"]).to_pylist()
    for row in columns:
        if row["experiment_id"] in shown:
            cells.setdefault(row["experiment_id"], []).append(row["config_id"])
    kept = []
    for experiment in sorted(cells):
        ids = sorted(cells[experiment])
        chosen = rng.choice(len(ids), _share(len(ids)), replace=False)
        kept += [f"{experiment}|{ids[i]}" for i in sorted(chosen)]
    return kept


def _among(
    rows: pa.Table,
    kept: Sequence[str],
) -> pa.Table:
    """Rows of a mart whose cell was kept; a mart without cells stays."""
    if "config_id" not in rows.column_names:
        return rows
    cells = pa.compute.binary_join_element_wise(
        rows["experiment_id"], rows["config_id"], "|"
    )
    return rows.filter(pa.compute.is_in(cells, pa.array(kept, pa.string())))


def _listed(
    hidden: HiddenExperiment, space: Space, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows that the evidence's space can say, and their points in it, where the family
    lists configurations; else all rows, and None.
    """
    here = hidden.experiments[hidden.target]
    if here.family not in ALWAYS_LISTED and space.grid is not None:
        return rows, None
    said = []
    points = []
    for row in rows:
        point = hidden.table.whole.table.points[hidden.target][row]
        try:
            points.append(space.encode(here.space.decode(point)))
        except SpaceError:
            continue  # a level that no evidence has: nobody could propose it
        said.append(row)
    return np.array(said), np.array(points)


def sayable(hidden: HiddenExperiment) -> bool:
    """Whether the evidence's space knows enough of the hidden experiment's rows: where
    scales share no widths and depths (HW-GPT), it knows none.
    """
    return len(draw(hidden, 0).rows) >= LEAST_ROWS - 2  # a fifth is not in play
