"""`autollm recommend` and `autollm check`: from logs to the next run.

What does not belong here: statistics (autollm.advisor), saved advice (advice.py).
Invariant: with --json only JSON goes to stdout, also where there is no answer; without
--save nothing is written but the file of --write.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from autollm.cli.options import Home, Json, split

Runs = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Logs: files or folders; none: what landed in the home."
    ),
]
Target = Annotated[
    str,
    typer.Option("--target", help="Where to run: params=7B,tokens=1.4e11."),
]
Objective = Annotated[
    str,
    typer.Option(
        "--objective", help="Column, with :min or :max (val_loss:min)."
    ),
]
Knobs = Annotated[
    str, typer.Option("--knobs", help="Columns that were chosen: lr,bs.")
]
Fidelity = Annotated[
    str, typer.Option("--fidelity", help="Columns of scale: params=P,tokens=T.")
]
Mapping = Annotated[
    str,
    typer.Option(
        "--as", help="Mapping file (TOML), or name of a known mapping."
    ),
]
Source = Annotated[
    str, typer.Option("--source", help="Which source, where there are several.")
]
Trials = Annotated[
    int, typer.Option("--trials", min=1, max=20, help="How many runs.")
]


@dataclass(frozen=True)
class Asked:
    """A question as it was typed; what is needed to ask it again."""

    runs: tuple[str, ...]
    target: str
    objective: str = ""
    knobs: str = ""
    fidelity: str = ""
    mapping: str = ""
    source: str = ""
    budget: str = ""


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
        typer.Option("--save", help="Keep the advice in the home's ledger."),
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
    where = fix if budget else target
    words = (where, objective, knobs, fidelity, mapping, source, budget)
    typed = Asked(_paths(runs), *words)
    with_end = _Ending(as_json)
    asked, tried = with_end(lambda: _continued(goes_on, home) or (typed, ()))
    found, advice = with_end(
        lambda said: explored(said, trials, None, home, tried), asked
    )
    if policy:
        advice = with_end(lambda: _with_opinions(found, advice, policy, home))
    if page:
        with_end(lambda: _write_page(found, advice, page, home))
    if save or goes_on:
        with_end(lambda: _save(found, advice, asked, home))
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
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say whether a configuration of your own is all right, before you run it."""
    asked = Asked(
        _paths(runs), target, objective, knobs, fidelity, mapping, source
    )
    advice = _Ending(as_json)(lambda said: advise(said, 1, plan, home), asked)
    _print(advice, as_json)


def _paths(runs: list[Path] | None) -> tuple[str, ...]:
    return tuple(str(path) for path in runs or ())


def _with_opinions(
    found: Any, advice: Any, policies: str, home: str | None
) -> Any:
    from autollm.core.places import resolve
    from autollm.stages.players import second_opinion

    said = []
    for name in split(policies):
        said.append(second_opinion(resolve(home), found, name))
    return replace(advice, opinions=tuple(said))


def _write_page(found: Any, advice: Any, path: Path, home: str | None) -> None:
    from autollm.advisor import ledger
    from autollm.advisor.page import advice_page
    from autollm.core.files import write_atomic
    from autollm.core.places import resolve

    earlier = list(map(ledger.summary, ledger.entries(resolve(home).home)))
    write_atomic(str(path), advice_page(found, advice, earlier).encode())
    path.chmod(0o644)  # a page is shown to others
    print(f"page: {path}", file=sys.stderr)


def advise(
    asked: Asked,
    trials: int,
    plan: Path | None,
    home: str | None,
    tried: tuple[Any, ...] = (),
) -> Any:
    """The advice; see `explored`."""
    return explored(asked, trials, plan, home, tried)[1]


def explored(
    asked: Asked,
    trials: int,
    plan: Path | None,
    home: str | None,
    tried: tuple[Any, ...] = (),
) -> Any:
    """The study behind an advice, and the advice.

    Raises:
        AdviceError, QuestionError, SpaceError, FileNotFoundError: there is none.
    """
    from autollm.advisor.evidence import Said
    from autollm.advisor.recommend import explore
    from autollm.advisor.written import read_plan
    from autollm.core.errors import QuestionError
    from autollm.core.places import resolve

    if not asked.target and not asked.budget:
        raise QuestionError("no target. Fix: --target params=7B,tokens=140B")
    said = Said(
        asked.objective,
        tuple(split(asked.knobs)),
        _pairs(asked.fidelity),
        asked.mapping,
        asked.source,
    )
    return explore(
        list(asked.runs),
        asked.target,
        trials=trials,
        said=said,
        planned=read_plan(plan) if plan else None,
        tried=tried,
        budget_flops=_flops(asked.budget) if asked.budget else None,
        home=resolve(home).home,
        command=" ".join(["autollm", *map(shlex.quote, sys.argv[1:])]),
    )


