"""`autollm recommend`, `autollm check` and `autollm plan`: from logs to the next run.

Invariant: with --json only JSON goes to stdout, also where there is no answer. Advice
from files is kept with --save alone, advice from what landed in the home always.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from autollm.cli.asking import (
    Constraint,
    Context,
    Ending,
    Fidelity,
    Knobs,
    Mapping,
    Objective,
    Runs,
    Source,
    Target,
    Trials,
    TypedQuestion,
    explored,
    paths_of,
)
from autollm.cli.options import Home, Json, split


def recommend(
    runs: Runs = None,
    target: Target = "",
    objective: Objective = "",
    knobs: Knobs = "",
    fidelity: Fidelity = "",
    mapping: Mapping = "",
    source: Source = "",
    budget: Annotated[
        str,
        typer.Option(
            help="Compute of the run, 1e21flops, instead of --target: which size, how "
            "many tokens."
        ),
    ] = "",
    fix: Annotated[
        str,
        typer.Option("--fix", help="With --budget: params=7B or tokens=140B."),
    ] = "",
    constraint: Constraint = None,
    context: Context = "",
    trials: Trials = 3,
    write: Annotated[
        str,
        typer.Option(
            "--write", help="File for the configuration; - is stdout."
        ),
    ] = "",
    style: Annotated[
        str,
        typer.Option(
            "--style",
            help="Of --write: yaml, dotted, sweep, overrides, json; default by name.",
        ),
    ] = "",
    save: Annotated[
        bool,
        typer.Option(
            "--save",
            help="Keep the advice in the home's ledger, as advice from what landed "
            "there is.",
        ),
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option("--page", help="File for the advice as an HTML page."),
    ] = None,
    goes_on: Annotated[
        str,
        typer.Option(
            "--continue", help="Saved advice to go on from, after `tell`."
        ),
    ] = "",
    policy: Annotated[
        str,
        typer.Option(
            "--policy",
            help="Second opinions beside the advice, with their transcripts: trained "
            "agents by id, chat:MODEL@URL (AUTOLLM_CHAT_API_KEY). Names of knobs, and "
            "numbers relative to a reference, go to that address.",
        ),
    ] = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say what the next expensive run should use, from runs that you already have."""
    with_end = Ending(as_json)
    where = with_end(lambda: _place(target, budget, fix))
    words = (where, objective, knobs, fidelity, mapping, source, budget)
    kept = tuple(constraint or ())
    typed = TypedQuestion(paths_of(runs), *words, kept, context)
    asked, tried = with_end(lambda: _continued(goes_on, home) or (typed, ()))
    study, advice = with_end(
        lambda question: explored(question, trials, None, home, tried), asked
    )
    if policy:
        advice = with_end(lambda: _with_opinions(study, advice, policy, home))
    if page:
        with_end(lambda: _write_page(study, advice, page, home))
    if save or goes_on or not asked.runs:
        with_end(lambda: _save(study, advice, asked, home))
    if write:
        with_end(lambda: _write(advice, write, style))
    _print(advice, as_json, quiet=write == "-")


