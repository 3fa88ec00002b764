"""Evaluations: who plays what, on which snapshot, and what is written about it.

What does not belong here: playing and statistics (autollm.evaluation). Invariant: an
evaluation's identity names all that its scores depend on; a finished one is read, not
repeated.
"""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import ValidationError

from autollm.agent.chat import ChatModel
from autollm.agent.checkpoint_files import check_files
from autollm.agent.profiles import TrainConfig
from autollm.core.errors import ComparisonError, SnapshotError
from autollm.core.files import exists, join
from autollm.core.identity import code_digest, identity_of
from autollm.core.places import Places
from autollm.core.sealed import read_sealed, write_sealed
from autollm.evaluation import contenders, leaderboard
from autollm.evaluation.contenders import Contender
from autollm.evaluation.look_log import record_look, record_opening
from autollm.evaluation.protocol import EpisodeResult, task_digest
from autollm.evaluation.report import Published, publish
from autollm.evaluation.runner import evaluate, evaluation_id
from autollm.evaluation.scores import Leaderboard
from autollm.gym.environments.text import tool_texts
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tables.snapshot import open_snapshot
from autollm.gym.tasks.suites import Suite, load_suite
from autollm.lab.live import MAX_SECONDS, LiveLab, level_of
from autollm.policies.registry import REGISTRY
from autollm.stages.agents import Agent
from autollm.stages.version import commit

log = logging.getLogger(__name__)
LIVE_CODE = ("autollm.lab.live",)
"""Modules that make the outcomes of a live play."""
AGENT_CODE = ("autollm.agent.policy", "autollm.agent.generation")
"""Modules that play a checkpoint."""
CHAT_CODE = ("autollm.agent.chat",)
CHAT = "chat"
"""What stands for the stage of a chat model, which nobody trained here."""


@dataclass(frozen=True)
class Request:
    """What shall be judged. `objectives`: tasks with these alone; all when empty.
    `suites` that the snapshot cannot play are left out when `skip_missing`. `live`:
    proposals are trained by the lab, each for at most `max_seconds`. `open_sealed`: why
    sealed suites are opened; without it they are refused.
    """

    suites: tuple[str, ...]
    policies: tuple[str, ...]
    agents: tuple[Agent, ...]
    n_seeds: int
    config: TrainConfig
    split: Literal["test", "validation", "train"] = "test"
    objectives: tuple[str, ...] = ()
    setting: Literal["declared", "pool-visible"] = "declared"
    target_rows: Literal["redraw", "all"] = "redraw"
    jobs: int = 2
    skip_missing: bool = False
    chats: tuple[ChatModel, ...] = ()
    live: bool = False
    max_seconds: float = MAX_SECONDS
    open_sealed: str = ""

    @property
    def command(self) -> str:
        """The command that repeats it."""
        who = [*self.policies, *(chat.spec for chat in self.chats)]
        who += [agent.policy_id for agent in self.agents if not agent.reference]
        said = {
            "--policies": ",".join(who),
            "--agent": ",".join(map("+".join, self._references())),
            "--seeds": str(self.n_seeds),
            "--objective": ",".join(self.objectives),
        }
        unusual = {
            "--setting": (self.setting, "declared"),
            "--target-rows": (self.target_rows, "redraw"),
        }
        parts = ["autollm evaluate", f"--suite {','.join(self.suites)}"]
        parts += [
            f"{option} {value}" for option, value in said.items() if value
        ]
        for option, (value, usual) in unusual.items():
            if value != usual:
                parts.append(f"{option} {value}")
        if self.open_sealed:
            parts.append(f"--open-sealed {shlex.quote(self.open_sealed)}")
        if self.live:
            parts.append("--live")
            if self.max_seconds != MAX_SECONDS:
                parts.append(f"--max-seconds {self.max_seconds:g}")
        if self.split != "test":
            parts.append(f"--split {self.split}")
        return " ".join(parts)

    def without(self, suites: Sequence[str]) -> Request:
        """The same request on fewer suites."""
        kept = tuple(suite for suite in self.suites if suite not in suites)
        return replace(self, suites=kept)

    def _references(self) -> list[list[str]]:
        """What names agents on a command line, trainings of one agent together."""
        by_agent: dict[str, list[str]] = {}
        for agent in self.agents:
            if agent.reference:
                own = by_agent.setdefault(agent.policy_id, [])
                own.append(agent.reference)
        return list(by_agent.values())


