"""The teacher: a joint bowl over all cheap experiments, then particles over where the
target's optimum really is.

The first proposal is the candidate of lowest expected loss; later ones have the highest
expected improvement of the *noisy* value, after the particles were reweighted by the
trials. Every quantity is an attribute and can be said in words.

Invariant: everything is computed from the view and the told trials; natural units
throughout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.special import ndtr

from autollm.gym.tables.squashing import log_above_one
from autollm.gym.tasks.episode import Trial
from autollm.policies.base import RankingPolicy, describe
from autollm.policies.surrogates.bowl_fit import (
    Bowl,
    fit,
    own_centre,
    prior_bowl,
)
from autollm.policies.surrogates.bowl_rows import Rows, gather_rows
from autollm.policies.surrogates.spread import expected_spread

N_PARTICLES = 400
NOISE_SD = 0.10
"""Row noise in u, that is in units of median - min."""
SHIFT_FACTOR = 0.7
"""Prior sd of the centre's shift, as a share of the leave-one-experiment-out error ..."""
SHIFT_SD = (0.2, 0.8)
"""... kept within these bounds, natural units (octaves for log knobs)."""
WIDTH_SD = 0.25
"""Sd of the log of the target's width factor."""
MAX_SCORED = 20_000
"""Candidates nearest to the extrapolated optimum that are scored; in a larger window
the others come last.
"""


