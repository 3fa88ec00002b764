"""What a table that nobody has named is called: its source, and the patterns of the files
that it is read from.

Both come from where it lies: a file's own name, or the folder that holds the files and
run folders of which it consists. Where that is taken, folders above come before it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import count

from autollm.logs.opening.archives import SUFFIXES
from autollm.logs.opening.found import Found, clean_place
from autollm.logs.opening.opened import Opened, plain_name
from autollm.logs.opening.run_folders import RunFolder

Log = RunFolder | Found | Opened
"""What is read as one: a run folder, a file, a member of an archive."""
TABLE_SUFFIXES = (
    ".csv",
    ".tsv",
    ".jsonl",
    ".ndjson",
    ".parquet",
    ".pq",
    ".json",
    ".md",
)


def place_of(log: Log) -> str:
    """The path of a log, against which patterns of mappings are held."""
    if isinstance(log, Opened):
        return plain_name(clean_place(log.name))
    return log.place if isinstance(log, RunFolder) else plain_name(log.place)


def names_of(
    logs: Sequence[Log], folder: str
) -> Iterator[tuple[str, list[str]]]:
    """(source, patterns), the shortest first, without end. `folder`: the path, or the
    archive's name, in which the logs were found; empty for run folders beside which
    others lie, so that those which hold them give the name.
    """
    places = [place_of(log) for log in logs]
    are_runs, above = isinstance(logs[0], RunFolder), clean_place(folder)
    is_one = len(logs) == 1 and (not are_runs or places[0] == above)
    told = [_stem(places[0], are_runs)] if is_one else []
    if is_one or (places[0].endswith(TABLE_SUFFIXES) and not are_runs):
        ends = [_split(place) for place in places]
    elif not folder:
        ends = [(_split(place)[0], "*") for place in places]
    else:
        names = ["*"] if are_runs else [_split(place)[1] for place in places]
        ends = [(above.split("/"), common_name(names))]
    named = ends[0][0] if is_one or not folder else above.split("/")
    patterns: list[str] = []
    source = ""
    n_least = int("*" in ends[0][1])
    for n in range(min(n_least, len(named)), len(named) + 1):
        paths = ["/".join([*_last(parts, n), end]) for parts, end in ends]
        patterns = list(dict.fromkeys(paths))
        shown = _last(named, n) or ([] if told else named[-1:])
        source = source_name("-".join([*shown, *told]))
        if n < len(named) and not re.search("[a-z]", source):
            continue  # a moment (Hydra's 09-00-00) names nothing
        yield source, patterns
    for number in count(2):
        yield f"{source}-{number}", patterns


def _split(place: str) -> tuple[list[str], str]:
    *folders, name = place.split("/")
    return folders, name


def _last(parts: list[str], n: int) -> list[str]:
    return parts[len(parts) - n :]


def common_name(names: Sequence[str]) -> str:
    """A pattern for names: their suffix, if they share one."""
    if len(set(names)) == 1:
        return names[0]
    suffixes = {name.partition(".")[2] for name in names}
    suffix = suffixes.pop() if len(suffixes) == 1 else ""
    return f"*.{suffix}" if suffix else "*"


def _stem(place: str, is_folder: bool) -> str:
    name = place.rpartition("/")[2]
    return name if is_folder else name.rpartition(".")[0] or name


def source_name(text: str) -> str:
    """A text as the name of a source, letters without their accents."""
    for suffix in SUFFIXES:
        text = text.replace(suffix, "")
    text = unicodedata.normalize("NFKD", text)
    text = text.encode("ascii", "ignore").decode()
    cleaned = re.sub(r"[^a-z0-9._+-]+", "-", text.lower()).strip("-_.+")
    return cleaned or "table"
