"""The advisor as tools of the Model Context Protocol, so that a coding agent which runs
experiments can consult it: `autollm mcp`, over stdin and stdout.

Files are read below one folder alone, answers are bounded and hold no secret, nothing
is executed, and nothing is written but what the ledger is asked to keep. Invariant: a
tool ends in an answer or in a sentence that says what to do, never in a traceback.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from autollm.advisor.answer import Advice
from autollm.advisor.asking.native import names_of
from autollm.advisor.deciding.study import Study
from autollm.advisor.evidence.evidence import (
    Evidence,
    LogOptions,
    read_evidence,
)
from autollm.advisor.keeping import keep
from autollm.advisor.kept import ledger
from autollm.advisor.kept.telling import reported
from autollm.advisor.recommend import explore
from autollm.advisor.statistics.noise_test import NoiseTest, noise_test
from autollm.core.errors import AutoLLMError
from autollm.core.redaction import redact
from autollm.core.refusals import sentence_of
from autollm.core.statuses import STATUSES

MAX_CHARACTERS = 40_000
"""Of an answer: about a tenth of what a model of today reads at once."""
PAGE = 20
"""Rows on a page, as in the gym's text view."""
INSTRUCTIONS = """Advice for expensive training runs from logs of cheaper ones.
Call what_can_i_know first: it says which questions the logs can answer. Then recommend
or check with a target such as params=7e9,tokens=1.4e11. A difference smaller than the
noise that every answer carries is no difference: ask is_it_noise. Regret is in units of
(median - best) of the target: 0 is the best configuration, 1 the median one."""

Logs = Annotated[
    str,
    Field(description="A log, a table, or a folder of them.", max_length=4096),
]
Where = Annotated[
    str,
    Field(description="The target: params=7e9,tokens=1.4e11.", max_length=1000),
]
Objective = Annotated[
    str,
    Field(
        description="Its column, with :min or :max (val_loss:min).",
        max_length=200,
    ),
]


