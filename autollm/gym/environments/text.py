"""The text view: the same episode as tools for a language model.

Everything is said relative to a reference configuration (the fitted optimum of the most
expensive cheap experiment) on natural scales, in quarter steps: `learning_rate -0.5` is
half an octave below it. So a masked task (names and units hidden) reads the same as an
open one but for its names. Losses are said as differences from the first trial, in
tenths of the cheap experiments' spread, never scaled by the target. Configurations of
many coordinates, and mixtures, are said as candidates with numbers: {"candidate": 3}.

`TextEnv` has the shape that TRL's `environment_factory` takes: `reset(**row)` returns
the prompt, other public methods are tools, `get_reward()` scores.

Invariant: no text holds an outcome of the target other than those of spent trials.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from autollm.core.errors import EpisodeError, SpaceError
from autollm.core.spaces.knobs import is_finite
from autollm.gym.environments.shortlist import Shortlist, has_numbers
from autollm.gym.environments.summary import (
    EvidenceSummary,
    FittedOptimum,
    summarize,
)
from autollm.gym.environments.surface import Surface
from autollm.gym.tasks.episode import Episode, Trial
from autollm.gym.tasks.view import EvidenceTable

QUARTERS = 4
LIMIT = 12.0
"""Numbers are cut to this many natural units either side: none of the field's sweeps is
wider.
"""
LINES = 8
"""Evidence experiments in the summary, the most expensive ones."""
PAGE = 12
"""Rows on a page of `query_experiments` and `list_candidates`."""
BEST = 3
SUGGESTED = 3
"""Candidates that are named for each cheap experiment, and by the surface tool."""
TENTHS = 10
"""Losses are said in this part of the cheap spread: quarters of it lie below row noise,
LIMIT of it beyond the median.
"""
PENALTY = 0.1
"""Taken off the reward for each malformed, repeated, infeasible or off-table call."""


RESERVED = ("reset", "get_reward")
"""Public methods of the view that are no tools: TRL calls them."""


def quarter(value: float) -> float:
    """The nearest quarter within +-LIMIT; never -0.0."""
    return (
        min(max(round(float(value) * QUARTERS) / QUARTERS, -LIMIT), LIMIT) + 0.0
    )


def numbers(values: np.ndarray) -> str:
    """Quarters separated by spaces, as JSON would write them."""
    return " ".join(repr(quarter(v)) for v in np.atleast_1d(values))


class TextEnv:
    """One episode at a time, spoken. `open_episode(**row)` makes the episode of a
    dataset row.
    """

    episode: Episode
    """The episode of the last reset."""

    def __init__(
        self, open_episode: Callable[..., Episode], penalty: float = PENALTY
    ):
        self._open_episode = open_episode
        self._penalty = penalty

    def reset(self, **row: Any) -> str:
        """Start the episode of a row; returns the prompt: the task and the evidence's
        summary.
        """
        self.episode = self._open_episode(**row)
        view = self.episode.drawn.view
        self.summary: EvidenceSummary = summarize(view)
        self._surface = Surface(view, self.summary.spread)
        self._knobs, self._fidelities = _names(self.episode)
        self._charged = {
            f"c{i + 1}": c.experiment_id for i, c in enumerate(view.charged)
        }
        self.shortlist = (
            Shortlist(view.candidates) if has_numbers(view.space) else None
        )
        fits = self.summary.fits
        origin = fits[-1].optimum if fits else self.summary.power_law_optimum
        self.reference = np.round(origin * QUARTERS) / QUARTERS
        return self._header() + self.summarize_evidence()

    def query_experiments(self, experiment: str, page: int = 0) -> str:
        """Rows of a cheap experiment, best first: knob values relative to the
        reference, loss above its best row.

        Args:
            experiment: Name of a cheap experiment, such as e1.
            page: Page number, from 0.
        """
        view = self.episode.drawn.view
        names = [f"e{i + 1}" for i in range(len(view.evidence))]
        if experiment not in names:
            return (
                f"error: no experiment {experiment}; there are {names[0]} to "
                f"{names[-1]}"
                if names
                else "error: no evidence"
            )
        table = view.evidence[names.index(experiment)]
        order = np.argsort(table.loss, kind="stable")

        def row(i: int) -> str:
            point = table.points[i]
            loss = numbers(self._scaled(table.loss[i] - table.loss[order[0]]))
            ended = " diverged" if table.diverged[i] else ""
            place = f"{self._numbered(point)}{numbers(point - self.reference)}"
            return f"{place} loss {loss}{ended}"

        return _page(row, order, page)

    def summarize_evidence(self) -> str:
        """Per cheap experiment: its distance to the target in fidelity, number of rows,
        fitted optimum and best row (or its three best candidates); then the trend,
        which is the optimum extrapolated to the target; last where a smooth surface
        through all rows and trials is lowest among untried places. Where candidates
        have numbers, the window's middle stands before it.
        """
        view = self.episode.drawn.view
        first = max(0, len(self.summary.fits) - LINES)
        lines = []
        for i, (table, fit) in enumerate(
            zip(view.evidence, self.summary.fits, strict=True)
        ):
            if i >= first:
                lines.append(
                    f"e{i + 1} at {numbers(table.z - view.target_z)} rows "
                    f"{min(fit.n_rows, 99)} {self._found(table, fit)}"
                )
        centre = (
            [f"centre {self._place(view.space.window.mean(axis=0))}"]
            if self.shortlist is not None
            else []
        )
        return "\n".join(
            [
                *lines,
                f"trend {self._place(self.summary.power_law_optimum)}",
                *centre,
                self._lowest(),
            ]
        )

    def list_candidates(self, page: int = 0) -> str:
        """Configurations that may be run on the target, relative to the reference.

        Args:
            page: Page number, from 0.
        """
        return _page(
            lambda c: f"{self._numbered(c)}{numbers(c - self.reference)}",
            self.episode.drawn.view.candidates,
            page,
        )

    def run_experiment(
        self, experiment: str, configuration: dict[str, float]
    ) -> str:
        """Run a configuration on the target experiment. Costs one trial.

        Args:
            experiment: The experiment to run on: target.
            configuration: Every knob's value, relative to the reference; or
                {"candidate": n} where candidates have numbers.
        """
        if self.episode.done:
            return "error: no trials left"
        known = {"target": "", **self._charged}
        # A model may send anything, also what cannot be looked up.
        asked = known.get(experiment) if isinstance(experiment, str) else None
        point = None if asked is None else self._read(configuration)
        if asked is None or point is None:
            trial = self.episode.malformed()
        else:
            trial = self.episode.run_point(point, asked)
        return self._say(trial)

    def submit(self, configuration: dict[str, float]) -> str:
        """End the episode with the configuration to recommend.

        Args:
            configuration: Every knob's value, relative to the reference; or
                {"candidate": n} where candidates have numbers.
        """
        point = self._read(configuration)
        if point is None:
            return f"error: a configuration has exactly {', '.join(self._knobs)}, each a number"
        try:
            self.episode.submit(self.episode.drawn.view.space.decode(point))
        except EpisodeError:
            return "error: already submitted"
        except SpaceError:
            return "error: infeasible"
        return "submitted"

    def get_reward(self) -> float:
        """1 - mean latent regret over the trials, less PENALTY for each bad call; in
        about [-1, 1].
        """
        bad = sum(t.status != "ok" for t in self.episode.trials)
        return float(
            1
            - self.episode.regret_curve(latent=True).mean()
            - self._penalty * bad
        )

    def _header(self) -> str:
        view = self.episode.drawn.view
        low, high = view.space.window - self.reference
        window = " ".join(
            f'"{name}" {numbers(np.array([a, b]))}'
            for name, a, b in zip(self._knobs, low, high, strict=True)
        )
        charged = "".join(
            f"{name} at {numbers(c.z - view.target_z)} costs {c.cost:.2g}\n"
            for name, c in zip(self._charged, view.charged, strict=True)
        )
        return (
            f"{'task' if self.episode.drawn.task.masked else view.family} trials "
            f"{view.trials}\n"
            f"fidelity {' '.join(self._fidelities)}\nwindow {window}\n{charged}"
        )

    def _read(self, configuration: Any) -> np.ndarray | None:
        """The point that a model's configuration means, or None when it is malformed.

        {"candidate": n} is a candidate that has a number.
        """
        if (
            self.shortlist is not None
            and isinstance(configuration, dict)
            and set(configuration) == {"candidate"}
        ):
            n = configuration["candidate"]
            whole = (
                isinstance(n, int)
                and not isinstance(n, bool)
                and 0 <= n < len(self.shortlist)
            )
            return self.shortlist.points[n] if whole else None
        if not isinstance(configuration, dict) or set(configuration) != set(
            self._knobs
        ):
            return None
        values = [configuration[name] for name in self._knobs]
        if not all(map(is_finite, values)):
            return None
        return self.reference + np.array(values, dtype=float)

    def _say(self, trial: Trial) -> str:
        ledger = self.episode.ledger
        left = (
            f"left {ledger.left:.2f}"
            if self._charged
            else f"left {ledger.trials_left}"
        )
        if trial.row < 0:
            return f"{trial.status} {left}"
        status = "diverged" if trial.diverged else trial.status
        return f"{status} {spoken_trial(self, trial)} {left}" + (
            "" if self.episode.done else f" {self._lowest()}"
        )

    def _lowest(self) -> str:
        """The surface tool's line."""
        if self.shortlist is None:
            return f"surface {self._place(self.episode.drawn.view.candidates[suggested(self)])}"
        lowest = self._surface.lowest(self.episode.trials, SUGGESTED)
        named = [str(self.shortlist.number(i)) for i in lowest]
        return f"surface candidate {' '.join(named)}"

    def _found(self, table: EvidenceTable, fit: FittedOptimum) -> str:
        """What a cheap experiment says: its fitted optimum and its best row, or its
        best candidates.
        """
        if self.shortlist is None:
            return f"optimum {self._place(fit.optimum)} best {self._place(fit.best_row)}"
        best = dict.fromkeys(
            self.shortlist.near(table.points[i])
            for i in np.argsort(table.loss, kind="stable")[:BEST]
        )
        return f"best candidate {' '.join(map(str, best))}"

    def _place(self, point: np.ndarray) -> str:
        """A point [n_coordinates] as it is said: relative to the reference, or as the
        nearest candidate's number.
        """
        return (
            f"candidate {self.shortlist.near(point)}"
            if self.shortlist is not None
            else numbers(point - self.reference)
        )

    def _numbered(self, point: np.ndarray) -> str:
        return f"{self._place(point)} at " if self.shortlist is not None else ""

    def _scaled(self, difference: float) -> np.ndarray:
        return np.array([TENTHS * difference / self.summary.spread])


