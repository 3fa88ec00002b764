"""Logs of no known format: lines of names and numbers, as people print them.

    Step: 100, Train Loss: 2.31, LR: 1.00e-04          step=100 loss=2.31 lr=1e-4
    {'loss': 2.31, 'learning_rate': 1e-4, 'epoch': .1}   Epoch 3 | valid_loss: 2.35
    Epoch 1/10                                          (Keras: the metrics follow)
    100/100 [====] - 3s 30ms/step - loss: 2.31 - val_loss: 2.35

A line is a point where it names a count (step, iteration, epoch) and a metric; a count
on a line of its own holds until the next. Settings are what stands before the first
point in a `Namespace(...)`, in a dictionary, behind `--name`, as `name=value` of a command,
or alone in a line (`learning rate: 3e-4`, and YAML as it is printed, nested by indentation).
Numbers may stand in quotes, as transformers 5 and fairseq print them.

Invariant: a log is taken for one only where LEAST_POINTS lines of its head are points, or
one is and the run broke.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from autollm.core.errors import RecordError
from autollm.logs.readers.cells import Cells, flat_cells
from autollm.logs.readers.documents import parse_mapping_text
from autollm.logs.readers.texts.log_ends import ending_of
from autollm.logs.readers.texts.text_patterns import MAX_LINE, shown
from autollm.logs.readers.words import STEP_NAMES, pattern

LEAST_POINTS = 3
SUFFIXES = (".log", ".txt", ".out")
_NUMBER = r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)\b"
_NOISE = re.compile(
    r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d[.,\d]*Z?|\b(?:INFO|DEBUG|WARN(?:ING)?)\b"
    r"|\(\w+ pid=\d+[^)]*\)"  # Ray's mark of the process
)
_COUNT = re.compile(
    r"(?<![A-Za-z])(?:(?:train|valid)_(?=num_))?"
    r"(?P<name>(?:global|train|training|optimizer|num)?[ _]?"
    r"(?:step|iteration|iter|update|epoch))s?['\"]?\s*[:=#\[(]*\s*['\"]?"
    r"(?P<at>\d[\d,]*(?:\.\d+)?)(?![\w.])",
    re.IGNORECASE,
)
_EQUALS = re.compile(
    r"(?<![\w./@-])(?P<name>(?:(?:train|val|valid|validation|eval|test) )?"
    r"[A-Za-z][\w./@-]*)\s?=\s?"
    rf"(?P<value>{_NUMBER})",
    re.IGNORECASE,
)
_COLON = re.compile(
    rf"(?<![\w./()@-])(?P<name>[A-Za-z][\w./()@-]*(?: [A-Za-z][\w./()@-]*){{0,2}})"
    rf"['\"]?\s*:\s*['\"]?(?P<value>{_NUMBER})",
    re.IGNORECASE,
)
_NAKED = re.compile(
    r"(?<![A-Za-z])(?P<name>(?:[A-Za-z]+[ _/])?(?:loss|ppl|perplexity|acc|accuracy|bpb|nll))\s+"
    rf"(?P<value>{_NUMBER})",
    re.IGNORECASE,
)
_METRIC = pattern("printed")
_SEPARATOR = re.compile(r"[,|;]\s|\s-\s|\s{2,}|\t")
_NAMESPACE = re.compile(r"\bNamespace\((.*)\)")
_COMMAND = re.compile(
    r"(?:^|[\s/])(?:python[\d.]*|torchrun|deepspeed|accelerate)\s"
)
_OVERRIDE = re.compile(r"(?<!\S)[+~]{0,2}([A-Za-z][\w./@-]*)=(\S+)")
_LONE = re.compile(
    rf"(?P<name>[A-Za-z][\w.-]*(?: [\w.-]+){{0,3}})\s?[:=]\s*"
    rf"(?P<value>(?:{_NUMBER})[A-Za-z%]{{0,3}}|[A-Za-z][\w.-]*|)",
    re.IGNORECASE,
)
"""A line that is one setting, or the head of several (`optimizer:`)."""
_OPTION = re.compile(r"(?<!\S)--([A-Za-z][\w.-]*)[= ]([^\s-]\S*)")
_ONLY = re.compile(r"^[\[(]([^\[\](),]*),?[\])]$")
"""A list of one: fairseq's learning rate."""
_ASSIGNED = re.compile(r"(?<!\w)(\w+)=('[^']*'|\"[^\"]*\"|\[[^\]]*\]|[^,]+)")


