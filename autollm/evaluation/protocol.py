"""One episode, judged: a policy plays a task under one seed, and all that a leaderboard
needs is written down.

Protocol: docs/protocol.md. A policy that raises or answers nonsense spends its trials
as malformed calls: that is a result.

Invariant: a result is determined by (table, task, seed, policy and its version).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from autollm.core.identity import identity_of
from autollm.core.ids import player_name
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tasks.episode import Episode, start
from autollm.gym.tasks.regret import regret
from autollm.gym.tasks.task import Task
from autollm.gym.tasks.trial import Trial, read_proposal
from autollm.policies.base import Policy


@dataclass(frozen=True)
class EpisodeResult:
    """A judged episode. Lists hold one value per trial of the task (k = 1 ... trials).

    table_id: the snapshot that it stands on. task_digest: what was asked, and the rows
    that could be read (see task_digest). live: outcomes were trained, not looked up.
    policy_version: its own version, or the digest of its weights; policy_identity: all
    that decides its play.
    raw_gap: best found minus the best row, objective's unit (below 0 where a live run
    beat it). rank: of the best found, 1 is the best. oracle_regret: what the smoothed
    oracle gets on the same draw. n_calls, malformed, repeated, off_table: counts.
    inference_regret: latent regret of the submitted configuration (of the incumbent
    when nothing was submitted). n_traced, n_numbers: numbers in an agent's thoughts
    that stand in what it had read, and all of them. training: which of several
    trainings of one agent played, from 1; 0 where there is one.
    """

    table_id: str
    task_digest: str
    live: bool
    suite: str
    suite_version: int
    task_id: str
    target: str
    split: str
    setting: str
    target_rows: str
    masked: bool
    trials: int
    policy: str
    policy_version: str
    policy_identity: str
    stage: str
    decoding: str
    seed: int
    regret: list[float]
    latent_regret: list[float]
    raw_gap: list[float]
    rank: list[int]
    oracle_regret: list[float]
    inference_regret: float
    diverged_first: bool
    n_calls: int
    malformed: int
    repeated: int
    off_table: int
    cost_flops: float
    cost_device_hours: float
    trials_json: str
    n_traced: int = 0
    n_numbers: int = 0
    transcript_json: str = ""
    error: str = ""
    training: int = 0

    @property
    def player(self) -> str:
        """Who played, as tables and pictures name them."""
        return player_name(self.policy, self.training)

    @property
    def key(self) -> tuple[Any, ...]:
        """Identity: work of equal key is done once."""
        return (self.task_digest, self.player, self.policy_identity, self.seed)

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Player:
    """Who played, as the leaderboard names it; `identity`: 16 hex digits over all that
    decides how it plays.
    """

    policy_id: str
    version: str = "1"
    stage: str = ""
    decoding: str = ""
    identity: str = ""
    training: int = 0

    @property
    def name(self) -> str:
        """As tables and pictures name it."""
        return player_name(self.policy_id, self.training)


@dataclass(frozen=True)
class Calls:
    """What an agent's calls were like; for a rule every trial is one call."""

    n_calls: int
    malformed: int
    n_traced: int = 0
    n_numbers: int = 0
    transcript: list[dict[str, Any]] = field(default_factory=list)


def task_digest(task: Task, table: OutcomeTable) -> str:
    """16 hex digits over a task as it is posed, and over what can be read of its
    experiments: equal however many others the table holds.
    """
    rows = table.digest((task.target, *task.evidence, *task.charged))
    return identity_of({"task": asdict(task), "rows": rows, "live": table.live})


def key_of(
    task: Task, table: OutcomeTable, player: Player, seed: int
) -> tuple[Any, ...]:
    """The key that the result of this episode will have."""
    return (task_digest(task, table), player.name, player.identity, seed)


def play(
    policy: Policy,
    task: Task,
    table: OutcomeTable,
    seed: int,
    player: Player | None = None,
) -> EpisodeResult:
    """Let a policy play a task and judge it. `player` defaults to the policy's own id
    and version.
    """
    episode = start(task, table, seed)
    error = ""
    try:
        _play_out(policy, episode)
    # any policy's own fault is its result; the other episodes go on
    except Exception as raised:
        error = _stored_text(f"{type(raised).__name__}: {raised}")
        while not episode.done:
            episode.malformed()
    return result_of(
        episode,
        player or Player(policy.policy_id, str(policy.version)),
        error=error,
    )