def tools() -> dict[str, Callable[..., str]]:
    """The tools by name, in the order in which TRL lists them."""
    methods = inspect.getmembers(TextEnv, predicate=inspect.isfunction)
    known = [
        m for m in methods if m[0] not in RESERVED and not m[0].startswith("_")
    ]
    return dict(known)


def tool_texts() -> dict[str, str]:
    """What a model reads of each tool: its docstring."""
    return {
        name: inspect.getdoc(method) or "" for name, method in tools().items()
    }


def suggested(env: TextEnv) -> int:
    """The candidate that the surface tool suggests now."""
    return env._surface.lowest(env.episode.trials)[0]


def spoken(env: TextEnv, point: np.ndarray) -> dict[str, float]:
    """A point [n_coordinates] of the running episode as the configuration that a model
    would write; of candidates with numbers the nearest.
    """
    if env.shortlist is not None:
        return {"candidate": env.shortlist.named(point)}
    return {
        name: quarter(v)
        for name, v in zip(env._knobs, point - env.reference, strict=True)
    }


def spoken_trial(env: TextEnv, trial: Trial) -> str:
    """Where a trial with an outcome was evaluated, and its loss minus that of its
    experiment's first outcome, as tools say it.
    """
    first = next(
        t
        for t in env.episode.trials
        if t.row >= 0 and t.experiment == trial.experiment
    )
    change = numbers(env._scaled(trial.loss - first.loss))
    return f"at {env._place(np.array(trial.point))} change {change}"


def _names(episode: Episode) -> tuple[list[str], list[str]]:
    """Names of the space's and the fidelity's coordinates as the model reads them."""
    view = episode.drawn.view
    if episode.drawn.task.masked:
        knobs = [f"k{i + 1}" for i in range(len(view.space))]
        return knobs, [f"f{i + 1}" for i in range(len(view.fidelity_names))]
    return list(view.space.coordinates), list(view.fidelity_names)


def _page(
    row: Callable[[Any], str], of: Sequence[Any] | np.ndarray, page: int
) -> str:
    """One page of a listing; what is on no page is not said, so that it gets no
    number.
    """
    pages = max(1, -(-len(of) // PAGE))
    if not isinstance(page, int) or not 0 <= page < pages:
        return f"error: page {page} of {pages}"
    return "\n".join(
        [
            *map(row, of[page * PAGE : (page + 1) * PAGE]),
            f"page {page} of {pages}",
        ]
    )