@dataclass(frozen=True)
class Judged:
    """A finished evaluation: its own identity, that of its episodes, and where it is
    tracked.
    """

    identity: str
    evaluation_id: str
    table_id: str
    suites: list[str]
    left_out: list[str]
    mlflow_run: str
    mlflow_experiment: str
    board: Leaderboard

    @property
    def facts(self) -> dict[str, str]:
        """What a person wants to see of it, beside the scores."""
        run = f"experiments/{self.mlflow_experiment}/runs/{self.mlflow_run}"
        return {
            "evaluation_id": self.evaluation_id,
            "table_id": self.table_id,
            "suites": ", ".join(self.suites),
            "left out": ", ".join(self.left_out) or "none",
            "mlflow": f"#/{run}",
        }


def playable(
    suite_ids: Sequence[str],
    table: OutcomeTable,
    skip_missing: bool,
    open_sealed: str = "",
) -> tuple[list[Suite], list[str]]:
    """Suites, and the ids of those that are left out because the table lacks their
    experiments.

    Raises:
        SealedError: a suite is sealed, and `open_sealed` says no reason to open it.
    """
    suites = [load_suite(s, table).opened(open_sealed) for s in suite_ids]
    if not skip_missing:
        return suites, []
    found = [suite for suite in suites if not suite.missing(table)]
    left_out = [suite.suite_id for suite in suites if suite not in found]
    return found, left_out


def evaluation_identity(request: Request, table: OutcomeTable) -> str:
    """16 hex digits over the tasks and the rows that they show, the contenders, and the
    code that plays and judges.
    """
    tasks = {}
    suites, _ = playable(request.suites, table, True, request.open_sealed)
    for suite in suites:
        for task in suite.split(request.split):
            tasks[f"{suite.suite_id} {task.task_id}"] = task_digest(task, table)
    return identity_of(
        {
            "suites": list(request.suites),
            "tasks": tasks,
            "contenders": identities_of(request),
            "seeds": request.n_seeds,
            "split": request.split,
            "objectives": list(request.objectives),
            "setting": request.setting,
            "target_rows": request.target_rows,
            "skip_missing": request.skip_missing,
            "code": code_digest(["autollm.evaluation.leaderboard"], REGISTRY),
        }
    )


def identities_of(request: Request) -> dict[str, str]:
    """Who plays, with the identity of each; no policy and no weights are loaded."""
    modules = LIVE_CODE if request.live else ()
    out = {p: contenders.policy_identity(p, modules) for p in request.policies}
    for agent in _agents_of(request):
        out[agent.policy_id] = agent.player.identity
    return out


def field_of(request: Request) -> list[Contender]:
    """Everybody who plays."""
    modules = LIVE_CODE if request.live else ()
    return [
        *(contenders.registered(p, modules) for p in request.policies),
        *_agents_of(request),
    ]


def _agents_of(request: Request) -> Iterator[Contender]:
    modules = LIVE_CODE if request.live else ()
    for chat in request.chats:
        yield chat_contender(chat, modules)
    for agent in request.agents:
        yield contender(agent, request.config, modules)


