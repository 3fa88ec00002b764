"""The answer's shape: `autollm.recommendation/1` as frozen dataclasses.

Field names are those of the JSON. Invariant: numbers in the JSON are finite or null,
and no clock and no path of this machine is in it beyond the file names of the evidence.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autollm.core.records import content_hash

SCHEMA = "autollm.recommendation/1"


@dataclass(frozen=True)
class Interval:
    """A mean with its bounds; `level` is the probability between them."""

    mean: float
    low: float
    high: float
    level: float = 0.9


@dataclass(frozen=True)
class Assumption:
    """`origin`: said or guessed; it is `from` in the JSON."""

    code: str
    text: str
    origin: str


@dataclass(frozen=True)
class Warn:
    """A doubt that a person should know, by its code."""

    code: str
    text: str


@dataclass(frozen=True)
class Help:
    """A cheap run that would change an answer, and what it costs. `about`: coordinates
    that no run has; the nearest size that can be built does.
    """

    configuration: dict[str, Any]
    cost: dict[str, float | None]
    experiment: dict[str, float] = field(default_factory=dict)
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answerable:
    """Whether the logs can answer a question: yes, partly or no."""

    question: str
    answer: str
    because: str
    would_help: tuple[Help, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """One configuration, in the user's own names and units.

    `acceptable`: what costs at most 1 % more compute, by knob: [low, high], or the
    categories. `missing`: field -> why it is null. `known_outcome`: what a run of the
    evidence with these settings gave at the target.
    """

    rank: int
    configuration: dict[str, Any]
    acceptable: dict[str, list[Any]] | None
    predicted: Interval | None
    expected_regret: Interval | None
    compute_equivalent: float | None
    p_diverge: float | None
    probability_best: float | None
    why: str
    missing: dict[str, str] = field(default_factory=dict)
    known_outcome: float | None = None


@dataclass(frozen=True)
class Checked:
    """The same of a configuration of the user's own, and what it loses: `predicted` less
    `advised_predicted`. `optimum`: by knob, where `distance_to_optimum` counts from;
    `beyond`: by knob that lies outside of what was tried, the lowest and highest value
    that were. `taken_as`: by knob that is known by rank alone, the nearest value that
    was tried, which stands for the planned one. `sums`: by mixture whose weights do not
    sum to what they sum to in the runs, both sums; its shares are judged. `otherwise`:
    by setting that no run varied and of which the plan has another value: both.
    `unknown`: keys that no run has. `open_end`: by knob whose optimum is the end of what
    may be proposed, the side on which it may lie beyond: above or below.
    """

    configuration: dict[str, Any]
    predicted: Interval | None
    expected_regret: Interval | None
    loses: Interval | None
    compute_equivalent: float | None
    p_diverge: float | None
    nearest_diverged: dict[str, Any] | None
    distance_to_optimum: dict[str, float | None]
    verdict: str
    missing: dict[str, str] = field(default_factory=dict)
    advised: dict[str, Any] | None = None
    advised_predicted: Interval | None = None
    optimum: dict[str, Any] = field(default_factory=dict)
    beyond: dict[str, list[Any]] = field(default_factory=dict)
    taken_as: dict[str, Any] = field(default_factory=dict)
    sums: dict[str, list[float]] = field(default_factory=dict)
    otherwise: dict[str, list[Any]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    open_end: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedRun:
    """A cheap run to make before the target. experiment: its fidelity, and its
    configuration, in the user's own names; both None: spend nothing. step: runs of one
    step are made together, and lower the expected regret from `before` to `after`
    together. about: as of `Help`.
    """

    experiment: dict[str, float] | None
    configuration: dict[str, Any] | None
    cost: dict[str, float | None]
    expected_regret_before: float
    expected_regret_after: float
    step: int
    why: str
    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """`distance_along`, `distance_across`: leverage of the target along the evidence's
    main axis and across it, in standard deviations of the levels.
    """

    fidelity: dict[str, float]
    compute_flops: float | None
    times_evidence: float | None
    distance_along: float | None
    distance_across: float | None


@dataclass(frozen=True)
class Advice:
    """The whole answer. `categorical`: settings that are categories, of which
    `acceptable` lists values; of all others it holds a range. `objective_names`: what
    its outcome may be called when a run is told. `one_valued`: settings of which one
    value was tried.
    """

    source: str
    table_id: str
    basis: str
    objective: dict[str, str]
    target: Target
    assumptions: tuple[Assumption, ...]
    constants: dict[str, Any]
    can_answer: tuple[Answerable, ...]
    recommendations: tuple[Proposal, ...]
    checked: Checked | None
    decided_by: dict[str, Any]
    evidence: dict[str, Any]
    laws: tuple[dict[str, Any], ...]
    loss_law: dict[str, Any] | None
    warnings: tuple[Warn, ...]
    command: str
    history: tuple[dict[str, Any], ...] = ()
    allocation: dict[str, Any] | None = None
    plan: tuple[PlannedRun, ...] = ()
    opinions: tuple[dict[str, Any], ...] = ()
    calibration: dict[str, Any] | None = None
    categorical: tuple[str, ...] = ()
    objective_names: tuple[str, ...] = ()
    one_valued: tuple[str, ...] = ()

    @property
    def advice_id(self) -> str:
        """16 hex digits of question and evidence: the same question over the same rows
        has the same one.
        """
        asked = [
            self.source,
            self.table_id,
            self.objective,
            self.target.fidelity,
        ]
        checked = self.checked.configuration if self.checked else None
        asked += [len(self.recommendations), checked, self.history]
        for assumption in self.assumptions:
            if assumption.code in ("constraint", "plan-budget"):
                asked.append(assumption.text)
        return content_hash(repr(asked))

    def to_json(self) -> dict[str, Any]:
        """The object of `autollm.recommendation/1`."""
        plain = _plain(self)
        return {"schema": SCHEMA, "advice_id": self.advice_id, **plain}


def error_json(code: str, text: str, remedy: str) -> dict[str, Any]:
    """The object that stands where there is no answer."""
    error = {"code": code, "text": text, "remedy": remedy}
    return {"schema": SCHEMA, "error": error}


def _plain(value: Any) -> Any:
    """JSON values: dataclasses as objects, numbers finite or null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: getattr(value, f.name) for f in dataclasses.fields(value)
        }
        if isinstance(value, Assumption):
            fields["from"] = fields.pop("origin")
        return {name: _plain(v) for name, v in fields.items()}
    if isinstance(value, dict):
        return {str(name): _plain(v) for name, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.9g}") if math.isfinite(value) else None
    return value