class Consultant:
    """The tools. `root`: logs are read below this folder alone. `home`: where own
    mappings lie.
    """

    def __init__(self, root: Path, home: str = ""):
        self.root = root.resolve()
        self.home = home
        self._read: dict[tuple[str, str, int], Evidence] = {}

    def what_can_i_know(
        self, logs: Logs, target: Where, objective: Objective = ""
    ) -> str:
        """What these logs can answer about a target (learning rate, batch size, outcome,
        noise ...): yes, partly or no, why, and the cheapest runs that would change it.
        """
        _, advice = self._explore(logs, target, objective, trials=1)
        told = advice.to_json()
        kept = (
            "target",
            "can_answer",
            "laws",
            "warnings",
            "assumptions",
            "evidence",
        )
        return _answer(told, kept)

    def list_sources(self, logs: Logs, objective: Objective = "") -> str:
        """What lies in a log or folder: runs, experiments from cheap to expensive, knobs,
        how runs ended, the noise of repeats.
        """
        evidence = self._evidence(logs, objective)
        statuses: dict[str, int] = {}
        for run in evidence.runs:
            statuses[run["status"]] = statuses.get(run["status"], 0) + 1
        experiments = []
        for experiment in evidence.table.experiments:
            fidelity = {
                evidence.native(k): v for k, v in experiment.fidelity.items()
            }
            flops = experiment.compute_flops if evidence.has_flops else None
            experiments.append({"fidelity": fidelity, "flops": flops})
        space = evidence.table.experiments[-1].space
        return _bounded(
            {
                "source": evidence.source,
                "runs": len(evidence.runs),
                "ended": statuses,
                "objective": evidence.native(
                    evidence.table.experiments[-1].objective
                ),
                "knobs": [evidence.native(knob.name) for knob in space.knobs],
                "experiments": experiments[-PAGE:],
                "experiments_not_shown": max(0, len(experiments) - PAGE),
                "noise_sd": evidence.sd_replicas,
            }
        )

    def query_experiments(
        self,
        logs: Logs,
        page: Annotated[
            int, Field(ge=0, le=100_000, description="From 0.")
        ] = 0,
        objective: Objective = "",
    ) -> str:
        """Runs, the best outcome first: configuration, fidelity, outcome, status, file."""
        evidence = self._evidence(logs, objective)
        rows = sorted(evidence.runs, key=_order)
        space = evidence.table.experiments[-1].space
        names = names_of(space, evidence.columns, evidence.runs)
        shown = []
        for run in rows[page * PAGE : (page + 1) * PAGE]:
            shown.append(
                {
                    "run_id": run["run_id"],
                    "configuration": names.show(json.loads(run["config_json"])),
                    "fidelity": _native(evidence, run["fidelity_json"]),
                    "outcome": _outcome(run),
                    "status": run["status"],
                    "file": run["raw_file"],
                }
            )
        pages = -(-len(rows) // PAGE)
        return _bounded({"page": page, "pages": pages, "runs": shown})

    def recommend(
        self,
        logs: Logs,
        target: Where,
        objective: Objective = "",
        trials: Annotated[int, Field(ge=1, le=10)] = 3,
        save: Annotated[
            bool,
            Field(description="Keep it in the ledger, for `tell` afterwards."),
        ] = False,
    ) -> str:
        """Configurations for an expensive run, ranked, with acceptable ranges, what they
        are expected to give, how sure that is, and why.
        """
        found, advice = self._explore(logs, target, objective, trials=trials)
        if save:
            runs = [str(self._inside(logs))]
            asked = {"runs": runs, "target": target, "objective": objective}
            keep(self._home(), found, advice, asked)
        return _bounded(advice.to_json())

    def plan(
        self,
        logs: Logs,
        target: Where,
        budget: Annotated[
            str,
            Field(
                description="For the cheap runs: 200device-hours, 1e19flops, or 5% of "
                "the target's cost; empty: a tenth of it.",
                max_length=100,
            ),
        ] = "",
        objective: Objective = "",
    ) -> str:
        """Which cheap runs to make before the expensive one, in their order: what each
        costs and how far it lowers the expected regret; or to spend nothing.
        """
        _, advice = self._explore(logs, target, objective, plan_budget=budget)
        told = advice.to_json()
        kept = ("target", "plan", "warnings", "assumptions")
        return _answer(told, kept)

    def tell(
        self,
        advice_id: Annotated[
            str,
            Field(
                description="Of a saved advice.", min_length=4, max_length=64
            ),
        ],
        configuration: Annotated[
            dict[str, Any],
            Field(description="What was run, by the advice's own names."),
        ],
        outcome: Annotated[
            float | None,
            Field(description="Its objective; none where it gave none."),
        ] = None,
        status: Annotated[
            str,
            Field(
                description=f"{', '.join(STATUSES)}, or your tool's word for one of "
                "them.",
                max_length=100,
            ),
        ] = "finished",
        name: Annotated[
            str,
            Field(
                description="Of the run; a repeat of the same settings needs one.",
                max_length=200,
            ),
        ] = "",
    ) -> str:
        """Note what a run at the target of a saved advice gave, so that the advice is
        scored and the next one knows it.
        """
        entry = ledger.load(self._home(), advice_id)
        given = {} if outcome is None else {entry.objective: outcome}
        told = reported(entry, configuration | given, status, name)
        entry, before = ledger.tell(self._home(), entry.advice_id, told)
        noise = entry.answer["evidence"]["noise"]
        replaced = None if before is None else asdict(before)
        extra = {"noise": noise, "replaced": replaced}
        return _bounded(ledger.summary(entry) | extra)

    def check(
        self,
        logs: Logs,
        target: Where,
        configuration: Annotated[
            dict[str, Any],
            Field(description="Every knob's value, by the logs' own names."),
        ],
        objective: Objective = "",
    ) -> str:
        """Whether a configuration is all right at a target: what it loses against the
        advice, whether it may diverge, how far each knob is from its optimum.
        """
        _, advice = explore(
            self._inside(logs),
            target,
            trials=1,
            said=LogOptions(objective=objective),
            planned=configuration,
            home=self.home,
        )
        told = advice.to_json()
        kept = ("target", "checked", "warnings", "assumptions")
        return _answer(told, kept)

    def is_it_noise(
        self,
        logs: Logs,
        difference: Annotated[
            float, Field(description="Of two mean outcomes.")
        ],
        runs_each: Annotated[int, Field(ge=1, le=1000)] = 1,
        objective: Objective = "",
    ) -> str:
        """Whether a difference between two configurations is more than the noise of
        repeats in these logs, and how many runs each would tell.
        """
        found: NoiseTest = noise_test(
            self._evidence(logs, objective), difference, runs_each
        )
        return _bounded(found._asdict())

    def _explore(
        self, logs: str, target: str, objective: str, **options: Any
    ) -> tuple[Study, Advice]:
        evidence = self._evidence(logs, objective)
        return explore(evidence, target, home=self.home, **options)

    def _home(self) -> str:
        """Where the ledger lies.

        Raises:
            ToolError: this server was given no home.
        """
        if not self.home:
            raise ToolError(
                "this server has no home. Fix: start it with --home."
            )
        return self.home

    def _evidence(self, logs: str, objective: str) -> Evidence:
        """Read once for each state of the files."""
        path = self._inside(logs)
        newest = max(f.stat().st_mtime_ns for f in (path, *_files(path)))
        key = (str(path), objective, newest)
        if key not in self._read:
            self._read.clear()
            said = LogOptions(objective=objective)
            self._read[key] = read_evidence([path], said, self.home)
        return self._read[key]

    def _inside(self, logs: str) -> Path:
        if "\x00" in logs:
            raise ToolError("a path holds no NUL. Fix: name a file or folder.")
        path = (self.root / logs).resolve()
        if not path.is_relative_to(self.root):
            raise ToolError(
                f"{logs!r} lies outside of what this server may read. Fix: start it "
                "with --root FOLDER."
            )
        if not path.exists():
            raise ToolError(f"nothing is at {logs!r}. Fix: check the path.")
        return path


def _answer(told: dict[str, Any], kept: tuple[str, ...]) -> str:
    """Some fields of an advice, and the noise of one run."""
    fields = {name: told[name] for name in kept}
    return _bounded(fields | {"noise": told["evidence"]["noise"]})


def _files(path: Path) -> list[Path]:
    return [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else []


def _native(evidence: Evidence, fidelity_json: str) -> dict[str, float]:
    fidelity = json.loads(fidelity_json)
    return {evidence.native(name): value for name, value in fidelity.items()}


def _outcome(run: dict[str, Any]) -> float | None:
    """None where it is no finite number, which JSON does not know."""
    value = run["objective_value"]
    return value if value is not None and math.isfinite(value) else None


def _order(run: dict[str, Any]) -> tuple[bool, float]:
    """The best outcome first; runs without one last."""
    value = _outcome(run)
    if value is None:
        return True, 0.0
    sign = -1.0 if run["objective_direction"] == "max" else 1.0
    return False, sign * value


def _bounded(answer: dict[str, Any]) -> str:
    """JSON without secrets, cut where lists are long."""
    text = json.dumps(answer, allow_nan=False, default=str)
    if len(text) > MAX_CHARACTERS and "evidence" in answer:
        shorter = {
            **answer["evidence"],
            "rows": answer["evidence"].get("rows", [])[:3],
        }
        text = json.dumps(
            {**answer, "evidence": shorter}, allow_nan=False, default=str
        )
    if len(text) > MAX_CHARACTERS:
        raise ToolError(
            f"the answer has {len(text):,} characters, {MAX_CHARACTERS:,} are shown. "
            "Fix: ask of fewer logs, or take fewer trials."
        )
    return redact(text)


def _said(tool: Callable[..., str]) -> Callable[..., str]:
    """The tool with the house's errors as the protocol's."""

    @wraps(tool)
    def answered(*args: Any, **kwargs: Any) -> str:
        try:
            return tool(*args, **kwargs)
        except AutoLLMError as error:
            raise ToolError(redact(str(error))) from None
        except OSError as error:
            said = sentence_of(error)
            if said is None:
                raise
            raise ToolError(redact(said)) from None

    return answered


def build_server(root: Path, home: str = "") -> MCPServer:
    """The server with its tools."""
    server = MCPServer(
        "autollm", instructions=INSTRUCTIONS, log_level="WARNING"
    )
    tools = Consultant(root, home)
    for tool in (
        tools.what_can_i_know,
        tools.list_sources,
        tools.query_experiments,
        tools.recommend,
        tools.check,
        tools.plan,
        tools.tell,
        tools.is_it_noise,
    ):
        server.tool(structured_output=False)(_said(tool))
    return server


def serve(root: Path, home: str = "") -> None:
    """Answer on stdin and stdout until the client goes."""
    build_server(root, home).run(transport="stdio")