def finished(
    places: Places, request: Request, table: OutcomeTable
) -> Judged | None:
    """A finished evaluation of this request on these rows; it may have been judged on
    an older snapshot that shows the same ones.
    """
    url = _judged_url(places, evaluation_identity(request, table))
    if not exists(url):
        return None
    try:
        fields = read_sealed(url, ComparisonError, "judge again.")
        board = Leaderboard.of_json(fields.pop("board")).on_table(
            table.table_id
        )
        return Judged(**{**fields, "table_id": table.table_id}, board=board)
    except (ComparisonError, ValidationError, KeyError, TypeError) as error:
        log.warning("%s is judged again: %s", url, error)
        return None


def _judged_url(places: Places, identity: str) -> str:
    return join(places.reports, "judged", f"{identity}.json")


def play(
    places: Places, request: Request, table: OutcomeTable
) -> tuple[list[EpisodeResult], list[str]]:
    """Play what is not stored yet; returns all results, and the suites that were left
    out.

    Raises:
        SnapshotError: a suite needs experiments that the snapshot does not hold, and
            nothing may be left out.
    """
    suites, left_out = playable(
        request.suites, table, request.skip_missing, request.open_sealed
    )
    results = evaluate(
        suites,
        field_of(request),
        request.n_seeds,
        table,
        out_url=places.episodes,
        setting=request.setting,
        target_rows=request.target_rows,
        split=request.split,
        objectives=request.objectives,
        jobs=request.jobs,
    )
    return results, left_out


def open_table(places: Places, request: Request) -> OutcomeTable:
    """The published snapshot, with outcomes by training where the request is live:
    their logs go into the inbox.

    Raises:
        EpisodeError: live, and a task's target is none that the lab can train.
        SnapshotError: none is published.
        SealedError: a suite is sealed, and the request gives no reason to open it.
    """
    for suite_id in request.suites:
        load_suite(suite_id).opened(request.open_sealed)
    table = open_snapshot(places.home)
    if not request.live:
        return table
    for suite in playable(request.suites, table, True, request.open_sealed)[0]:
        for task in suite.split(request.split):
            level_of(table.experiments[table.index(task.target)], task.task_id)
    return table.with_outcomes_from(
        LiveLab(
            places.inbox / "live",
            places.lab,
            places.locks / "live",
            request.max_seconds,
        )
    )


def judge(
    places: Places, request: Request, tags: Mapping[str, str] | None = None
) -> Judged:
    """Play, build the leaderboard and track it in MLflow; nothing is published. A look
    at test tasks is written down.
    """
    table = open_table(places, request)
    identity = evaluation_identity(request, table)
    known = finished(places, request, table)
    if known is not None:
        return known
    _note_opening(places, request, table)
    results, left_out = play(places, request, table)
    if not results:
        raise SnapshotError(
            f"snapshot {table.table_id} holds the experiments of none of "
            f"{', '.join(request.suites)}: nothing to judge on "
            f"their {request.split} tasks. Fix: ingest their source (autollm ingest "
            "PATH), then autollm run."
        )
    request = request.without(left_out)
    _note_look(places, request, results)
    board = leaderboard.build(results, command=request.command, commit=commit())
    judged = _tracked(places, request, board, identity, left_out, tags or {})
    fields = {
        f.name: getattr(judged, f.name) for f in dataclasses.fields(judged)
    }
    write_sealed(
        _judged_url(places, identity), {**fields, "board": board.as_json()}
    )
    return judged


def _tracked(
    places: Places,
    request: Request,
    board: Leaderboard,
    identity: str,
    left_out: list[str],
    tags: Mapping[str, str],
) -> Judged:
    """The evaluation as a run of MLflow."""
    from autollm.tracking import Tracker

    params = {
        "split": request.split,
        "setting": request.setting,
        "target_rows": request.target_rows,
        "n_seeds": request.n_seeds,
        "suites": ",".join(request.suites),
        "table_id": board.table_id,
    }
    all_tags = {
        "commit": commit(),
        "table_id": board.table_id,
        "evaluation_id": board.evaluation_id,
        **tags,
    }
    with Tracker(places).run(
        "evaluation",
        identity,
        f"{request.split} {board.evaluation_id}",
        params,
        all_tags,
    ) as run:
        written = board.as_json()
        run.table(written["rows"], "leaderboard.json")
        if written["pairs"]:
            run.table(written["pairs"], "pairs.json")
        run.final(_scalars(board))
    return Judged(
        identity,
        board.evaluation_id,
        board.table_id,
        sorted({row.suite for row in board.rows}),
        left_out,
        run.run_id,
        run.experiment_id,
        board,
    )


