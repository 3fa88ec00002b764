"""What a run must keep: `batch*seq <= 2e6`, over columns of the user's, fidelities and
settings that did not vary.

A name is a knob or a part of a mixture, in the user's words and units or canonical
ones; a fidelity; or a constant of the evidence. Lists answer to NAME.sum and
NAME.length.

Invariant: nothing is proposed that breaks a constraint; where nothing keeps it, that is
said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autollm.advisor.asking.native import Names, names_of
from autollm.advisor.evidence.evidence import Evidence
from autollm.core.errors import (
    AdviceError,
    MappingError,
    QuestionError,
    UnknownNameError,
)
from autollm.core.mappings.computed import computed
from autollm.core.mappings.expressions import (
    Expression,
    Operation,
    parse_expression,
)
from autollm.core.spaces.space import Space
from autollm.core.values import parse_number

COMPARISONS = ("<", "<=", ">", ">=", "==", "!=", "and", "or", "not")


@dataclass(frozen=True)
class Constraints:
    """`places`: name in an expression -> what it stands for; see `_Words`."""

    expressions: tuple[Expression, ...]
    words: _Words

    def keeps(
        self, space: Space, points: np.ndarray, fidelity: Mapping[str, float]
    ) -> np.ndarray:
        """Which points [n, d] keep all of them at a fidelity, bool [n]."""
        kept = np.ones(len(points), dtype=bool)
        if not self.expressions or not len(points):
            return kept
        columns = self.words.columns(space, points, fidelity)
        for expression in self.expressions:
            try:
                holds = computed(expression, columns)
            except ValueError:
                raise QuestionError(
                    f"--constraint {expression.text!r} counts with a setting that is "
                    "no number. Fix: compare it with a text, optimizer == 'adamw'."
                ) from None
            kept &= np.broadcast_to(holds, kept.shape).astype(bool)
        return kept

    def __str__(self) -> str:
        return " and ".join(e.text for e in self.expressions)


@dataclass(frozen=True)
class _Words:
    """What the names of some expressions stand for: knobs and parts (by the key of a
    shown or canonical configuration), fidelities, constants."""

    names: Names
    knobs: Mapping[str, str]
    fidelities: Mapping[str, str]
    constants: Mapping[str, Any]

    def columns(
        self, space: Space, points: np.ndarray, fidelity: Mapping[str, float]
    ) -> dict[str, Any]:
        """A column for every name."""
        found: dict[str, Any] = dict(self.constants)
        for name, canonical in self.fidelities.items():
            found[name] = fidelity[canonical]
        if not self.knobs:
            return found
        rows = [_flat(self.names, space, point) for point in points]
        for name, key in self.knobs.items():
            found[name] = np.array([row.get(key, np.nan) for row in rows])
        return found


def constraints_of(texts: Iterable[str], evidence: Evidence) -> Constraints:
    """Read constraints against the evidence.

    Raises:
        QuestionError: no comparison in the language of mapping files, or a name that
            nobody knows.
    """
    expressions = tuple(_parsed(text) for text in texts)
    first = evidence.table.experiments[0]
    names = names_of(first.space, evidence.columns, evidence.runs)
    point = first.space.window.mean(axis=0)
    keys = {key.lower(): key for key in _flat(names, first.space, point)}
    sizes: dict[str, str] = {}
    for name in first.fidelity:
        sizes[evidence.native(name).lower()] = name
        sizes[name.lower()] = name
    constants = {k.lower(): v for k, v in evidence.constants.items()}
    known = _Known(keys, sizes, constants)
    for expression in expressions:
        for name in expression.names:
            known.find(name, name in expression.text_names)
    return Constraints(
        expressions,
        _Words(names, known.knobs, known.fidelities, known.fixed),
    )


def _parsed(text: str) -> Expression:
    try:
        expression = parse_expression(text)
    except MappingError as error:
        raise QuestionError(f"--constraint: {error}") from None
    tree = expression.tree
    if not isinstance(tree, Operation) or tree.operator not in COMPARISONS:
        raise QuestionError(
            f"--constraint {text!r} compares nothing. Expected such as "
            "'batch_size * seq_len <= 2e6'."
        )
    return expression


class _Known:
    """Names that were found so far, each in one of three kinds."""

    def __init__(
        self,
        keys: dict[str, str],
        sizes: dict[str, str],
        constants: dict[str, Any],
    ):
        self._kinds: list[dict[str, Any]] = [keys, sizes, constants]
        self.knobs: dict[str, str] = {}
        self.fidelities: dict[str, str] = {}
        self.fixed: dict[str, Any] = {}

    def find(self, name: str, is_text: bool) -> None:
        """Note what a name stands for: spelt so, the end of a dotted column, or the one
        name that holds it as a word."""
        found: list[dict[str, Any]] = [self.knobs, self.fidelities, self.fixed]
        for matches in (_is_same, _is_tail, _holds_word):
            for kind, into in zip(self._kinds, found, strict=True):
                fitting = {
                    repr(v): v for k, v in kind.items() if matches(name, k)
                }
                if len(fitting) == 1:
                    (value,) = fitting.values()
                    if into is self.fixed:
                        value = _read(value, is_text)
                    into[name] = value
                    return
        everything: Sequence[str] = [k for kind in self._kinds for k in kind]
        raise QuestionError(
            f"--constraint: {UnknownNameError('name', name, everything)}"
        )


def _read(value: Any, is_text: bool) -> Any:
    """A constant's cell as the number that it says, where it is counted with."""
    number = None if is_text else parse_number(value)
    return value if number is None else number


def _is_same(name: str, known: str) -> bool:
    return name.lower() == known


def _is_tail(name: str, known: str) -> bool:
    return known.replace("/", ".").rsplit(".", 1)[-1] == name.lower()


def _holds_word(name: str, known: str) -> bool:
    words = known.replace("/", "_").replace(".", "_").split("_")
    return name.lower() in words


def _flat(names: Names, space: Space, point: np.ndarray) -> dict[str, Any]:
    """A configuration by canonical names and by the user's, lists as their sum and
    length."""
    configuration = space.decode(point)
    flat: dict[str, Any] = {}
    for name, value in configuration.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{part}": w for part, w in value.items()}
        elif isinstance(value, list):
            flat[f"{name}.length"] = len(value)
            if all(isinstance(v, (int, float)) for v in value):
                flat[f"{name}.sum"] = sum(value)
        else:
            flat[name] = value
    return flat | names.show(configuration)


def nothing_keeps(constraints: Constraints, n: int) -> AdviceError:
    """No candidate within the window keeps the constraints."""
    return AdviceError(
        "infeasible",
        f"none of the {n} configurations that your runs' window holds keeps "
        f"{constraints}.",
        "loosen --constraint, or add runs where it is kept.",
    )


def check_target(
    constraints: Constraints, space: Space, fidelity: Mapping[str, float]
) -> None:
    """Refuse a target that breaks a constraint whatever the configuration.

    Raises:
        QuestionError: it does.
    """
    for expression in constraints.expressions:
        words = constraints.words
        if any(name in words.knobs for name in expression.names):
            continue
        alone = Constraints((expression,), words)
        if not alone.keeps(space, np.zeros((1, len(space))), fidelity)[0]:
            shown = ", ".join(f"{n} {v:.4g}" for n, v in fidelity.items())
            raise QuestionError(
                f"--constraint {expression.text!r} is broken by the target itself "
                f"({shown}). Fix: another --target, or drop it."
            )
