"""Evaluations: who plays what, on which snapshot, and what is written about it.

Invariant: an evaluation's identity names all that its scores depend on; a finished one
is read, not repeated.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from autollm.core.errors import ComparisonError, SnapshotError
from autollm.core.files import exists, join
from autollm.core.identity import code_digest, identity_of
from autollm.core.places import Places
from autollm.core.sealed import read_sealed, write_sealed
from autollm.evaluation import leaderboard
from autollm.evaluation.look_log import record_look, record_opening
from autollm.evaluation.protocol import EpisodeResult, task_digest
from autollm.evaluation.report import Published, publish
from autollm.evaluation.runner import evaluate, evaluation_id
from autollm.evaluation.scores import Leaderboard
from autollm.gym.tables.outcome_table import OutcomeTable
from autollm.gym.tables.snapshot import open_snapshot
from autollm.gym.tasks.suites import load_suite
from autollm.lab.live import LiveLab, level_of
from autollm.policies.registry import REGISTRY
from autollm.stages.evaluation_players import field_of, identities_of
from autollm.stages.evaluation_request import EvaluationRequest, playable
from autollm.stages.version import commit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinishedEvaluation:
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
    leaderboard: Leaderboard

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


def evaluation_identity(request: EvaluationRequest, table: OutcomeTable) -> str:
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


def finished(
    places: Places, request: EvaluationRequest, table: OutcomeTable
) -> FinishedEvaluation | None:
    """A finished evaluation of this request on these rows; it may have been judged on
    an older snapshot that shows the same ones.
    """
    url = _judged_url(places, evaluation_identity(request, table))
    if not exists(url):
        return None
    try:
        fields = read_sealed(url, ComparisonError, "judge again.")
        scores = Leaderboard.of_json(fields.pop("leaderboard"))
        current = {
            "table_id": table.table_id,
            "leaderboard": scores.on_table(table.table_id),
        }
        return FinishedEvaluation(**{**fields, **current})
    except (ComparisonError, ValidationError, KeyError, TypeError) as error:
        log.warning("%s is judged again: %s", url, error)
        return None


def _judged_url(places: Places, identity: str) -> str:
    return join(places.reports, "judged", f"{identity}.json")


def play(
    places: Places, request: EvaluationRequest, table: OutcomeTable
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


def open_table(places: Places, request: EvaluationRequest) -> OutcomeTable:
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
    places: Places,
    request: EvaluationRequest,
    tags: Mapping[str, str] | None = None,
) -> FinishedEvaluation:
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
    evaluated = _tracked(places, request, board, identity, left_out, tags or {})
    fields = {
        f.name: getattr(evaluated, f.name)
        for f in dataclasses.fields(evaluated)
    }
    fields["leaderboard"] = board.as_json()
    write_sealed(_judged_url(places, identity), fields)
    return evaluated


def _tracked(
    places: Places,
    request: EvaluationRequest,
    board: Leaderboard,
    identity: str,
    left_out: list[str],
    tags: Mapping[str, str],
) -> FinishedEvaluation:
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
    return FinishedEvaluation(
        identity,
        board.evaluation_id,
        board.table_id,
        sorted({row.suite for row in board.rows}),
        left_out,
        run.run_id,
        run.experiment_id,
        board,
    )


def publish_report(places: Places, request: EvaluationRequest) -> Published:
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


def _note_opening(
    places: Places, request: EvaluationRequest, table: OutcomeTable
) -> None:
    """Write down that sealed suites are opened, before anything of them is played."""
    suites = [load_suite(suite_id, table) for suite_id in request.suites]
    opened = [s.suite_id for s in suites if s.sealed and not s.missing(table)]
    if opened:
        record_opening(
            places.home,
            command=request.command,
            suites=opened,
            policies=list(identities_of(request)),
            reason=request.open_sealed,
            commit=commit(),
        )


def _note_look(
    places: Places, request: EvaluationRequest, results: Sequence[EpisodeResult]
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