class _Ending:
    """Ends the process with 2 or 3, and the error object, where there is no answer; on a
    terminal an unknown direction is asked for.
    """

    def __init__(self, as_json: bool):
        self._as_json = as_json

    def __call__(
        self, work: Callable[..., Any], asked: Asked | None = None
    ) -> Any:
        from autollm.core.errors import (
            AdviceError,
            QuestionError,
            SpaceError,
            UnknownNameError,
        )

        try:
            return work(asked) if asked else work()
        except (QuestionError, SpaceError, UnknownNameError) as error:
            self._fail(2, "question", str(error), "")
        except AdviceError as error:
            if asked and self._may_ask(error):
                better = typer.prompt(f"{error.text} min or max?", err=True)
                objective = f"{error.about}:{better.strip().lower()}"
                return self(work, replace(asked, objective=objective))
            self._fail(3, error.code, error.text, error.remedy)
        except FileNotFoundError as error:
            self._fail(3, "unreadable", str(error), "name logs that are there.")

    def _may_ask(self, error: Any) -> bool:
        return (
            error.code == "direction"
            and not self._as_json
            and sys.stdin.isatty()
        )

    def _fail(self, code: int, name: str, text: str, remedy: str) -> None:
        from autollm.advisor.answer import error_json

        if self._as_json:
            print(json.dumps(error_json(name, text, remedy)))
        else:
            ending = f" Fix: {remedy}" if remedy else ""
            typer.echo(f"error: {text}{ending}", err=True)
        raise typer.Exit(code)


def _pairs(text: str) -> dict[str, str]:
    """`params=P,tokens=T` as an object."""
    from autollm.core.errors import QuestionError

    found = {}
    for part in split(text):
        name, sign, column = part.partition("=")
        if not sign or not column:
            raise QuestionError(f"--fidelity: {part!r}, expected NAME=COLUMN")
        found[name.strip()] = column.strip()
    return found


def _flops(text: str) -> float:
    """`1e21flops` or a plain number."""
    from autollm.core.errors import QuestionError
    from autollm.core.values import parse_value

    value = parse_value(text)
    if value is None or value.unit not in ("", "flops") or not value.number > 0:
        raise QuestionError(
            f"--budget {text!r}, expected FLOPs, such as 1e21flops"
        )
    return float(value.number)


def _continued(
    advice_id: str, home: str | None
) -> tuple[Asked, tuple[Any, ...]] | None:
    """The question of a saved advice, and the runs that were told since."""
    if not advice_id:
        return None
    from autollm.advisor import ledger
    from autollm.core.places import resolve

    entry = ledger.load(resolve(home).home, advice_id)
    asked = entry.asked | {"runs": tuple(entry.asked["runs"])}
    return Asked(**asked), entry.told


def _save(found: Any, advice: Any, asked: Asked, home: str | None) -> None:
    """Keep the advice; its logs by absolute path, so that it can be asked anywhere."""
    from autollm.advisor.keeping import keep
    from autollm.core.places import resolve
    from autollm.stages.advice_runs import mirror

    runs = tuple(str(Path(path).absolute()) for path in asked.runs)
    kept = asdict(replace(asked, runs=runs))
    places = resolve(home).prepare()
    advice_id = keep(places.home, found, advice, kept)
    mirror(places, [advice_id])
    typer.echo(f"saved as {advice_id}: autollm tell {advice_id} ...", err=True)


def _write(advice: Any, write: str, style: str) -> None:
    from autollm.advisor.written import render, style_of

    text = render(
        [entry.configuration for entry in advice.recommendations],
        style or style_of(write),
        advice.objective["name"],
        advice.objective["direction"],
    )
    if write == "-":
        print(text, end="")
    else:
        Path(write).write_text(text, encoding="utf-8")


def _print(advice: Any, as_json: bool, quiet: bool = False) -> None:
    if as_json:
        print(json.dumps(advice.to_json()))
    elif not quiet:
        from rich.console import Console

        from autollm.advisor.screen import show

        show(advice, Console())