def publish_report(places: Places, request: Request) -> Published:
    """Leaderboard and page of an evaluation under reports/<evaluation_id>, and
    `reports/latest`; a look unless judge wrote it.
    """
    table = open_table(places, request)
    _note_opening(places, request, table)
    results, left_out = play(places, request, table)
    shown = request.without(left_out)
    if finished(places, request, table) is None:
        _note_look(places, shown, results)
    return publish(
        results, table, places.home, command=shown.command, commit=commit()
    )


def contender(
    agent: Agent, config: TrainConfig, modules: Sequence[str] = ()
) -> Contender:
    """An agent as a row of the leaderboard; its weights are loaded only if it has
    something to play.
    """

    def make() -> Any:
        from autollm.agent.generation import make_generator
        from autollm.agent.policy import AgentPolicy

        check_files(agent.folder, agent.digest)
        return AgentPolicy(
            agent.policy_id, make_generator(config, str(agent.folder))
        )

    decoding = (
        "greedy"
        if config.generation.temperature == 0
        else f"temperature {config.generation.temperature:g}"
    )
    return contenders.agent(
        agent.policy_id,
        agent.digest,
        make,
        stage=agent.stage,
        decoding=decoding,
        traced_numbers=_traced,
        modules=[*AGENT_CODE, *modules],
        reads={
            "tools": tool_texts(),
            "generation": config.generation.model_dump(mode="json"),
        },
        training=agent.training,
    )


def chat_contender(chat: ChatModel, modules: Sequence[str] = ()) -> Contender:
    """A chat model as a row of the leaderboard. Its plays cost money: they are stored
    task by task.
    """

    def make() -> Any:
        from autollm.agent.chat import make_chat_agent

        return make_chat_agent(chat)

    return contenders.agent(
        chat.policy_id,
        chat.version,
        make,
        stage=CHAT,
        decoding="greedy",
        traced_numbers=_traced,
        tasks_at_once=1,
        modules=[*CHAT_CODE, *modules],
        reads={"tools": tool_texts()},
    )


def _traced(conversation: list[dict[str, Any]]) -> tuple[int, int]:
    from autollm.agent.transcript import traced_numbers

    return traced_numbers(conversation)


def _note_opening(
    places: Places, request: Request, table: OutcomeTable
) -> None:
    """Write down that sealed suites are opened, before anything of them is played."""
    suites = [load_suite(suite_id, table) for suite_id in request.suites]
    here = [s.suite_id for s in suites if s.sealed and not s.missing(table)]
    if here:
        record_opening(
            places.home,
            command=request.command,
            suites=here,
            policies=list(identities_of(request)),
            reason=request.open_sealed,
            commit=commit(),
        )


def _note_look(
    places: Places, request: Request, results: Sequence[EpisodeResult]
) -> None:
    """Write a look at test tasks down, before anybody sees their scores."""
    if request.split != "test":
        return
    suites = {result.suite for result in results}
    record_look(
        places.home,
        command=request.command,
        evaluation_id=evaluation_id(results),
        suites=sorted(suites),
        policies=sorted({result.player for result in results}),
    )


def _scalars(board: Leaderboard) -> dict[str, float]:
    """What MLflow draws of an evaluation."""
    return {
        f"{r.suite}/{r.player}/regret_k{r.k}": r.regret_mean for r in board.rows
    }
