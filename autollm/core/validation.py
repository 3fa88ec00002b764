"""pydantic's validation errors as the house's sentences: what was said, what is
expected, the nearest valid thing.

Invariant: a sentence names the entry in the words of the file it stands in
(`[objective]`, `[[knobs]]`, `knobs.scale`), never a class of ours.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, dataclass_transform

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

_KINDS = {
    "string_type": "a string",
    "tuple_type": "a list",
    "list_type": "a list",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
}
_ORDER = {
    "extra_forbidden": 0,
    "unexpected_keyword_argument": 0,
    "missing": 2,
    "too_short": 3,
}
"""A misspelt entry is also a missing one, and a list without its broken entry is too
short: the error names the cause, not its consequences.
"""


Declared = TypeVar("Declared", bound=type)


@dataclass_transform(frozen_default=True)
def declaration(error: type[Exception]) -> Callable[[Declared], Declared]:
    """Makes a class a frozen, closed dataclass whose fields pydantic checks; what does
    not fit raises `error` with a sentence that names the field.
    """

    def declared(cls: Declared) -> Declared:
        config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
        made: Any = dataclass(frozen=True, config=config)(cls)
        check = made.__init__

        @wraps(check)
        def __init__(self: Any, *args: Any, **fields: Any) -> None:
            # By name, so that a problem is said by name too.
            named = dict(zip(_fields_of(made), args, strict=False))
            try:
                check(self, *args[len(named) :], **named, **fields)
            except ValidationError as problem:
                raise error(sentence_of(problem, made)) from None

        made.__init__ = __init__
        return made

    return declared


def sentence_of(error: ValidationError, model: type) -> str:
    """The first problem of what does not fit `model`, a file's or a declaration."""
    problems = error.errors(include_url=False)
    problem = min(problems, key=lambda p: _ORDER.get(p["type"], 1))
    location = _without_tags(problem["loc"], model)
    entry = ".".join(str(part) for part in location if isinstance(part, str))
    value = problem.get("input")
    context = problem.get("ctx", {})
    match problem["type"]:
        case "missing":
            return _missing(location, model)
        case "extra_forbidden" | "unexpected_keyword_argument":
            return _unknown(location, model)
        case "literal_error":
            expected = context["expected"].removeprefix("'', ")
            return f"{entry} {value!r:.80}, expected one of {expected}"
        case "dataclass_type":
            return (
                f"{entry} must be a {context['class_name']}, got {value!r:.80}"
            )
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"{_section(location)} must be a table, got {value!r:.80}"
        case "string_pattern_mismatch":
            return f"{entry} {value!r:.80}, expected {_pattern(location)}"
        case "greater_than":
            return f"{entry} = {value!r:.80}, expected a positive number"
        case "too_short" | "string_too_short":
            return f"{entry} is empty, expected at least one entry"
        case "too_long":
            most = context["max_length"]
            return (
                f"{entry}: {context['actual_length']} entries, more than {most}"
            )
        case "value_error":
            return str(context["error"])
        case kind if kind in _KINDS:
            return f"{entry} must be {_KINDS[kind]}, got {value!r:.80}"
    return f"{entry} = {value!r:.80}: {problem['msg']}"


def _without_tags(location: tuple[Any, ...], model: type) -> tuple[Any, ...]:
    """A location without the names of a union's members (`bool`, `int`, `str` ...)."""
    tags = ("bool", "int", "float", "str", "function-before", "function-plain")
    last = location[-1] if location else None
    is_tag = (
        len(location) > 1 and isinstance(last, str) and last.startswith(tags)
    )
    if is_tag and last not in names_of(model, location[:-1]):
        return location[:-1]
    return location


def names_of(model: type, location: tuple[Any, ...]) -> tuple[str, ...]:
    """The entries that the table at `location` may have; none where keys are free."""
    section = _model_at(model, location)
    if section is None:
        return ()
    return tuple(f.alias or name for name, f in _fields_of(section).items())


def _fields_of(model: type) -> dict[str, Any]:
    """Of a model or of a declaration."""
    return model.__pydantic_fields__


def _model_at(model: type, location: tuple[Any, ...]) -> type | None:
    section: type | None = model
    for part in location:
        if isinstance(part, int):
            continue
        field = _field(section, part)
        section = _model_in(field.annotation) if field else None
    return section


def _field(model: type | None, name: str) -> Any:
    if model is None:
        return None
    for known, field in _fields_of(model).items():
        if name in (known, field.alias):
            return field
    return None


def _model_in(annotation: Any) -> type | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in typing.get_args(annotation):
        nested = _model_in(inner)
        if nested is not None:
            return nested
    return None


def _section(location: tuple[Any, ...]) -> str:
    """`[objective]`, `[[knobs]]`, `[[knobs]] when`."""
    if len(location) == 0:
        return "the file"
    first = str(next(iter(location)))
    is_list = len(location) > 1 and isinstance(location[1], int)
    rest = [str(part) for part in location[1:] if isinstance(part, str)]
    head = f"[[{first}]]" if is_list else f"[{first}]"
    return " ".join([head, *rest])


def _missing(location: tuple[Any, ...], model: type) -> str:
    *above, name = location
    if not above:
        return f"section {name!r} is missing"
    if isinstance(name, int):
        return f"{'.'.join(map(str, above))} lacks its entry number {name + 1}"
    field = _field(_model_at(model, tuple(above)), name)
    reason = f": {field.description}" if field and field.description else ""
    return f"{_section(tuple(above))} has no {name!r}{reason}"


def _unknown(location: tuple[Any, ...], model: type) -> str:
    *above, name = location
    known = names_of(model, tuple(above))
    what = f"entry of {_section(tuple(above))}" if above else "section"
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = (
        f"Did you mean {close[0]!r}?"
        if close
        else f"Known: {', '.join(known)}."
    )
    return f"unknown {what} {name!r}. {hint}"


def _pattern(location: tuple[Any, ...]) -> str:
    if location[-1] == "name":
        return "1 to 100 characters without quotes, backslashes and control characters"
    return (
        "letters, digits and ._+- (it becomes part of ids and of folder names)"
    )
