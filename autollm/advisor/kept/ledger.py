"""The ledger of a home: every saved advice as it was given, and what came of it.

    <home>/advice/<advice_id>/advice.json     question and answer, never written again
                             /page.html       the answer as a page, as old as it
                             /told.json       runs that were told of, in order

An advice is frozen before its outcome is known, so that predictions can be scored
honestly. Invariant: a file is whole or absent (written beside its place and renamed);
saving the same advice again changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autollm.advisor.answer import Advice
from autollm.core.errors import QuestionError, SetupError, UnknownNameError
from autollm.core.files import (
    exists,
    is_local,
    join,
    list_names,
    local_path,
    read_bytes,
    write_atomic,
)
from autollm.core.locks import hold
from autollm.core.sealed import read_sealed, write_sealed
from autollm.core.statuses import STATUSES, status_of

ENDED = ("finished", "diverged", "failed")
"""Statuses that a run keeps."""
STOPPED = ("killed", "pruned", "running")
"""Statuses of runs whose outcome at full length nobody knows: censored."""
SCHEMA = "autollm.ledger/1"
PAGE = "page.html"
REMEDY = "restore the file from a copy, or remove its folder."
WAIT_S = 10.0
"""For another `tell` of the same advice: it takes milliseconds."""


@dataclass(frozen=True)
class ReportedRun:
    """One run at the target. `outcome` in the objective's own unit; None where it gave
    none. `status`: any word that logs have for it. `rank`: the recommendation that was
    followed, 0 for another configuration.
    """

    configuration: dict[str, Any]
    outcome: float | None
    status: str = "finished"
    rank: int = 0
    run: str = ""

    def __post_init__(self) -> None:
        status = status_of(self.status)
        if status is None:
            raise QuestionError(
                f"status {self.status!r}, expected one of {', '.join(STATUSES)}, or a "
                "tool's word for one of them."
            )
        object.__setattr__(self, "status", status)
        if self.outcome is not None and not math.isfinite(self.outcome):
            raise QuestionError(
                f"the outcome {self.outcome} is no finite number. Fix: leave it out, "
                "with status diverged."
            )

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes it this run: its name, or without one its settings."""
        if self.run:
            return (self.run,)
        shown = [(key, _shown(v)) for key, v in self.configuration.items()]
        return tuple(sorted(shown, key=repr))

    def __str__(self) -> str:
        outcome = "" if self.outcome is None else f" with {self.outcome:.5g}"
        return f"{self.status}{outcome}"


@dataclass(frozen=True)
class Entry:
    """A saved advice: `asked` is what makes it again, `answer` the JSON object."""

    advice_id: str
    saved_at: str
    asked: dict[str, Any]
    answer: dict[str, Any]
    told: tuple[ReportedRun, ...] = ()

    @property
    def objective(self) -> str:
        """Its name."""
        return self.answer["objective"]["name"]


def save(
    home: str, advice: Advice, asked: Mapping[str, Any], page: str = ""
) -> str:
    """Keep an advice and its page (HTML); returns its id. What is saved already stays
    as it is.
    """
    folder = _folder(home, advice.advice_id)
    url = join(folder, "advice.json")
    if not exists(url):
        if page:  # first: who finds the answer finds its page
            write_atomic(join(folder, PAGE), page.encode())
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {
            "schema": SCHEMA,
            "saved_at": now,
            "asked": dict(asked),
            "answer": advice.to_json(),
        }
        write_sealed(url, entry)
    return advice.advice_id


def load(home: str, advice_id: str) -> Entry:
    """A saved advice, by its id or the beginning of it.

    Raises:
        UnknownNameError: there is none, or several begin so. SetupError: a file of it
            is damaged, or is not what was written.
    """
    known = advice_ids(home)
    found = [name for name in known if name.startswith(advice_id)]
    if len(found) != 1 or not advice_id:
        raise UnknownNameError("advice", advice_id, known)
    folder = _folder(home, found[0])
    url = join(folder, "advice.json")
    raw = read_sealed(url, SetupError, REMEDY)
    fields = [raw.get(name) for name in ("saved_at", "asked", "answer")]
    if None in fields:
        raise SetupError(f"{url} holds no advice. Fix: {REMEDY}")
    return Entry(found[0], *fields, told=_told(folder))


def advice_ids(home: str) -> list[str]:
    """Ids of all saved advice, sorted."""
    root = join(home, "advice")
    names = list_names(root) if exists(root) else []
    return sorted(n for n in names if exists(join(root, n, "advice.json")))


def tell(
    home: str, advice_id: str, told: ReportedRun
) -> tuple[Entry, ReportedRun | None]:
    """Note what a run at the target gave. Returns the entry with it, and what had been
    told of the same run before, which it replaces.

    Raises:
        UnknownNameError: no such advice. QuestionError: it contradicts what was told.
    """

    def change(entry: Entry) -> tuple[list[ReportedRun], ReportedRun | None]:
        before = _same_run(entry, told)
        if before is not None:
            _check_goes_on(entry, before, told)
        kept = [run for run in entry.told if run is not before]
        return [*kept, told], before

    return _changed(home, advice_id, change)


def forget(home: str, advice_id: str, run: ReportedRun) -> Entry:
    """Take back what was told of a run.

    Raises:
        UnknownNameError: no such advice. QuestionError: nothing was told of it.
    """

    def change(entry: Entry) -> tuple[list[ReportedRun], ReportedRun | None]:
        before = _same_run(entry, run)
        if before is None:
            raise QuestionError(
                f"nothing was told of that run. Told: autollm advice show "
                f"{entry.advice_id}."
            )
        return [told for told in entry.told if told is not before], before

    return _changed(home, advice_id, change)[0]


