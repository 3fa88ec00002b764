"""A user's logs into a lake of their own: which mapping reads them, known or proposed,
and what their cells said.

With evidence.py the only module of the advisor that knows `autollm.logs`. What does not
belong here: outcome tables (evidence.py). Invariant: what the user said is never
guessed over, and an open question is an error, not a guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from autollm.core.errors import AdviceError, AutoLLMError

Cells = Mapping[tuple[str, str], tuple[dict[str, Any], int]]
"""Raw cells and line of a run, by source and run."""
COMPRESSED = re.compile(r"\.(gz|zst|bz2|xz)$")
INSPECT = "autollm sources inspect FILE, correct the mapping it proposes, then --as MAPPING."


@dataclass(frozen=True)
class Said:
    """What the user said of the logs; what is said is never guessed over. Empty: not
    said.
    """

    objective: str = ""
    knobs: tuple[str, ...] = ()
    fidelity: Mapping[str, str] = field(default_factory=dict)
    mapping: str = ""
    source: str = ""


def land(
    paths: list[str], lake: str, said: Said, home: str
) -> tuple[Any, tuple[tuple[str, str], ...]]:
    """Land files in a lake; the mapping that read them, where it is one, and notes."""
    from autollm.logs.catalog import load_mapping

    notes: tuple[tuple[str, str], ...] = ()
    mapping = load_mapping(said.mapping, home or lake) if said.mapping else None
    if mapping is None:
        mapping, notes = _known_or_proposed(paths, said, home or lake)
    report = _ingest(paths, lake, mapping)
    if report.n_runs == 0 and mapping is None:
        mapping, notes = _proposed(paths[0], said, home or lake)
        report = _ingest(paths, lake, mapping)
    if report.n_runs == 0:
        first = f" First problem: {report.quarantined[0].reason}" * bool(
            report.quarantined
        )
        raise AdviceError(
            "unreadable",
            f"no run could be read from {', '.join(paths)}.{first}",
            INSPECT,
        )
    if report.n_lines_quarantined:
        lines = report.n_lines_quarantined
        first = f", for example: {report.quarantined[0].reason}"
        notes += (("set-aside", f"{lines} lines could not be read{first}"),)
    return mapping, notes


def _ingest(paths: list[str], lake: str, mapping: Any) -> Any:
    from autollm.logs.landing import ingest

    try:
        return ingest(paths, lake, mapping)
    except AutoLLMError as error:
        raise unreadable(error) from error


def _known_or_proposed(
    paths: list[str], said: Said, home: str
) -> tuple[Any, tuple[tuple[str, str], ...]]:
    """A mapping of the catalogue or the home that claims the file, else a proposed one;
    None for folders and run logs, which landing knows by itself.
    """
    from autollm.logs.catalog import builtin_mappings, own_mappings

    if len(paths) != 1 or not Path(paths[0]).is_file():
        return None, ()
    name = COMPRESSED.sub("", Path(paths[0]).name)
    nothing_said = not (said.objective or said.knobs or said.fidelity)
    for known in (*own_mappings(home).values(), *builtin_mappings().values()):
        claims = any(fnmatchcase(name, pattern) for pattern in known.files)
        if nothing_said and claims:
            return known, (
                ("mapping", f"{name} is read by the mapping {known.source}"),
            )
    if _is_run_log(paths[0]):
        return None, ()
    return _proposed(paths[0], said, home)


def _proposed(
    path: str, said: Said, home: str
) -> tuple[Any, tuple[tuple[str, str], ...]]:
    """What a look at the file proposes.

    Raises:
        AdviceError: it cannot be read, or a question is open that only a person answers.
    """
    from autollm.logs import proposals

    pairs = ",".join(
        f"{name}={column}" for name, column in said.fidelity.items()
    )
    try:
        words = proposals.Said.parse(
            said.objective or None, ",".join(said.knobs), pairs
        )
        found = proposals.propose(path, words, home)
    except AutoLLMError as error:
        raise unreadable(error) from error
    for question in found.questions:
        name = question.column
        remedy = " or ".join(
            f"--objective {name}:{a}" for a in question.answers
        )
        code = question.code.removesuffix("-unknown")
        raise AdviceError(code, question.text, f"{remedy}.", name)
    if found.mapping is None:
        raise AdviceError(
            "unreadable", found.problem or f"{path} is no table", INSPECT
        )
    return found.mapping, tuple((note.code, note.text) for note in found.notes)


def _is_run_log(path: str) -> bool:
    if not path.endswith((".jsonl", ".jsonl.zst")):
        return False
    return (
        path.endswith(".zst")
        or b'"autollm.run/1"' in Path(path).read_bytes()[:4096]
    )


def unreadable(error: AutoLLMError) -> AdviceError:
    """An error of reading, its remedy apart."""
    text, _, remedy = str(error).partition(" Fix: ")
    return AdviceError("unreadable", text, remedy or INSPECT)


def raw_cells(bronze: str) -> Cells:
    """Raw cells of every run and the line where it stands (0: no line, or not known),
    by source and run.
    """
    found = {}
    for path in sorted(Path(bronze).glob("batches/*/runs.parquet")):
        names = pq.read_schema(path).names
        wanted = ("source", "group", "run_id", "header_json", "line")
        rows = pq.read_table(path, columns=[n for n in wanted if n in names])
        for row in rows.to_pylist():
            group = row.get("group")
            source = f"{row['source']}/{group}" if group else row["source"]
            cells = json.loads(row["header_json"] or "{}")
            found[source, row["run_id"]] = cells, row.get("line") or 0
    return found


def columns_of(mapping: Any) -> dict[str, str]:
    """Canonical name -> column of the user's; derived columns have no name of theirs."""
    if mapping is None:
        return {}
    quantities = (*mapping.knobs, *mapping.fidelity, mapping.objective)
    derived = {getattr(entry, "name", entry) for entry in mapping.derived}
    made = {*derived, *mapping.lookup_of}
    found = {
        q.name: q.column
        for q in quantities
        if q.column and q.column not in made
    }
    return found | _parts_of(mapping)


def _parts_of(mapping: Any) -> dict[str, str]:
    """`knob.part` -> column, of mixtures whose columns share a prefix."""
    found = {}
    for knob in mapping.knobs:
        if knob.scale == "simplex" and knob.prefix:
            found[f"{knob.name}.*"] = f"{knob.prefix}*"
    return found