def is_printed_log(name: str, head: bytes) -> bool:
    """Whether a file of this name begins as such a log."""
    if not name.lower().endswith(SUFFIXES) or b"\x00" in head:
        return False
    log = Printed(head)
    return log.n_points >= (1 if log.has_broken else LEAST_POINTS)


class Printed:
    """The lines of one log, in order; `head` are its first bytes."""

    def __init__(self, head: bytes = b"") -> None:
        self._count: dict[str, float] = {}
        self._heads: list[tuple[int, str]] = []
        """Indentation and name of what the lines of printed YAML stand under."""
        self.n_points = 0
        self.has_broken = False
        names: set[str] = set()
        for line in head.decode("utf-8", "replace").split("\n"):
            names |= (self.point(line) or {}).keys()
            self.has_broken |= ending_of(line) is not None
        found = [name for name in STEP_NAMES if name in names]
        self.step = found[0] if found else "epoch"
        self.told = f"lines of names and numbers, which count by {self.step}"
        self._count = {}
        self.is_begun = False

    def point(self, line: str) -> Cells | None:
        """The values of a line, its counts among them; None where it is no point."""
        plain = _plain(line)
        if _COMMAND.search(plain):
            return None
        values = dict(_values(plain))
        self._count = dict(_counts(plain)) or self._count
        if not self._count or not any(map(_METRIC.search, values)):
            return None
        self.n_points += 1
        self.is_begun = True
        return {**values, **self._count}

    def results(self, line: str) -> Cells:
        """None: they are told from points alone."""
        return {}

    def settings(self, line: str) -> Cells:
        """Settings that a line before the first point prints as such."""
        if self.is_begun:
            return {}
        plain = _plain(line)
        found: Cells = {}
        namespace = _NAMESPACE.search(plain)
        if namespace:
            for name, value in _ASSIGNED.findall(namespace[1]):
                found[name] = _ONLY.sub(r"\1", value.strip()).strip("'\"")
        for name, value in _OPTION.findall(plain):
            found[name.replace("-", "_")] = value
        if _COMMAND.search(plain):
            found.update(_OVERRIDE.findall(plain))
        brace = plain.find("{")
        if brace >= 0 and not found:
            try:
                found = flat_cells(parse_mapping_text(plain[brace:]) or {})
            except RecordError:
                return {}
        return found or self._lone_setting(line, plain)

    def _lone_setting(self, line: str, plain: str) -> dict[str, str]:
        """The setting that is all that a line says; its name under those of the lines
        that it is indented below.
        """
        found = _LONE.fullmatch(plain.strip(" \t|-"))
        if found is None:
            return {}
        indentation = len(line) - len(line.lstrip())
        while self._heads and self._heads[-1][0] >= indentation:
            self._heads.pop()
        if not found["value"]:
            self._heads.append((indentation, found["name"]))
            return {}
        path = [head for _, head in self._heads]
        return {".".join([*path, found["name"]]): found["value"]}


def _plain(line: str) -> str:
    """A line without colours and moments, as far as it is looked at."""
    return _NOISE.sub("  ", shown(line)[:MAX_LINE])


def _counts(line: str) -> Iterator[tuple[str, float]]:
    for match in _COUNT.finditer(line):
        name = match["name"].strip().lower().replace(" ", "_")
        yield name.removeprefix("num_"), _number(match["at"])


def _values(line: str) -> Iterator[tuple[str, float]]:
    for segment in _SEPARATOR.split(line):
        found = [*_EQUALS.finditer(segment), *_COLON.finditer(segment)]
        if not any(_METRIC.search(match["name"]) for match in found):
            found += _NAKED.finditer(segment)
        for match in found:
            name = match["name"].strip()
            if _COUNT.match(f"{name} 1") is None:
                yield name, _number(match["value"])


def _number(text: str) -> float:
    number = float(text.replace(",", "").rstrip("."))
    is_exact = number.is_integer() and abs(number) < 2**53
    return int(number) if is_exact else number
