"""A suite of the user's own, from the experiments that a snapshot holds of one source.

Within each group of the source, experiments are ordered by compute. The most expensive
fifth are test targets, the one below is the validation target, the rest train; each with
all experiments as evidence that are at least `gap` times cheaper.

Invariant: every test target is more expensive than whatever is trained or selected on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from autollm.core.errors import SuiteError, UnknownNameError
from autollm.core.files import exists, join, read_bytes, write_atomic
from autollm.core.ids import Origin, experiment_id
from autollm.gym.tables.outcome_table import Experiment, OutcomeTable
from autollm.gym.tasks.suite_files import home_folder, suite_files

TEST_SHARE = 0.2
"""Share of a source's experiments that become test targets: in the shipped suites it is
between a tenth and a third.
"""
GAP = 2.0
"""Less than twice the compute is no extrapolation that anybody needs help with."""
SELECT_FROM = 4
"""With fewer experiments than this, none is spared for selection."""


@dataclass(frozen=True)
class Placed:
    """A task of the new suite."""

    split: str
    target: Experiment
    evidence: tuple[Experiment, ...]


def make_suite(
    table: OutcomeTable, source: str, home: str | None = None, gap: float = GAP
) -> tuple[str, str]:
    """Write a suite over `source`, or one group of it (`source/group`), into a home;
    returns its id and the file's URL. A suite that would say what the newest version
    says is left as it is.

    Raises:
        UnknownNameError: the snapshot holds no such source. SuiteError: its experiments
            are no two levels that are `gap` times apart.
    """
    experiments = experiments_of(table, source)
    placed = placed_tasks(experiments, gap)
    if not placed:
        raise SuiteError(
            f"source {source} has {len(experiments)} experiments, none with another "
            f"that is {gap:g} times cheaper. Expected: runs at two levels of fidelity "
            "or more. Fix: land cheaper runs, or give a smaller --gap."
        )
    stem = f"{source.replace('/', '-')}-own"  # no shipped suite is called so
    version = 1
    while True:
        suite_id = f"{stem}-v{version}"
        url = join(home_folder(home), f"{suite_id}.toml")
        text = toml_of(suite_id, version, source, placed, table)
        if exists(url) and read_bytes(url).decode() == text:
            return suite_id, url
        if suite_id not in suite_files(home):
            write_atomic(url, text.encode())
            return suite_id, url
        version += 1


def experiments_of(table: OutcomeTable, source: str) -> list[Experiment]:
    """Experiments of a source in all of its groups, or of one group by its name.

    Raises:
        UnknownNameError: there is none.
    """
    chosen = []
    known: set[str] = set()
    for experiment in table.experiments:
        names = {experiment.source, experiment.origin.name}
        known |= names
        if source in names:
            chosen.append(experiment)
    if not chosen:
        raise UnknownNameError("source", source, known)
    return chosen


def placed_tasks(experiments: Sequence[Experiment], gap: float) -> list[Placed]:
    """Tasks over all groups, cheapest target first within each."""
    groups: dict[Origin, list[Experiment]] = {}
    for experiment in experiments:
        groups.setdefault(experiment.origin, []).append(experiment)
    out = []
    for origin in sorted(groups):
        out += _of_group(sorted(groups[origin], key=_cost), gap)
    return out


def _of_group(experiments: list[Experiment], gap: float) -> list[Placed]:
    n_test = max(1, round(TEST_SHARE * len(experiments)))
    least_test = _cost(experiments[-n_test])[0]
    below = [e for e in experiments if e.compute_flops < least_test]
    selected = below[-1:] if len(experiments) >= SELECT_FROM else []
    out = []
    for target in experiments:
        split = "train"
        if target.compute_flops >= least_test:
            split = "test"
        elif target in selected:
            split = "validation"
        limit = target.compute_flops / gap
        evidence = tuple(e for e in experiments if e.compute_flops <= limit)
        if evidence:
            out.append(Placed(split, target, evidence))
    return out


def _cost(experiment: Experiment) -> tuple[float, str]:
    return experiment.compute_flops, experiment.experiment_id


def toml_of(
    suite_id: str,
    version: int,
    source: str,
    placed: Sequence[Placed],
    table: OutcomeTable,
) -> str:
    """The suite's file."""
    named: dict[str, Experiment] = {}
    for task in placed:
        for experiment in (task.target, *task.evidence):
            named[experiment.experiment_id] = experiment
    names = _names(list(named.values()))
    first = placed[0].target
    lines = [
        f"suite_id = {_text(suite_id)}",
        f"version = {version}",
        f"family = {_text(first.family)}",
        f"source = {_text(first.source)}",
        f"description = {_text(f'The most expensive runs of {source}, from its cheaper ones.')}",
        "",
        "[experiments]",
    ]
    for experiment in sorted(named.values(), key=_cost):
        entry = _entry(experiment, table)
        flops = f"{experiment.compute_flops:.3g} FLOPs"
        lines.append(
            f"{_text(names[experiment.experiment_id])} = {entry}  # {flops}"
        )
    for task in placed:
        evidence = ", ".join(
            _text(names[e.experiment_id]) for e in task.evidence
        )
        lines += [
            "",
            "[[tasks]]",
            f"split = {_text(task.split)}",
            f"target = {_text(names[task.target.experiment_id])}",
            f"evidence = [{evidence}]",
        ]
    return "\n".join(lines) + "\n"


def _names(experiments: Sequence[Experiment]) -> dict[str, str]:
    """Experiment id -> its label, or its id where labels are not unique."""
    labels = [e.label for e in experiments]
    names = {}
    for experiment in experiments:
        is_unique = labels.count(experiment.label) == 1
        id_ = experiment.experiment_id
        names[id_] = experiment.label if is_unique else id_
    return names


def _entry(experiment: Experiment, table: OutcomeTable) -> str:
    """Its group where it has one, its fidelity, and its id where these do not tell it
    from another one.
    """
    parts = []
    if experiment.group:
        parts.append(f"group = {_text(experiment.group)}")
    alike = [
        e
        for e in table.experiments
        if e.origin == experiment.origin and e.fidelity == experiment.fidelity
    ]
    plain_id = experiment_id(experiment.origin, experiment.fidelity)
    if len(alike) > 1 and plain_id != experiment.experiment_id:
        parts.append(f"id = {_text(experiment.experiment_id)}")
    for name, value in experiment.fidelity.items():
        parts.append(f"{_key(name)} = {_number(value)}")
    return f"{{ {', '.join(parts)} }}"


def _text(text: str) -> str:
    """As JSON, whose texts are TOML's but for one character that it leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    bare = name.replace("_", "").replace("-", "")
    return name if bare.isascii() and bare.isalnum() else _text(name)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
