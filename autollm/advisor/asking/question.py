"""A question: which configuration at a target that nobody ran, as a task without a
target table.

`TaskView` is what policies read; here it is made from evidence alone. Invariant: equal
evidence and target give an equal view, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from autollm.advisor.asking.constraint import Constraints, nothing_keeps
from autollm.advisor.asking.together import as_tried
from autollm.advisor.statistics.parametrization import without_rate_rule
from autollm.advisor.statistics.tried import Ends
from autollm.core.errors import SpaceError
from autollm.core.spaces.space import Space
from autollm.gym.tables.outcome_table import Experiment, OutcomeTable
from autollm.gym.tasks.view import EvidenceTable, TaskView

MOST_ROWS = 300
"""Rows of a view. A cold start on 1,000 runs has to end in 20 s on two cores; the bowl
of 2 knobs has about 20 parameters, and more rows moved its optimum by less than .05
octaves on Step Law's tables."""
LEAST_SHARE = 12
"""Rows of a level that are read however many levels there are."""
MOST_CANDIDATES = 20_000
"""Of a grid; 400 draws of each take 64 MB."""
N_DRAWS, N_NEAR = 2000, 2000
"""Seeded draws among the candidates of spaces without a grid: within the window, and
near the evidence."""
MOST_ROUNDS = 10
"""Of drawing, where constraints leave little of the window."""
ROUNDED = 0.02
"""Share by which nominal compute (1e18) may differ from parameters times tokens that are
told with three digits."""
N_BEST = 20
"""Evidence designs whose neighbours are candidates."""
Keeps = Callable[[np.ndarray], np.ndarray]
"""Which points [n, d] keep the constraints, bool [n]."""


@dataclass(frozen=True)
class Question:
    """What is asked. `compute_flops`: of one run at the target, None where the evidence
    does not say how it grows. `levels`: dense ids of the evidence's experiments.
    `unconstrained` [n, d]: the candidates that there would be without constraints; None
    where those of the view are all.
    """

    table: OutcomeTable
    levels: tuple[int, ...]
    fidelity: dict[str, float]
    compute_flops: float | None
    view: TaskView
    constraints: Constraints | None = None
    unconstrained: np.ndarray | None = None

    def keeps(
        self, points: np.ndarray, fidelity: dict[str, float] | None = None
    ) -> np.ndarray:
        """Which points [n, d] keep the constraints at a fidelity (the target's), bool
        [n].
        """
        if self.constraints is None:
            return np.ones(len(points), dtype=bool)
        where = self.fidelity if fidelity is None else fidelity
        return self.constraints.keeps(self.space, points, where)

    @property
    def space(self) -> Space:
        return self.view.space

    @property
    def target_z(self) -> np.ndarray:
        return self.view.target_z