class MovingBowl(RankingPolicy):
    """Attributes after reset, natural units unless said otherwise:

    bowl: the joint fit. optima [n_experiments, d]: each experiment's own fitted
    optimum, in the order of view.evidence. joint_optima [n_experiments, d]: where the
    joint fit puts them. slopes [d, f]: optimum per octave of fidelity. target_optimum
    [d]: extrapolated. leave_one_out [d]: rms error of an experiment's optimum predicted
    from the others. shift_sd [d]: prior sd of the target's optimum. spread: expected
    median - min at the target, objective's unit.
    """

    policy_id = "moving-bowl"

    def prepare(self) -> None:
        view = self.view
        self.rows: Rows = gather_rows(view, self.rng)
        self._prior = prior_bowl(view, self.rows)
        self.bowl: Bowl = fit(self.rows, self._prior)
        n = len(view.evidence)
        d = len(view.space)
        self.evidence_z = np.array(
            [e.z - view.target_z for e in view.evidence]
        ).reshape(n, len(view.target_z))
        self.joint_optima = self.bowl.centre(self.evidence_z)
        self.optima = np.array(
            [own_centre(self.rows, self.bowl, c) for c in range(n)]
        ).reshape(n, d)
        self.slopes = self.bowl.slopes
        self.target_optimum = np.clip(self.bowl.optimum, *view.space.window)
        self.leave_one_out = self._leave_one_out()
        extent = np.maximum(np.ptp(view.space.window, axis=0), 1e-6)
        low = np.minimum(SHIFT_SD[0], extent / 10)
        high = np.minimum(SHIFT_SD[1], extent / 3)
        self.shift_sd = np.clip(SHIFT_FACTOR * self.leave_one_out, low, high)
        self.spread = expected_spread(view)
        self._draw_particles()

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self._reweight()

    def scores(self) -> np.ndarray:
        """Expected u before the first outcome, minus the expected improvement in u
        afterwards.
        """
        scores = np.full(len(self.candidates), np.inf)
        scores[self._scored] = self._scores_of_near()
        return scores

    def _scores_of_near(self) -> np.ndarray:
        points, losses = self.tried
        if not len(losses):
            return self.weights @ self._u
        best = int(np.argmin(losses))
        at_best = self._heights(points[best : best + 1])
        noise = NOISE_SD * np.sqrt(2)
        gain = at_best - self._u
        scaled = gain / noise
        density = np.exp(-0.5 * scaled**2) / np.sqrt(2 * np.pi)
        return -(self.weights @ (gain * ndtr(scaled) + noise * density))

    def predict(
        self, configurations: Sequence[Mapping[str, float]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd [n] of u (squashed loss above the floor: 0 is the target's best,
        1 its median), noise left out.
        """
        points = np.array([self.view.space.encode(c) for c in configurations])
        u = self._heights(points)
        mean = self.weights @ u
        return mean, np.sqrt(np.maximum(self.weights @ (u - mean) ** 2, 0.0))

    def sampled(self, points: np.ndarray) -> np.ndarray:
        """u of points [n, d] under every particle, [n_particles, n], to be weighed by
        `weights`: the joint distribution that `predict` gives mean and sd of.
        """
        return self._heights(points)

    @property
    def posterior_optimum(self) -> np.ndarray:
        """Mean of the particles' optima [d]: the target optimum as evidence and trials
        put it together.
        """
        return self.weights @ self.particles

    def explain(self) -> str:
        space = self.view.space
        fastest = np.abs(self.slopes).max(initial=0.0)
        moves = f"no coordinate moves more than {fastest:.2f} natural units an octave"
        if len(space) == len(space.knobs):
            moves = "; ".join(self._moves_in_words())
        optimum = describe(space.decode(self.target_optimum))
        text = (
            f"{len(self.view.evidence)} experiments put the target's optimum at "
            f"{optimum} ({moves}; "
            f"leave-one-out error {np.round(self.leave_one_out, 2).tolist()} natural "
            "units)"
        )
        if self.trials:
            now = describe(space.decode(self.posterior_optimum))
            text += f"; after {len(self.trials)} trials it is {now}"
        return text

    def _moves_in_words(self) -> Iterator[str]:
        """How each knob's optimum moves along each fidelity."""
        for knob, slopes in zip(
            self.view.space.knobs, self.slopes, strict=True
        ):
            for fidelity, slope in zip(
                self.view.fidelity_names, slopes, strict=True
            ):
                if knob.scale == "log":
                    slope_text = (
                        f"{slope:+.2f} octaves per octave of {fidelity}"
                    )
                else:
                    slope_text = f"{slope * (knob.step or 1):+.3g} per octave of {fidelity}"
                yield f"{knob.name} moves {slope_text}"

    def _leave_one_out(self) -> np.ndarray:
        """Rms over experiments of (own optimum - optimum that the other experiments
        predict), [d]; large with fewer than two.
        """
        if len(self.optima) < 2:
            return np.full(len(self.view.space), SHIFT_SD[1] / SHIFT_FACTOR)
        errors = []
        for c, own in enumerate(self.optima):
            others = fit(
                self.rows.without(c),
                self._prior,
                begin=self.bowl,
                n_iterations=4,
            )
            errors.append(own - others.centre(self.evidence_z[c]))
        return np.sqrt(np.mean(np.square(errors), axis=0))

    def _draw_particles(self) -> None:
        d = len(self.view.space)
        self.particles = (
            self.target_optimum
            + self.rng.normal(size=(N_PARTICLES, d)) * self.shift_sd
        )
        self.particle_widths = np.exp(
            WIDTH_SD * self.rng.normal(size=N_PARTICLES)
        )
        self.weights = np.full(N_PARTICLES, 1 / N_PARTICLES)
        distance = np.sum((self.candidates - self.target_optimum) ** 2, axis=1)
        self._scored = np.argsort(distance, kind="stable")[:MAX_SCORED]
        self._u = self._heights(self.candidates[self._scored])

    def _heights(self, points: np.ndarray) -> np.ndarray:
        """u of points [n, d] under every particle, [n_particles, n]."""
        return self.particle_widths[:, None] * self.bowl.heights(
            points, self.particles
        )

    def _reweight(self) -> None:
        """Weights by the trials: differences to the best trial, since the target's
        floor is unknown.
        """
        points, losses = self.tried
        if len(losses) < 2:
            return
        best = int(np.argmin(losses))
        u = self._heights(points)
        observed = u[:, best : best + 1] + (losses - losses[best]) / self.spread
        observed = log_above_one(observed)
        expected = log_above_one(u)
        sd = np.sqrt(2) * NOISE_SD + 0.2 * np.minimum(observed, expected)
        log_weight = (
            -np.log1p(((observed - expected) / sd) ** 2 / 4).sum(axis=1) * 2.5
        )  # Student's t, 4 degrees
        self.weights = np.exp(log_weight - log_weight.max())
        self.weights /= self.weights.sum()
