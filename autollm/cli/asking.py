"""What `recommend`, `check` and `plan` ask in the same way: their options, the question
as it was typed, and how they end where there is no answer.

Invariant: with --json the error object goes to stdout, and nothing else does.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from autollm.cli.options import split

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
Constraint = Annotated[
    list[str] | None,
    typer.Option(
        "--constraint",
        help="What every run must keep, 'batch_size*seq_len <= 2e6'; may be repeated.",
    ),
]
Context = Annotated[
    str,
    typer.Option(
        "--context",
        help="Of the settings that are never pooled, which: tokenizer=bpe,data=v2.",
    ),
]
Trials = Annotated[
    int, typer.Option("--trials", min=1, max=20, help="How many runs.")
]


@dataclass(frozen=True)
class TypedQuestion:
    """A question as it was typed; what is needed to ask it again."""

    runs: tuple[str, ...]
    target: str
    objective: str = ""
    knobs: str = ""
    fidelity: str = ""
    mapping: str = ""
    source: str = ""
    budget: str = ""
    constraints: tuple[str, ...] = ()
    context: str = ""


def paths_of(runs: list[Path] | None) -> tuple[str, ...]:
    return tuple(str(path) for path in runs or ())


def explored(
    asked: TypedQuestion,
    trials: int,
    plan: Path | None,
    home: str | None,
    tried: tuple[Any, ...] = (),
    plan_budget: str | None = None,
) -> Any:
    """The study behind an advice, and the advice.

    Raises:
        AdviceError, QuestionError, SpaceError, FileNotFoundError: there is none.
    """
    from autollm.advisor.evidence.evidence import LogOptions
    from autollm.advisor.options import Options
    from autollm.advisor.recommend import explore
    from autollm.core.places import resolve

    said = LogOptions(
        asked.objective,
        tuple(split(asked.knobs)),
        _pairs(asked.fidelity, "--fidelity"),
        asked.mapping,
        asked.source,
        _pairs(asked.context, "--context"),
    )
    options = Options(
        trials,
        said,
        _planned(plan) if plan else None,
        tried,
        asked.constraints,
        _flops(asked.budget) if asked.budget else None,
        plan_budget,
        resolve(home).home,
        " ".join(["autollm", *map(shlex.quote, sys.argv[1:])]),
    )
    return explore(list(asked.runs), asked.target, options)


class Ending:
    """Ends the process with 2 or 3, and the error object, where there is no answer; on a
    terminal an unknown direction is asked for.
    """

    def __init__(self, as_json: bool):
        self._as_json = as_json

    def __call__(
        self, work: Callable[..., Any], asked: TypedQuestion | None = None
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


def _pairs(text: str, option: str) -> dict[str, str]:
    """`params=P,tokens=T` as an object."""
    from autollm.core.errors import QuestionError

    pairs = {}
    for part in split(text):
        name, _, column = part.partition("=")
        if not name.strip() or not column:
            raise QuestionError(f"{option}: {part!r}, expected NAME=VALUE")
        pairs[name.strip()] = column.strip()
    return pairs


def _planned(path: Path) -> dict[str, Any]:
    """A configuration of the user's own."""
    from autollm.advisor.showing.written import read_plan
    from autollm.core.errors import QuestionError

    try:
        return read_plan(path)
    except FileNotFoundError:
        raise QuestionError(
            f"the configuration {path} is not there. Fix: name a YAML or JSON file."
        ) from None


def _flops(text: str) -> float:
    """`1e21flops` or a plain number."""
    from autollm.core.errors import QuestionError
    from autollm.core.values import parse_value

    value = parse_value(text)
    is_flops = value is not None and value.unit in ("", "flops")
    if value is None or not is_flops or not 0 < value.number < math.inf:
        raise QuestionError(
            f"--budget {text!r}, expected FLOPs, such as 1e21flops"
        )
    return float(value.number)