Change = Callable[[Entry], tuple[list[ReportedRun], ReportedRun | None]]


def _changed(
    home: str, advice_id: str, change: Change
) -> tuple[Entry, ReportedRun | None]:
    folder = _folder(home, load(home, advice_id).advice_id)
    with _alone(folder):
        entry = load(home, advice_id)
        listed, before = change(entry)
        url = join(folder, "told.json")
        plain = [asdict(run) for run in listed]
        write_sealed(url, {"schema": SCHEMA, "told": plain})
    return load(home, entry.advice_id), before


def _same_run(entry: Entry, told: ReportedRun) -> ReportedRun | None:
    for run in entry.told:
        if run.identity == told.identity:
            return run
    return None


def _check_goes_on(
    entry: Entry, before: ReportedRun, told: ReportedRun
) -> None:
    """A run that ended stays ended, as it did; its number may be corrected.

    Raises:
        QuestionError: it does not.
    """
    ended = before.status in ENDED and told.status != before.status
    if ended or not _same(before.configuration, told.configuration):
        was = f"as {before}" if ended else f"with {before.configuration}"
        now = f"{told}" if ended else f"{told.configuration}"
        raise QuestionError(
            f"that run was told {was}, and now is {now}: one of them is wrong. Fix: "
            f"autollm tell {entry.advice_id} --run ... --forget takes back what was "
            "told; or --name NAME, if this is another run."
        )


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Two `tell`s at once would lose one; object stores have no lock."""
    if not is_local(folder):
        yield
        return
    with hold(Path(local_path(folder)) / ".lock", folder, WAIT_S):
        yield


def page_url(home: str, advice_id: str) -> str | None:
    """Where the page of a saved advice lies; None where it was saved without one."""
    url = join(_folder(home, advice_id), PAGE)
    return url if exists(url) else None


def read_page(url: str) -> str:
    return read_bytes(url).decode()


def entries(home: str) -> list[Entry]:
    """All saved advice, the oldest first."""
    found = [load(home, advice_id) for advice_id in advice_ids(home)]
    return sorted(found, key=lambda entry: (entry.saved_at, entry.advice_id))


def summary(entry: Entry) -> dict[str, Any]:
    """One row of the record: when, what for, what was advised, what came of it. An
    advice to which nothing was left to propose has no configuration.
    """
    answer = entry.answer
    nothing = {"configuration": {}, "predicted": None}
    first = (answer["recommendations"] or [nothing])[0]
    return {
        "advice_id": entry.advice_id,
        "saved_at": entry.saved_at,
        "source": answer["source"],
        "target": answer["target"]["fidelity"],
        "configuration": first["configuration"],
        "predicted": first["predicted"],
    } | score(entry)


def followed(entry: Entry, configuration: Mapping[str, Any]) -> int:
    """Rank of the recommendation that a configuration is, 0 for none of them."""
    for proposal in entry.answer["recommendations"]:
        if _same(proposal["configuration"], configuration):
            return int(proposal["rank"])
    return 0


def score(entry: Entry) -> dict[str, Any]:
    """What came of an advice: runs told of, the best outcome, and how many of the
    recommendations that were followed gave what lies within their interval. Stopped
    runs are censored: they are counted and not scored.
    """
    direction = entry.answer["objective"]["direction"]
    finished = [
        t
        for t in entry.told
        if t.status == "finished" and t.outcome is not None
    ]
    outcomes = [t.outcome for t in finished]
    better = min if direction == "min" else max
    best = better(outcomes) if outcomes else None
    known = scored(entry)
    inside = [t for t, at in known if at["low"] <= t.outcome <= at["high"]]
    statuses = [told.status for told in entry.told]
    return {
        "n_told": len(statuses),
        "n_followed": sum(told.rank > 0 for told in entry.told),
        "n_diverged": statuses.count("diverged"),
        "n_censored": sum(map(statuses.count, STOPPED)),
        "best_outcome": best,
        "n_scored": len(known),
        "n_inside": len(inside),
    }


def scored(entry: Entry) -> list[tuple[ReportedRun, dict[str, float]]]:
    """The first finished run of each recommendation, with the interval that was given
    for it: repeats of it are no further proof.
    """
    predicted = {}
    for proposal in entry.answer["recommendations"]:
        predicted[proposal["rank"]] = proposal["predicted"]
    found = {}
    for run in entry.told:
        known = run.status == "finished" and run.outcome is not None
        bounds = predicted.get(run.rank)
        if known and bounds and run.rank not in found:
            found[run.rank] = run, bounds
    return list(found.values())


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Equal settings, numbers to the four digits that an advice shows."""
    if set(a) != set(b):
        return False
    return all(_shown(a[key]) == _shown(b[key]) for key in a)


def _shown(value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:.4g}" if number else value


def _told(folder: str) -> tuple[ReportedRun, ...]:
    url = join(folder, "told.json")
    if not exists(url):
        return ()
    raw = read_sealed(url, SetupError, REMEDY)
    try:
        runs = [ReportedRun(**entry) for entry in raw["told"]]
        last = {run.identity: run for run in runs}  # older homes repeat a run
        return tuple(last.values())
    except (KeyError, TypeError, QuestionError) as error:
        raise SetupError(
            f"{url} holds no runs: {error}. Fix: {REMEDY}"
        ) from None


def _folder(home: str, advice_id: str) -> str:
    return join(home, "advice", advice_id)