def make_question(
    table: OutcomeTable,
    levels: Sequence[int],
    fidelity: dict[str, float],
    trials: int = 3,
    space: Space | None = None,
    pool: np.ndarray | None = None,
    constraints: Constraints | None = None,
    most_rows: int = MOST_ROWS,
    stopped: Mapping[int, tuple[np.ndarray, np.ndarray]] | None = None,
    ends: Sequence[Ends] = (),
) -> Question:
    """The question at `fidelity` from the experiments `levels` of a table.

    `space`: another window than the evidence's own. `pool` [n, d]: candidates, where
    they are known (a backtest lists the hidden experiment's rows). `constraints`: what
    candidates must keep. `most_rows`: of the view, all levels together. `stopped`: by
    level, runs that were stopped for doing badly, points [m, d] and what their ends are
    expected to be: policies read them as rows. `ends`: numbers
    that keep to some values in the candidates that are laid out here.

    Raises:
        AdviceError: no candidate keeps them.
    """
    first = table.experiments[levels[0]]
    space = without_rate_rule(space or first.space, first.context)
    z = np.log2(np.array(list(fidelity.values())))
    share = max(most_rows // len(levels), LEAST_SHARE)
    told = stopped or {}
    evidence = tuple(
        _with_stopped(_evidence(table, e, share), told.get(e)) for e in levels
    )
    evidence = tuple(
        sorted(evidence, key=lambda t: (t.cost_flops, t.experiment_id))
    )
    listed = pool is not None or space.grid is None
    candidates = pool
    keeps = None
    if constraints is not None:
        keeps = partial(constraints.keeps, space, fidelity=fidelity)
    unconstrained = None
    if candidates is None:
        candidates = _candidates(space, evidence, ends, keeps)
        if keeps is not None:
            unconstrained = _candidates(space, evidence, ends, None)
    if keeps is not None and constraints is not None:
        kept = keeps(candidates)
        if not kept.any():
            raise nothing_keeps(constraints, len(candidates))
        candidates = candidates[kept]
    view = TaskView(
        "question",
        "declared",
        first.family,
        space,
        tuple(fidelity),
        z,
        evidence,
        candidates,
        listed,
        trials,
        first.objective,
        first.direction,
        dict(fidelity),
        context=dict(first.context),
    )
    compute = compute_at([table.experiments[e] for e in levels], z)
    return Question(
        table,
        tuple(levels),
        dict(fidelity),
        compute,
        view,
        constraints,
        unconstrained,
    )


def _candidates(
    space: Space,
    evidence: Sequence[EvidenceTable],
    ends: Sequence[Ends],
    keeps: Keeps | None,
) -> np.ndarray:
    """What may be proposed, [n, d]: the grid, or designs where there is none."""
    is_gridded = space.grid is not None
    candidates = (
        _thinned(space.grid, evidence)
        if is_gridded
        else designs(space, evidence, keeps)
    )
    for one in ends:
        candidates = _held(space, candidates, one, keeps)
    return as_tried(space, candidates, [e.points for e in evidence])


def _evidence(table: OutcomeTable, e: int, share: int) -> EvidenceTable:
    here = table.experiments[e]
    loss = table.loss[table.offsets[e] : table.offsets[e + 1]]
    rows = representative(loss, share)
    return EvidenceTable(
        here.experiment_id,
        here.z,
        table.points[e][rows],
        table.losses(e)[rows],
        table.column("diverged", e)[rows],
        here.compute_flops,
    )


def _with_stopped(
    evidence: EvidenceTable, stopped: tuple[np.ndarray, np.ndarray] | None
) -> EvidenceTable:
    if stopped is None or not len(stopped[1]):
        return evidence
    points, losses = stopped
    return replace(
        evidence,
        points=np.concatenate([evidence.points, points]),
        loss=np.concatenate([evidence.loss, losses]),
        diverged=np.append(evidence.diverged, np.zeros(len(losses), bool)),
    )


def representative(loss: np.ndarray, share: int) -> np.ndarray:
    """Row numbers, ascending, of at most a level's share of rows: the better
    half of them whole, so that the optimum is kept; the rest evenly by rank, so that
    minimum and median stay what they are.
    """
    if len(loss) <= share:
        return np.arange(len(loss))
    order = np.argsort(loss, kind="stable")
    evenly = np.unique(np.linspace(0, len(loss) - 1, share).round().astype(int))
    return np.sort(order[evenly])


def compute_at(
    experiments: Sequence[Experiment], z: np.ndarray
) -> float | None:
    """FLOPs of a run at z [n_fidelity]: log compute is linear in log fidelity (6 N D is).

    None where compute varies in another way, or not at all with the coordinates that
    differ at z.
    """
    here = np.array([e.z for e in experiments])
    flops = np.array([e.compute_flops for e in experiments], dtype=float)
    if not np.all(np.isfinite(flops) & (flops > 0)):
        return None
    ratio = flops_per_product(experiments)
    if ratio is not None:
        return float(ratio * 2.0 ** z.sum())
    design = np.column_stack([np.ones(len(here)), here])
    beta, _, rank, _ = np.linalg.lstsq(design, np.log2(flops), rcond=None)
    off = z - here.mean(axis=0)
    spanned = _in_span(here - here.mean(axis=0), off)
    misfit = np.abs(design @ beta - np.log2(flops)).max()
    if (
        rank < 1 or not spanned or misfit > 0.5
    ):  # octaves: no product of coordinates
        return None
    return float(2.0 ** (beta[0] + z @ beta[1:]))


def flops_per_product(experiments: Sequence[Experiment]) -> float | None:
    """FLOPs a parameter and token, where compute is that times both (up to ROUNDED);
    None where it is not.
    """
    if set(experiments[0].fidelity) != {"params", "tokens"}:
        return None
    ratio = np.array([e.compute_flops / 2.0 ** e.z.sum() for e in experiments])
    return (
        float(ratio.mean()) if np.ptp(ratio) <= ROUNDED * ratio.max() else None
    )


def _thinned(grid: np.ndarray, evidence: Sequence[EvidenceTable]) -> np.ndarray:
    """A grid of at most MOST_CANDIDATES points; of a larger one a seeded share, and the
    evidence's own designs.
    """
    if len(grid) <= MOST_CANDIDATES:
        return grid
    drawn = np.random.default_rng(0).choice(
        len(grid), MOST_CANDIDATES, replace=False
    )
    points = np.concatenate(
        [grid[np.sort(drawn)], *(e.points for e in evidence)]
    )
    return np.unique(points, axis=0)


def _held(
    space: Space,
    candidates: np.ndarray,
    ends: Ends,
    keeps: Keeps | None,
) -> np.ndarray:
    """The candidates moved to what may be proposed of a number; as they are, where none
    of these may be run.
    """
    where = space.slices[ends.knob.name]
    moved = candidates.copy()
    moved[:, where] = np.clip(moved[:, where], ends.low, ends.high)
    moved = np.unique(moved, axis=0)
    if space.limits:
        moved = _existing(space, moved)
    if keeps is not None and len(moved):
        moved = moved[keeps(moved)]
    return moved if len(moved) else candidates


def _in_span(rows: np.ndarray, direction: np.ndarray) -> bool:
    """Whether a direction [f] lies in the row space of rows [n, f]."""
    fitted = np.linalg.lstsq(rows.T, direction, rcond=1e-9)[0]
    return bool(np.abs(rows.T @ fitted - direction).max() < 1e-6)


def designs(
    space: Space,
    evidence: Sequence[EvidenceTable],
    keeps: Keeps | None = None,
) -> np.ndarray:
    """Candidates of a space without a grid, float64 [n, d]: the evidence's designs,
    their neighbours (what lies between two of the best, and seeded draws near all of
    them), and N_DRAWS seeded draws within the window. `keeps`: which points are
    feasible; draws go on until there are enough, MOST_ROUNDS times at most.
    """
    points = np.unique(np.concatenate([e.points for e in evidence]), axis=0)
    rng = np.random.default_rng(0)
    parts = [points, _neighbours(space, evidence, points, rng)]
    n_drawn = 0
    for _ in range(MOST_ROUNDS):
        drawn = _existing(space, _within_window(space, rng))
        if keeps is not None and len(drawn):
            drawn = drawn[keeps(drawn)]
        parts.append(drawn[: N_DRAWS - n_drawn])
        n_drawn += len(parts[-1])
        if keeps is None or n_drawn >= N_DRAWS:
            break
    return np.unique(np.concatenate(parts), axis=0)


def _neighbours(
    space: Space,
    evidence: Sequence[EvidenceTable],
    points: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    best = np.concatenate(
        [e.points[np.argsort(e.loss)[:N_BEST]] for e in evidence]
    )
    pairs = rng.integers(len(best), size=(N_NEAR // 2, 2))
    share = rng.random((N_NEAR // 2, 1))
    between = share * best[pairs[:, 0]] + (1 - share) * best[pairs[:, 1]]
    near = points[rng.integers(len(points), size=N_NEAR // 2)]
    spread = points.std(axis=0)
    strewn = near + 0.5 * spread * rng.normal(size=near.shape)
    strewn = np.clip(strewn, *space.window)
    return _existing(space, np.concatenate([between, strewn]))


def _within_window(space: Space, rng: np.random.Generator) -> np.ndarray:
    """N_DRAWS places, even over the window; mixtures even over the simplex."""
    low, high = space.window
    drawn = low + (high - low) * rng.random((N_DRAWS, len(space)))
    for knob in space.knobs:
        if knob.scale == "simplex":
            where = space.slices[knob.name]
            shares = rng.exponential(size=(N_DRAWS, knob.width))
            drawn[:, where] = np.sqrt(shares)
    return drawn


def _existing(space: Space, drawn: np.ndarray) -> np.ndarray:
    """The nearest configurations that there are; none where a limit is broken."""
    found = []
    for point in drawn:
        try:
            found.append(space.encode(space.decode(point)))
        except SpaceError:
            continue
    return np.array(found).reshape(-1, len(space))
