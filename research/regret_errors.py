"""Who should propose, and how far regrets are off: hidden experiments that are no target of
any suite, asked from evidence as far away as an advisor's is.

    AUTOLLM_DATA_DIR=FOLDER python -m research.regret_errors

Sources: the lab's train and validation levels, Step Law's experiments that are no target,
RegMix at 60M. Each is hidden in turn and asked from all that cost an eighth, a quarter and
nine tenths of it at most. Prints the regret of the first pick by rule and gap; then the
prior of an error's variance, its growth, and the caution with which 90 % intervals hold 90
% on sources that were left out (autollm/advisor/statistics/regret_error.py); then the share of the
draws' odds that came true (TRUSTED_SHARE).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln
from scipy.stats import t as student

from autollm.advisor.deciding.decide import CHEAPER, DECIDER, choose, ready
from autollm.advisor.deciding.study import study
from autollm.advisor.judged.inference import mean_of_sources
from autollm.advisor.judged.questions import (
    LEAST_ROWS,
    SLACK,
    HiddenExperiment,
    draw,
)
from autollm.advisor.judged.sources import chosen_paths, tables
from autollm.core.spaces.distances import nearest
from autollm.gym.tables.squashing import squash
from autollm.gym.tasks.regret import regret
from autollm.policies.interpolation import interpolate
from research.council_weights import TEST_FLOPS, VALIDATION

OPEN_BELOW = TEST_FLOPS | {"steplaw": 6e19, "regmix": 1e20}
"""Levels from here on are test targets, but for VALIDATION."""
GAPS = (8.0, 4.0, CHEAPER)
FAR = 3.0
"""Times from which a gap counts as far in the table."""
N_SEEDS = 3
MOST_BACKTESTS = 5
CAUTIONS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
SHARES = np.arange(0.3, 1.0, 0.05)
NOMINAL = 0.9


@dataclass(frozen=True)
class Asked:
    """One question under one seed. regrets: rule -> latent regret of its first pick;
    octaves: of compute to the evidence; share, n, came: the draws' odds that the bowl's
    pick is the best of n rows, and whether it was.
    """

    hidden: HiddenExperiment
    seed: int
    regrets: dict[str, float]
    octaves: float
    share: float
    n: int
    came: bool

    @property
    def source(self) -> str:
        return self.hidden.table.source

    @property
    def error(self) -> float:
        return self.regrets[DECIDER]


def questions() -> Iterator[HiddenExperiment]:
    """Every open experiment at every gap that its ladder has."""
    for source, path in chosen_paths(tuple(OPEN_BELOW)).items():
        for table in tables(source, path):
            whole = table.whole.table
            flops = np.array([e.compute_flops for e in whole.experiments])
            open_ = np.array([is_open(source, e) for e in whole.experiments])
            enough = np.diff(whole.offsets) >= LEAST_ROWS
            for target in np.flatnonzero(open_ & enough):
                seen = set()
                for gap in GAPS:
                    near = flops * gap <= flops[target] * SLACK
                    shown = tuple(map(int, np.flatnonzero(open_ & near)))
                    if shown and shown not in seen:
                        seen.add(shown)
                        times = float(flops[target] / flops[list(shown)].max())
                        yield HiddenExperiment(table, int(target), shown, times)


def is_open(source: str, experiment) -> bool:
    """Whether an experiment is no test target."""
    if any(experiment.label.endswith(name) for name in VALIDATION):
        return True
    return experiment.compute_flops < OPEN_BELOW[source]


def ask(hidden: HiddenExperiment, seed: int) -> Asked:
    """What the bowl, a copy of the nearest experiment and both weighed alike pick."""
    drawn = draw(hidden, seed)
    found = study(
        drawn.evidence,
        dict(hidden.fidelity),
        1,
        with_backtests=False,
        pool=drawn.pool,
    )
    view = found.question.view
    policy = ready(DECIDER, view)
    p = found.divergence.probability(view.candidates, found.optimum)
    best = choose(policy, view, 1, p).points[0]
    bowl = policy.weights @ policy.sampled(view.candidates)
    distances = [np.linalg.norm(e.z - view.target_z) for e in view.evidence]
    model = view.evidence[int(np.argmin(distances))]
    copy = interpolate(view.candidates, model.points, squash(model.loss))
    points = {
        DECIDER: best,
        "copy": view.candidates[int(np.argmin(copy))],
        "both": view.candidates[
            int(np.argmin(bowl - bowl.min() + copy - copy.min()))
        ],
    }
    latent = drawn.column("latent")
    regrets = {}
    rows = {}
    for name, point in points.items():
        said = drawn.space.encode(found.question.space.decode(point))
        rows[name], _ = nearest(drawn.points, said)
        regrets[name] = float(regret(latent[rows[name]], latent))
    space = found.question.space
    there = np.array(
        [space.encode(drawn.space.decode(q)) for q in drawn.points]
    )
    winner = np.argmin(policy.sampled(there), axis=1)
    row = rows[DECIDER]
    return Asked(
        hidden,
        seed,
        regrets,
        float(np.log2(hidden.times_evidence)),
        float(policy.weights[winner == row].sum()),
        len(latent),
        bool(latent[row] <= latent.min()),
    )


def by_source(
    asked: Sequence[Asked], value: Callable[[Asked], Sequence[float]]
) -> dict[str, list[np.ndarray]]:
    """Source -> arrays [n_seeds, n_values], one a question."""
    grouped: dict[str, dict[tuple, list]] = {}
    for one in asked:
        key = one.hidden.question_id, one.hidden.evidence
        mine = grouped.setdefault(one.source, {})
        mine.setdefault(key, []).append(value(one))
    found = {}
    for source, mine in grouped.items():
        found[source] = [np.array(values) for values in mine.values()]
    return found


def own_record(one: Asked, asked: Sequence[Asked]) -> list[Asked]:
    """Backtests of a question: experiments of its evidence, each at its widest gap from
    at least two others.
    """
    widest: dict[int, Asked] = {}
    for other in asked:
        hidden = other.hidden
        same = hidden.table is one.hidden.table and other.seed == one.seed
        inside = hidden.target in one.hidden.evidence
        if not same or not inside or len(hidden.evidence) < 2:
            continue
        if not set(hidden.evidence) <= set(one.hidden.evidence):
            continue
        before = widest.get(hidden.target)
        if before is None or other.octaves > before.octaves:
            widest[hidden.target] = other
    return list(widest.values())[:MOST_BACKTESTS]


def fitted(asked: Sequence[Asked]) -> np.ndarray:
    """(df, sd, growth) of highest marginal likelihood, the source as the unit, a hidden
    experiment counted once; weak priors keep them finite.
    """
    counts: dict[tuple, int] = {}
    for one in asked:
        key = one.hidden.table.name, one.hidden.target
        counts[key] = counts.get(key, 0) + 1
    weights = np.array(
        [1 / counts[o.hidden.table.name, o.hidden.target] for o in asked]
    )
    errors = np.array([one.error for one in asked])
    octaves = np.array([one.octaves for one in asked])
    sources = np.array([one.source for one in asked])

    def loss(theta: np.ndarray) -> float:
        df, sd, growth = np.exp(theta)
        wide = 1 + growth * octaves
        total = 0.5 * (theta[0] - np.log(3)) ** 2
        total += 0.5 * (theta[2] - np.log(0.3)) ** 2
        for source in set(sources.tolist()):
            mine = sources == source
            n = weights[mine].sum()
            squares = weights[mine] @ (errors[mine] / wide[mine]) ** 2
            total -= gammaln((df + n) / 2) - gammaln(df / 2)
            total -= df / 2 * np.log(df * sd**2)
            total += (df + n) / 2 * np.log(df * sd**2 + squares)
            total += weights[mine] @ np.log(wide[mine])
        return float(total)

    start = np.log([3.0, 0.15, 0.3])
    return np.exp(minimize(loss, start, method="Nelder-Mead").x)


def highs(
    asked: Sequence[Asked], every: Sequence[Asked], prior: np.ndarray
) -> np.ndarray:
    """Upper ends of the 90 % intervals at the picks [n]; 1 bounds everything."""
    df, sd, growth = prior
    found = []
    for one in asked:
        own = own_record(one, every)
        squares = sum((o.error / (1 + growth * o.octaves)) ** 2 for o in own)
        freedom = df + len(own)
        variance = (df * sd**2 + squares) / freedom
        wide = (1 + growth * one.octaves) * np.sqrt(variance)
        found.append(float(student.ppf(0.95, freedom) * wide))
    return np.minimum(found, 1.0)


def tell_regrets(asked: Sequence[Asked]) -> None:
    """Mean regret of the first pick, by rule and gap."""
    near = [a for a in asked if a.hidden.times_evidence < FAR]
    far = [a for a in asked if a.hidden.times_evidence >= FAR]
    names = list(asked[0].regrets)
    for label, some in (("all", asked), ("near", near), ("far", far)):
        scores = by_source(some, lambda a: [a.regrets[n] for n in names])
        means = mean_of_sources(scores)
        told = "  ".join(
            f"{n} {m:.3f}" for n, m in zip(names, means, strict=True)
        )
        print(f"{label:5} {told}")
        for source, values in scores.items():
            mine = np.mean([v.mean(axis=0) for v in values], axis=0)
            print(f"      {source:18} {len(values):3}", np.round(mine, 3))


def tell_errors(asked: Sequence[Asked]) -> None:
    """The prior of all sources, and coverage with that of the others."""
    print("df, sd, growth:", np.round(fitted(asked), 3))
    priors = {}
    for source in {a.source for a in asked}:
        priors[source] = fitted([a for a in asked if a.source != source])
    for caution in CAUTIONS:
        held = {}
        for source, (df, sd, growth) in priors.items():
            mine = [a for a in asked if a.source == source]
            wide = highs(mine, asked, np.array([df, caution * sd, growth]))
            errors = np.array([a.error for a in mine])
            held[source] = float(np.mean((errors <= wide) | (wide >= 1)))
        told = {source: round(share, 2) for source, share in held.items()}
        print(f"caution {caution}: {np.mean(list(held.values())):.3f}", told)


def tell_odds(asked: Sequence[Asked]) -> None:
    """The share of the draws' odds of highest likelihood, sources weighing alike."""
    sources = [a.source for a in asked]
    weights = np.array([1 / sources.count(s) for s in sources])
    shares = np.array([a.share for a in asked])
    n = np.array([a.n for a in asked])
    came = np.array([a.came for a in asked])
    best = []
    for trusted in SHARES:
        p = trusted * shares + (1 - trusted) / n
        p = np.clip(np.where(came, p, 1 - p), 1e-3, 1)
        best.append(float(weights @ np.log(p)))
    print(f"trusted share: {SHARES[int(np.argmax(best))]:.2f}")


def main() -> None:
    warnings.simplefilter("ignore")
    asked = []
    for hidden in questions():
        asked += [ask(hidden, seed) for seed in range(N_SEEDS)]
    print(f"{len(asked)} answers of {len({a.source for a in asked})} sources")
    tell_regrets(asked)
    tell_errors(asked)
    tell_odds(asked)


if __name__ == "__main__":
    main()
