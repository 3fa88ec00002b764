"""Where an episode may run something: the target, or a cheap experiment that is
charged; its rows in play and what a run costs.

Invariant: a row in play is named by its place among `rows`, never by its id in the
table. Places behind the last row are those of configurations that nobody recorded,
where a source can try such.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autollm.core.spaces.distances import nearest
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tables.snapping import places_in_play
from autollm.gym.tasks.drawing import Draw, rows_to_snap_to


@dataclass(frozen=True)
class PlayableExperiment:
    """One experiment of an episode.

    Attributes:
        experiment: its id, empty for the target. index: its dense id.
        rows: ids in play, ascending. snapped_to: those and the infeasible ones.
            table_points: float64 [n, d] of the whole table.
        candidates: what may be named by number, float64 [n_candidates, d];
            `lists_rows`: they are the rows in play.
        cost: of one run, where a run of the target costs 1.
    """

    experiment: str
    index: int
    rows: np.ndarray
    snapped_to: np.ndarray
    table_points: np.ndarray
    candidates: np.ndarray
    lists_rows: bool
    cost: float

    @cached_property
    def points(self) -> np.ndarray:
        """Rows in play, float64 [n, d], natural units."""
        return self.table_points[self.rows]

    def nearest(self, point: np.ndarray) -> tuple[int, float]:
        """Place of the nearest row in play (-1: an infeasible row is nearer), and the
        distance of the snap.
        """
        place, distance = nearest(self._shown, point)
        return int(places_in_play(self.snapped_to[place], self.rows)), distance

    def row_id(self, place: int) -> int:
        """Id within the experiment's table of what stands at a place."""
        return int(self.rows[place])

    def point(self, place: int) -> np.ndarray:
        """float64 [d] of what stands at a place, natural units."""
        return self.points[place]

    @cached_property
    def _shown(self) -> np.ndarray:
        return self.table_points[self.snapped_to]


def playable_experiments(
    drawn: Draw, table: OutcomeTable
) -> dict[str, PlayableExperiment]:
    """What an episode may run, by experiment id; the target under the empty name and
    its own.
    """
    task = drawn.task
    view = drawn.view
    target = PlayableExperiment(
        "",
        drawn.target,
        drawn.rows,
        rows_to_snap_to(task, table, drawn.rows),
        table.points[drawn.target],
        view.candidates,
        view.lists_rows,
        1.0,
    )
    out = {"": target, task.target: target}
    for shown, rows in zip(view.charged, drawn.charged_rows, strict=True):
        e = table.index(shown.experiment_id)
        out[shown.experiment_id] = PlayableExperiment(
            shown.experiment_id,
            e,
            rows,
            rows,
            table.points[e],
            shown.candidates,
            view.lists_rows,
            shown.cost,
        )
    return out