def _stored_text(text: str) -> str:
    """Text that UTF-8 can hold: a message may quote half of a surrogate pair."""
    return text.encode(errors="replace").decode()


def _play_out(policy: Policy, episode: Episode) -> None:
    drawn = episode.drawn
    policy.reset(drawn.view, np.random.default_rng(drawn.policy_seed))
    if policy.sees_target:
        oracle: Any = policy
        oracle.reset_with_target(episode)
    while not episode.done:
        proposals = policy.ask(1)
        if proposals:
            experiment, configuration, until = read_proposal(proposals[0])
            policy.tell(episode.run(configuration, experiment, until))
        else:  # it has nothing to say, which costs a trial
            policy.tell(episode.malformed())


def result_of(
    episode: Episode,
    player: Player,
    calls: Calls | None = None,
    error: str = "",
) -> EpisodeResult:
    """Judge a played episode, whoever played it."""
    task = episode.drawn.task
    trials = episode.trials
    calls = calls or Calls(len(trials), _count(trials, "malformed"))
    gap, rank = _found(episode)
    first = next((t for t in trials if not t.experiment and t.share == 1), None)
    return EpisodeResult(
        table_id=episode.table.table_id,
        task_digest=task_digest(task, episode.table),
        live=episode.table.live,
        suite=task.suite_id,
        suite_version=task.suite_version,
        task_id=task.task_id,
        target=task.target,
        split=task.split,
        setting=task.setting,
        target_rows=task.target_rows,
        masked=task.masked,
        trials=task.trials,
        policy=player.policy_id,
        policy_version=player.version,
        policy_identity=player.identity,
        stage=player.stage,
        decoding=player.decoding,
        seed=episode.drawn.seed,
        regret=episode.regret_curve().tolist(),
        latent_regret=episode.regret_curve(latent=True).tolist(),
        raw_gap=gap.tolist(),
        rank=rank.tolist(),
        oracle_regret=oracle_curve(episode).tolist(),
        inference_regret=episode.inference_regret(),
        diverged_first=bool(first and first.diverged),
        n_calls=calls.n_calls,
        malformed=calls.malformed,
        repeated=_count(trials, "repeated"),
        off_table=_count(trials, "off_table", "infeasible"),
        cost_flops=episode.ledger.cost_flops,
        cost_device_hours=episode.ledger.cost_device_hours,
        trials_json=json.dumps(list(map(_written, trials))),
        n_traced=calls.n_traced,
        n_numbers=calls.n_numbers,
        transcript_json=json.dumps(calls.transcript)
        if calls.transcript
        else "",
        error=error,
        training=player.training,
    )


def _count(trials: Sequence[Trial], *statuses: str) -> int:
    return sum(trial.status in statuses for trial in trials)


def _written(trial: Trial) -> list[Any]:
    """[status, point, loss], then the experiment where it is not the target, and the
    share of its steps where the run was paused.
    """
    out: list[Any] = [trial.status, list(trial.point)]
    out.append(None if np.isnan(trial.loss) else trial.loss)
    if trial.experiment or trial.share < 1:
        out.append(trial.experiment)
    if trial.share < 1:
        out.append(trial.share)
    return out


def oracle_curve(episode: Episode) -> np.ndarray:
    """Realised regret of taking the draw's rows in the order of the smoothed table,
    float64 [trials].
    """
    n = episode.drawn.task.trials
    order = np.argsort(episode.latent, kind="stable")[:n]
    best = np.minimum.accumulate(episode.losses[order])
    curve = np.asarray(regret(best, episode.losses), dtype=float)
    return np.concatenate([curve, np.full(n - len(curve), curve[-1])])


def _found(episode: Episode) -> tuple[np.ndarray, np.ndarray]:
    """Raw gap and rank of the best found row after each trial; median row's gap and the
    last rank while nothing is found.
    """
    losses = episode.losses
    n_trials = episode.drawn.task.trials
    best = float(np.min(losses))
    gap = np.full(n_trials, float(np.median(losses)) - best)
    rank = np.full(n_trials, len(losses))
    for k, index in enumerate(episode.incumbents()):
        if index >= 0:
            counted_loss = episode.comparable_loss(episode.trials[index])
            gap[k] = counted_loss - best
            rank[k] = 1 + int(np.sum(losses < counted_loss))
    return gap, rank
