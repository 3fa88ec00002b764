"""`autollm advice judge`: hidden experiments asked about, and the table of it.

Invariant: each run is a look at test tasks and is logged before anything is asked.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autollm.cli.options import Home, Json, split

if TYPE_CHECKING:
    from autollm.advisor.judged.questions import HiddenExperiment
    from autollm.advisor.judged.records import Records

QUICK_QUESTIONS = 2
"""Questions of a source: enough to see that everything works."""
PARTS = ("decision", "future", "reading", "plan")
BY_NAME = ("trained",)
"""Parts that run where they are named alone: hours, where the others take minutes."""
MOST_SECONDS = 7200.0
"""Of one run that is trained: minutes on a core of its own, an hour on one that others
use; a run that is cut says nothing of its configuration."""
SOURCES_HELP = (
    "Sources to judge on, NAME or NAME=PATH; repeat it. By default the lab's recorded "
    "ladders, and the public tables of AUTOLLM_DATA_DIR."
)


def judge(
    source: Annotated[
        list[str] | None, typer.Option("--source", help=SOURCES_HELP)
    ] = None,
    policies: Annotated[
        str,
        typer.Option(
            help="Policies beside the advice; all that are installed."
        ),
    ] = "",
    seeds: Annotated[
        int, typer.Option(min=1, help="Draws of the rows of each question.")
    ] = 10,
    parts: Annotated[
        str,
        typer.Option(
            help=f"Of the table, with commas: {', '.join(PARTS)}; and "
            f"{BY_NAME[0]}: picks of the lab's questions are trained."
        ),
    ] = ",".join(PARTS),
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help=f"One seed and {QUICK_QUESTIONS} questions of each source.",
        ),
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """How good is the advice? Hide recorded experiments, ask about them, and print the
    table of docs/results.md. Answers are kept in the home: a second run goes on.
    """
    from autollm.advisor.judged.answers import playable, questions_of
    from autollm.advisor.judged.records import Records
    from autollm.advisor.judged.sources import chosen_paths
    from autollm.core.places import resolve

    places = resolve(home)
    wanted = _parts(parts)
    paths = chosen_paths(source or ())
    names = split(policies) or list(playable())
    _log(places.home, list(paths), names)
    questions = list(questions_of(paths))
    if quick:
        questions = _few(questions)
        seeds = 1
    records = Records(places.home)
    found: dict[str, Any] = {}
    lines: list[str] = []
    for part in wanted:
        told, fields = RUN[part](questions, names, seeds, records)
        lines += [f"### {part.capitalize()}", "", *told, ""]
        found[part] = fields
    text = "\n".join(lines)
    _keep(places.home, text)
    print(json.dumps(found) if as_json else text)


def _parts(text: str) -> list[str]:
    from autollm.core.errors import UnknownNameError

    wanted = split(text)
    for part in wanted:
        if part not in RUN:
            raise UnknownNameError("part of the judge", part, RUN)
    return wanted


def _log(
    home: str,
    sources: list[str],
    policies: list[str],
) -> None:
    from autollm.evaluation.look_log import record_look

    record_look(
        home,
        command=shlex.join(["autollm", *sys.argv[1:]]),
        evaluation_id="advice-judge",
        suites=[f"hidden experiments of {name}" for name in sources],
        policies=["recommend", *policies],
    )


def _few(questions: list[HiddenExperiment]) -> list[HiddenExperiment]:
    counts: dict[str, int] = {}
    kept = []
    for hidden in questions:
        source = hidden.table.source
        counts[source] = counts.get(source, 0) + 1
        if counts[source] <= QUICK_QUESTIONS:
            kept.append(hidden)
    return kept


def _keep(home: str, text: str) -> None:
    from autollm.core import files as storage

    url = storage.join(home, "reports", "advice_judge", "results.md")
    storage.write_atomic(url, text.encode())
    print(f"kept: {url}", file=sys.stderr)


def _decision(
    questions: list[HiddenExperiment],
    policies: list[str],
    seeds: int,
    records: Records,
) -> tuple[list[str], dict[str, Any]]:
    from autollm.advisor.judged.answers import answer_all, bootstraps, plain
    from autollm.advisor.judged.results import calibration, decision
    from autollm.advisor.judged.results_markdown import (
        apart_lines,
        calibration_lines,
        decision_lines,
    )

    answers = answer_all(questions, policies, seeds, records)
    measured = [a for a in answers if not a["surrogate"]]
    predicted = [a for a in answers if a["surrogate"]]
    lines: list[str] = []
    fields: dict[str, Any] = {}
    if measured:
        found = decision(measured)
        resampled = bootstraps(
            [h for h in questions if not h.table.is_surrogate], records
        )
        intervals = calibration(measured, resampled)
        lines += decision_lines(found)
        lines += ["", "### Intervals and probabilities", ""]
        lines += calibration_lines(intervals)
        fields = plain({"means": _means(found.latent)})
        fields["upper"] = found.latent.upper
        fields["verdict"] = found.latent.verdict
    if predicted:
        lines += apart_lines(decision(predicted))
    return lines, fields


def _means(comparison: Any) -> dict[str, float]:
    return {name: found.mean for name, found in comparison.means.items()}


def _future(
    questions: list[HiddenExperiment],
    policies: list[str],
    seeds: int,
    records: Records,
) -> tuple[list[str], dict[str, Any]]:
    from autollm.advisor.judged.future import forecasts_of
    from autollm.advisor.judged.results_markdown import future_lines
    from autollm.advisor.judged.summaries import forecast_summaries

    tables = {h.table.name: h.table for h in questions}
    found = forecasts_of(list(tables.values()), records)
    each = forecast_summaries(found)
    return future_lines(each), {one.name: asdict(one) for one in each}


def _reading(
    questions: list[HiddenExperiment],
    policies: list[str],
    seeds: int,
    records: Records,
) -> tuple[list[str], dict[str, Any]]:
    from autollm.advisor.judged.reading import read_all
    from autollm.advisor.judged.results_markdown import reading_lines
    from autollm.advisor.judged.summaries import format_summaries

    each = format_summaries(read_all(questions, records))
    return reading_lines(each), {one.format: asdict(one) for one in each}


def _plan(
    questions: list[HiddenExperiment],
    policies: list[str],
    seeds: int,
    records: Records,
) -> tuple[list[str], dict[str, Any]]:
    from autollm.advisor.judged.results_markdown import spending_lines
    from autollm.advisor.judged.spending import spent_all
    from autollm.advisor.judged.summaries import spending

    each = spending(spent_all(questions, records, seeds))
    return spending_lines(each), {f"{one.share:g}": one.runs for one in each}


def _trained(
    questions: list[HiddenExperiment],
    policies: list[str],
    seeds: int,
    records: Records,
) -> tuple[list[str], dict[str, Any]]:
    from autollm.advisor.judged.answers import answer_all
    from autollm.advisor.judged.results import (
        best_others,
        comparison,
        decision,
    )
    from autollm.advisor.judged.results_markdown import trained_lines
    from autollm.core.places import resolve
    from autollm.lab.live import LiveLab
    from autollm.stages.trained_picks import trained_answers

    answers = answer_all(questions, policies, seeds, records)
    measured = [a for a in answers if not a["surrogate"]]
    names = best_others(decision(measured))
    places = resolve(records.home)
    logs = places.local / "reports" / "advice_judge" / "trained"
    lab = LiveLab(logs, places.lab, places.locks / "live", MOST_SECONDS)
    told = trained_answers(measured, questions, names, lab)
    if not told:
        return ["Every pick of the lab's questions was recorded."], {}
    by_row = comparison(told, names, "latent_regret")
    trained = comparison(told, names, "trained_regret")
    return trained_lines(told, by_row, trained), _means(trained)


RUN = {
    "decision": _decision,
    "future": _future,
    "reading": _reading,
    "plan": _plan,
    "trained": _trained,
}
