"""What should answer: the library's one rule, a council of predictions, or the member that
one's own history likes best? Measured on the lab's train and validation levels.

    AUTOLLM_DATA_DIR=FOLDER python -m research.council_weights

Every experiment with two cheaper ones is hidden in turn under three seeds, and each member
predicts u at its rows. A history's own record is the same of its (at most three) most
expensive experiments: their density at the best third of the rows. The library's weights
and the worth of one's own record (kappa) are learnt on all other sources, where targets of
test suites may enter; those of the lab enter nowhere. Prints regret at one trial.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from autollm.advisor.judged.inference import compare
from autollm.advisor.judged.questions import (
    CHEAPER,
    LEAST_ROWS,
    DrawnQuestion,
    HiddenExperiment,
    draw,
)
from autollm.advisor.judged.sources import (
    LAB,
    SURROGATES,
    Table,
    chosen_paths,
    tables,
)
from autollm.core.errors import SpaceError
from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.regret import regret
from autollm.policies.registry import make_policy
from autollm.policies.surrogates.council import CLIP, Council

TEST_FLOPS = {
    "lab-pretraining": 1.2e12,
    "lab-optimizer": 1e12,
    "lab-architecture": 3e11,
    "lab-data_mixture": 2e11,
    "lab-rl_tuning": 7e11,
}
"""Levels from here on are test targets of the shipped suites and left out, ..."""
VALIDATION = ("params=2.71e5,tokens=7.86e5", "params=1.81e5,tokens=1.18e6")
"""... but for these two, which cost as much and are no targets."""
FEW_KNOBS = 3
"""Numbers up to which the rule of then took the bowl, and else copied."""
N_SEEDS = 3
OWN_EXPERIMENTS = 3
LEAST_LEVELS = 2
NOISE_SD = 0.1
"""Of a row, in u (policies/surrogates/moving_bowl.py)."""
KAPPAS = (0.3, 1.0, 3.0, 10.0, 30.0)
MEMBERS = ("bowl", "process", "copy", "power-law")
COUNCIL = np.array([1.0, 1.0, 1.0, 0.0]) / 3
"""The registered council's members."""
N_STEPS = 200
"""Of expectation and maximization; weights change by less than .001 after 100."""


