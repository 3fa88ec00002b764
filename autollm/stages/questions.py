"""Questions that a home asks again whenever something landed: one TOML file each.

    # <home>/questions/next-7b.toml
    source = "team-sweep"
    target = "params=7B,tokens=140B"
    trials = 3

The answer is that of `autollm recommend --source team-sweep --target ... --save`: it is
kept in the ledger and shown in MLflow. Invariant: a question that cannot be answered
says why, and holds up no other.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autollm.advisor.evidence.evidence import LogOptions
from autollm.advisor.keeping import keep
from autollm.advisor.kept import ledger
from autollm.advisor.recommend import explore
from autollm.core.errors import AutoLLMError, QuestionError
from autollm.core.places import Places
from autollm.core.redaction import redact, redacted
from autollm.stages.players import opinions_where_possible


class Question(BaseModel):
    """One file. `source`: as `autollm sources list` names it; empty where the home has
    one alone. `target`, `constraints`, `context`: as on the command line. `trials`: how
    many configurations.
    `policies`: who gives a second opinion, as `--policy` names them; left out: the
    home's own trained agent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = ""
    target: str
    trials: int = Field(3, ge=1, le=20)
    constraints: list[str] = []
    context: dict[str, str] = {}
    policies: list[str] | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """What `autollm recommend --continue` asks it again from."""
        return {
            "runs": [],
            "target": self.target,
            "source": self.source,
            "constraints": list(self.constraints),
            "context": self._context,
        }

    @property
    def _context(self) -> str:
        return ",".join(f"{name}={v}" for name, v in self.context.items())

    @property
    def command(self) -> str:
        """What answers the same in a terminal."""
        words = ["autollm", "recommend"]
        if self.source:
            words += ["--source", self.source]
        words += ["--target", self.target, "--trials", str(self.trials)]
        for constraint in self.constraints:
            words += ["--constraint", constraint]
        if self.context:
            words += ["--context", self._context]
        return shlex.join(words)


COLUMNS = (
    "question",
    "source",
    "target",
    "answer",
    "expected",
    "advice",
    "new",
)


@dataclass(frozen=True)
class Answered:
    """A question with its advice, or with the reason why there is none. `is_new`: the
    evidence has changed since it was answered last.
    """

    name: str
    question: Question | None
    entry: ledger.Entry | None
    page: str | None = None
    is_new: bool = False
    problem: str = ""

    def row(self) -> dict[str, Any]:
        """A line of a table."""
        row = dict.fromkeys(COLUMNS, "-") | {"question": self.name}
        if self.entry is None:
            return row
        summary = ledger.summary(self.entry)
        row["source"] = summary["source"]
        row["target"] = _words(summary["target"])
        row["answer"] = _words(summary["configuration"])
        row["advice"] = summary["advice_id"]
        row["new"] = "yes" if self.is_new else "no"
        predicted = summary["predicted"]
        if predicted:
            mean, low, high = (predicted[k] for k in ("mean", "low", "high"))
            row["expected"] = f"{mean:.4g} ({low:.4g} to {high:.4g})"
        return redacted(row)


def question_files(places: Places) -> list[Path]:
    """The files, by name."""
    return sorted((places.local / "questions").glob("*.toml"))


def answer_all(
    places: Places, say: Callable[[str], None] = lambda text: None
) -> list[Answered]:
    """Every question of the home with its answer, kept in the ledger."""
    answered = []
    for path in question_files(places):
        say(f"question {path.stem}")
        try:
            answered.append(_answer(places, path.stem, read_question(path)))
        except AutoLLMError as error:
            problem = redact(str(error))
            answered.append(Answered(path.stem, None, None, problem=problem))
    return answered


def read_question(path: Path) -> Question:
    """One file.

    Raises:
        QuestionError: no TOML, not these fields, or it cannot be read.
    """
    try:
        return Question.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise QuestionError(
            f"{path} cannot be read: {error.strerror}. Fix: make it a file of yours, or "
            "remove it."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise QuestionError(f"{path} is no TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        known = ", ".join(Question.model_fields)
        raise QuestionError(
            f"{path}: {field}: {first['msg']}. Fields: {known}."
        ) from None


def _answer(places: Places, name: str, question: Question) -> Answered:
    study, advice = explore(
        [],
        question.target,
        trials=question.trials,
        said=LogOptions(source=question.source, context=question.context),
        constraints=tuple(question.constraints),
        home=places.home,
        command=question.command,
    )
    is_new = advice.advice_id not in ledger.advice_ids(places.home)
    if is_new:
        opinions = opinions_where_possible(places, study, question.policies)
        advice = replace(advice, opinions=opinions)
    advice_id = keep(places.home, study, advice, question.asked)
    entry = ledger.load(places.home, advice_id)
    page = ledger.page_url(places.home, advice_id)
    return Answered(name, question, entry, page, is_new)


def _words(values: dict[str, Any]) -> str:
    words = []
    for name, value in values.items():
        shown = f"{value:.7g}" if isinstance(value, float) else value
        words.append(f"{name} {shown}")
    return ", ".join(words)