def check(
    plan: Annotated[
        Path, typer.Argument(help="Your configuration: YAML or JSON.")
    ],
    runs: Runs = None,
    target: Target = "",
    objective: Objective = "",
    knobs: Knobs = "",
    fidelity: Fidelity = "",
    mapping: Mapping = "",
    source: Source = "",
    constraint: Constraint = None,
    context: Context = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say whether a configuration of your own is all right, before you run it."""
    asked = _typed_question(
        runs,
        target,
        (objective, knobs, fidelity, mapping, source),
        constraint,
        context,
    )
    _, advice = Ending(as_json)(
        lambda question: explored(question, 1, plan, home), asked
    )
    if as_json:
        print(json.dumps(advice.to_json()))
        return
    from rich.console import Console

    from autollm.advisor.showing.screen import show_check

    show_check(advice, Console())


def plan(
    runs: Runs = None,
    target: Target = "",
    budget: Annotated[
        str,
        typer.Option(
            help="What the cheap runs may cost: 200device-hours, 1e19flops, or 5% of "
            "the target's cost; default a tenth of it."
        ),
    ] = "",
    objective: Objective = "",
    knobs: Knobs = "",
    fidelity: Fidelity = "",
    mapping: Mapping = "",
    source: Source = "",
    constraint: Constraint = None,
    context: Context = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say which cheap runs would help the next expensive one most, and whether any
    does.
    """
    asked = _typed_question(
        runs,
        target,
        (objective, knobs, fidelity, mapping, source),
        constraint,
        context,
    )
    _, advice = Ending(as_json)(
        lambda question: explored(question, 3, None, home, plan_budget=budget),
        asked,
    )
    if as_json:
        print(json.dumps(advice.to_json()))
        return
    from rich.console import Console

    from autollm.advisor.showing.screen import show_plan

    show_plan(advice, Console())


def _place(target: str, budget: str, fix: str) -> str:
    """Where to run: a target, or what a budget leaves fixed.

    Raises:
        QuestionError: both are said, or neither that they belong to.
    """
    from autollm.core.errors import QuestionError

    if budget and target:
        raise QuestionError(
            f"--target {target} and --budget {budget} both say where to run. Fix: one "
            "of them; with --budget, --fix params=7B holds a coordinate."
        )
    if fix and not budget:
        raise QuestionError(
            f"--fix {fix} belongs to --budget. Fix: --target {fix}, or add --budget."
        )
    return fix if budget else target


def _typed_question(
    runs: list[Path] | None,
    target: str,
    words: tuple[str, ...],
    constraint: list[str] | None,
    context: str,
) -> TypedQuestion:
    """`words`: objective, knobs, fidelity, mapping, source."""
    kept = tuple(constraint or ())
    return TypedQuestion(paths_of(runs), target, *words, "", kept, context)


def _with_opinions(
    study: Any, advice: Any, policies: str, home: str | None
) -> Any:
    from autollm.core.places import resolve
    from autollm.stages.players import second_opinion

    opinions = []
    for name in split(policies):
        opinions.append(second_opinion(resolve(home), study, name))
    return replace(advice, opinions=tuple(opinions))


def _write_page(study: Any, advice: Any, path: Path, home: str | None) -> None:
    from autollm.advisor.kept import ledger
    from autollm.advisor.showing.page import advice_page
    from autollm.core.files import write_atomic
    from autollm.core.places import resolve

    earlier = list(map(ledger.summary, ledger.entries(resolve(home).home)))
    write_atomic(str(path), advice_page(study, advice, earlier).encode())
    path.chmod(0o644)  # a page is shown to others
    print(f"page: {path}", file=sys.stderr)


def _continued(
    advice_id: str, home: str | None
) -> tuple[TypedQuestion, tuple[Any, ...]] | None:
    """The question of a saved advice, and the runs that were told since."""
    if not advice_id:
        return None
    from autollm.advisor.kept import ledger
    from autollm.core.places import resolve

    entry = ledger.load(resolve(home).home, advice_id)
    lists = {"runs": (), "constraints": ()}
    lists |= {k: tuple(entry.asked.get(k, ())) for k in lists}
    return TypedQuestion(**(entry.asked | lists)), entry.told


def _save(
    study: Any, advice: Any, asked: TypedQuestion, home: str | None
) -> None:
    """Keep the advice; its logs by absolute path, so that it can be asked anywhere."""
    from autollm.advisor.keeping import keep
    from autollm.core.places import resolve
    from autollm.stages.advice_runs import mirror

    runs = tuple(str(Path(path).absolute()) for path in asked.runs)
    kept = asdict(replace(asked, runs=runs))
    places = resolve(home).prepare()
    advice_id = keep(places.home, study, advice, kept)
    mirror(places, [advice_id])
    typer.echo(f"saved as {advice_id}: autollm tell {advice_id} ...", err=True)


def _write(advice: Any, write: str, style: str) -> None:
    from autollm.advisor.showing.written import render, style_of
    from autollm.core.errors import AdviceError

    if not advice.recommendations:
        raise AdviceError(
            "nothing-left",
            "every configuration that may be proposed was run already: nothing to "
            "write.",
            "widen the question, or recommend without --write.",
        )

    text = render(
        [entry.configuration for entry in advice.recommendations],
        style or style_of(write),
        advice.objective["name"],
        advice.objective["direction"],
    )
    if write == "-":
        print(text, end="")
    else:
        Path(write).parent.mkdir(parents=True, exist_ok=True)
        Path(write).write_text(text, encoding="utf-8")


def _print(advice: Any, as_json: bool, quiet: bool = False) -> None:
    if as_json:
        print(json.dumps(advice.to_json()))
    elif not quiet:
        from rich.console import Console

        from autollm.advisor.showing.screen import show

        show(advice, Console())