@dataclass(frozen=True)
class Prediction:
    """Members on one hidden experiment. mean, sd [n_members, n_rows] of u; u, latent
    [n_rows]: what came, and the smoothed table's regret.
    """

    hidden: HiddenExperiment
    seed: int
    rule: int
    mean: np.ndarray
    sd: np.ndarray
    u: np.ndarray
    latent: np.ndarray

    @property
    def source(self) -> str:
        return self.hidden.table.source

    @cached_property
    def density(self) -> np.ndarray:
        """Of every member at the best third of the rows [n_members, n_best]."""
        n_best = max(len(self.u) // 3, 3)
        best = np.argsort(self.u, kind="stable")[:n_best]
        sd = np.hypot(self.sd[:, best], NOISE_SD)
        off = (np.minimum(self.u[best], CLIP) - self.mean[:, best]) / sd
        return np.exp(-0.5 * off**2) / (sd * np.sqrt(2 * np.pi)) + 1e-12

    @property
    def log_scores(self) -> np.ndarray:
        """Mean log density [n_members]."""
        return np.log(self.density).mean(axis=1)

    def regret_of(self, weights: np.ndarray) -> float:
        return float(self.latent[int(np.argmin(weights @ self.mean))])

    def log_score_of(self, weights: np.ndarray) -> float:
        return float(np.log(weights @ self.density).mean())


def predictions(table: Table) -> list[Prediction]:
    """Every experiment that may be hidden, under every seed."""
    experiments = table.whole.table.experiments
    flops = np.array([e.compute_flops for e in experiments])
    sizes = np.diff(table.whole.table.offsets)
    open_ = [
        _is_open(table.source, e.label, e.compute_flops) for e in experiments
    ]
    found = []
    for target in np.flatnonzero(np.array(open_) & (sizes >= LEAST_ROWS)):
        shown = flops * CHEAPER <= flops[target]
        levels = np.flatnonzero(shown & np.array(open_))
        if len(levels) < LEAST_LEVELS:
            continue
        times = float(flops[target] / flops[levels].max())
        hidden = HiddenExperiment(
            table, int(target), tuple(map(int, levels)), times
        )
        for seed in range(N_SEEDS):
            found.append(_predicted(hidden, seed))
    return found


def _is_open(
    source: str,
    label: str,
    flops: float,
) -> bool:
    if any(label.endswith(name) for name in VALIDATION):
        return True
    return flops < TEST_FLOPS.get(source, np.inf)


def _predicted(
    hidden: HiddenExperiment,
    seed: int,
) -> Prediction:
    drawn = _with_pool(draw(hidden, seed))
    view = drawn.view
    assert drawn.pool is not None
    council = Council()
    council.reset(view, np.random.default_rng(0))
    found = council._members(drawn.pool)
    law = make_policy("power-law")
    law.reset(view, np.random.default_rng(0))
    configurations = [view.space.decode(p) for p in drawn.pool]
    found["power-law"] = law.predict(configurations)
    flat = np.ones(len(drawn.pool)), np.ones(len(drawn.pool))
    pairs = [found.get(name, flat) for name in MEMBERS]
    latent = drawn.column("latent")
    few = len(view.space) <= FEW_KNOBS and bool(view.space.gridded.all())
    return Prediction(
        hidden,
        seed,
        MEMBERS.index("bowl" if few else "copy"),
        np.array([np.minimum(mean, CLIP) for mean, _ in pairs]),
        np.array([sd for _, sd in pairs]),
        squash(drawn.losses),
        np.asarray(regret(latent, latent)),
    )


def _with_pool(drawn: DrawnQuestion) -> DrawnQuestion:
    """The rows in play listed, those that the evidence's space can say."""
    space = drawn.evidence.table.experiments[0].space
    said = []
    points = []
    for i, point in enumerate(drawn.points):
        try:
            points.append(space.encode(drawn.space.decode(point)))
        except SpaceError:
            continue
        said.append(i)
    return replace(drawn, rows=drawn.rows[said], pool=np.array(points))


def own_record(
    here: Prediction, every: Sequence[Prediction]
) -> list[Prediction]:
    """The most expensive experiments of a question's evidence, each hidden in turn."""
    found = []
    for other in every:
        same = (
            other.hidden.table is here.hidden.table and other.seed == here.seed
        )
        if same and other.hidden.target in here.hidden.evidence:
            found.append(other)
    flops = here.hidden.experiments
    found.sort(key=lambda p: -flops[p.hidden.target].compute_flops)
    return found[:OWN_EXPERIMENTS]


def library(
    every: Sequence[Prediction],
    left_out: str,
) -> np.ndarray:
    """Weights [n_members] of highest density over the other sources, each weighing
    alike.
    """
    others = [p for p in every if p.source != left_out]
    sources = [p.source for p in others]
    weights = np.full(len(MEMBERS), 1 / len(MEMBERS))
    for _ in range(N_STEPS):
        total = np.zeros(len(MEMBERS))
        for p in others:
            share = weights[:, None] * p.density
            mine = (share / share.sum(axis=0)).mean(axis=1)
            total += mine / sources.count(p.source)
        weights = total / total.sum()
    return weights


def own_weights(record: Sequence[Prediction]) -> np.ndarray:
    """Softmax of the summed log scores: an experiment is one observation."""
    total = np.sum([p.log_scores for p in record], axis=0)
    weights = np.exp(total - total.max())
    return weights / weights.sum()


class Weighing:
    """Weights of a question by every way."""

    def __init__(self, every: Sequence[Prediction]):
        self.every = every
        sources = sorted({p.source for p in every})
        self.library = {source: library(every, source) for source in sources}
        self.records = {id(p): own_record(p, every) for p in every}
        self.kappa = {source: self._kappa(source) for source in sources}

    def shrunk(
        self,
        p: Prediction,
        kappa: float,
    ) -> np.ndarray:
        n = len(self.records[id(p)])
        shared = self.library[p.source]
        if not n:
            return shared
        own = n / (n + kappa)
        return own * own_weights(self.records[id(p)]) + (1 - own) * shared

    def best_member(self, p: Prediction) -> np.ndarray:
        record = self.records[id(p)]
        if not record:
            return np.eye(len(MEMBERS))[p.rule]
        total = np.sum([r.log_scores for r in record], axis=0)
        return np.eye(len(MEMBERS))[int(np.argmax(total))]

    def _kappa(self, left_out: str) -> float:
        """The one of highest density over the other sources."""

        def score(kappa: float) -> float:
            by_source: dict[str, list[float]] = {}
            for p in self.every:
                if p.source != left_out and self.records[id(p)]:
                    told = p.log_score_of(self.shrunk(p, kappa))
                    by_source.setdefault(p.source, []).append(told)
            return float(np.mean([np.mean(v) for v in by_source.values()]))

        return max(KAPPAS, key=score)


def ways(weighing: Weighing) -> dict[str, Callable[[Prediction], np.ndarray]]:
    """What may answer: name -> weights [n_members] of a question."""
    single = np.eye(len(MEMBERS))
    found: dict[str, Callable[[Prediction], np.ndarray]] = {
        "the library's rule": lambda p: single[p.rule]
    }
    for i, member in enumerate(MEMBERS):
        found[f"{member} alone"] = lambda p, i=i: single[i]
    found["council, equal weights"] = lambda p: COUNCIL
    found["all four, equal weights"] = lambda p: np.full(4, 0.25)
    found["all four, the library's weights"] = lambda p: weighing.library[
        p.source
    ]
    found["all four, own record shrunk to the library"] = lambda p: (
        weighing.shrunk(p, weighing.kappa[p.source])
    )
    found["best member by the own record"] = weighing.best_member
    return found


def grouped(
    judged: Sequence[Prediction], values: Mapping[int, Sequence[float]]
) -> dict[str, list[np.ndarray]]:
    """Source -> arrays [n_seeds, n_ways], one a hidden experiment."""
    rows: dict[str, dict[str, list[Sequence[float]]]] = {}
    for p in judged:
        mine = rows.setdefault(p.source, {})
        mine.setdefault(p.hidden.question_id, []).append(values[id(p)])
    found = {}
    for source, questions in rows.items():
        found[source] = [np.array(seeds) for seeds in questions.values()]
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    every: list[Prediction] = []
    for name, path in chosen_paths(()).items():
        if name not in SURROGATES:
            for table in tables(name, path):
                every += predictions(table)
    report(every)


def report(every: Sequence[Prediction]) -> None:
    """Print the table on the lab's questions."""
    weighing = Weighing(every)
    judged = [p for p in every if p.source in LAB]
    named = ways(weighing)
    values = {}
    log_scores = {}
    for p in judged:
        weights = [way(p) for way in named.values()]
        values[id(p)] = [p.regret_of(w) for w in weights]
        log_scores[id(p)] = [p.log_score_of(w) for w in weights]
    scores = grouped(judged, values)
    logs = grouped(judged, log_scores)
    found = compare(scores, list(named), "the library's rule")
    means = compare(logs, list(named), "the library's rule").means
    n = len({p.hidden.question_id for p in judged})
    with_own = [p for p in judged if weighing.records[id(p)]]
    n_own = len({p.hidden.question_id for p in with_own})
    print(f"{n} questions of {len(scores)} sources, {n_own} with an own record")
    for source, weights in weighing.library.items():
        shown = ", ".join(
            f"{m} {w:.2f}" for m, w in zip(MEMBERS, weights, strict=True)
        )
        print(f"without {source}: {shown}; kappa {weighing.kappa[source]:g}")
    for i, name in enumerate(named):
        by_source = []
        for source, experiments in scores.items():
            mean = np.mean([e[:, i].mean() for e in experiments])
            by_source.append(f"{source.removeprefix('lab-')} {mean:.3f}")
        gap = found.differences.get(name)
        told = ""
        if gap is not None:
            told = (
                f"rule - it {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
            )
        regret_mean = found.means[name].mean
        log_score = f"log score {means[name].mean:+.2f}"
        print(f"{name:44} {regret_mean:.3f}  {log_score}  {told}")
        print(f"{'':44} {'  '.join(by_source)}")
    tell_correlations(with_own, weighing)


def tell_correlations(
    judged: Sequence[Prediction],
    weighing: Weighing,
) -> None:
    """How far a member's own record says what it will do, within questions."""
    single = np.eye(len(MEMBERS))
    gathered: dict[str, list[float]] = {"own log": [], "own regret": []}
    gathered |= {"log": [], "regret": []}
    for p in judged:
        record = weighing.records[id(p)]
        own_regret = []
        for r in record:
            own_regret.append([r.regret_of(w) for w in single])
        own_log = np.mean([r.log_scores for r in record], axis=0)
        told = {
            "own log": own_log,
            "own regret": np.mean(own_regret, axis=0),
            "log": p.log_scores,
            "regret": np.array([p.regret_of(w) for w in single]),
        }
        for name, values in told.items():
            gathered[name] += list(values - values.mean())
    for a, b in (
        ("own log", "log"),
        ("own log", "regret"),
        ("own regret", "regret"),
    ):
        r = np.corrcoef(gathered[a], gathered[b])[0, 1]
        print(
            f"correlation of {a} with {b}: {r:+.2f} ({len(gathered[a])} values)"
        )


if __name__ == "__main__":
    main()
