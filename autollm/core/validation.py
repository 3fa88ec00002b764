"""pydantic's validation errors as the house's sentences: what was said, what is
expected, the nearest valid thing.

Invariant: a sentence names the entry in the words of the file it stands in
(`[objective]`, `[[knobs]]`, `knobs.scale`), never a class of ours.
"""

from __future__ import annotations

import difflib
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

_KINDS = {
    "string_type": "a string",
    "tuple_type": "a list",
    "list_type": "a list",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
}
_ORDER = {"extra_forbidden": 0, "missing": 2, "too_short": 3}
"""A misspelt entry is also a missing one, and a list without its broken entry is too
short: the cause is said, not its consequences.
"""


def sentence_of(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem of a file that does not fit `model`."""
    problems = error.errors(include_url=False)
    problem = min(problems, key=lambda p: _ORDER.get(p["type"], 1))
    location = _without_tags(problem["loc"], model)
    entry = ".".join(str(part) for part in location if isinstance(part, str))
    found = problem.get("input")
    context = problem.get("ctx", {})
    match problem["type"]:
        case "missing":
            return _missing(location, model)
        case "extra_forbidden":
            return _unknown(location, model)
        case "literal_error":
            expected = context["expected"].removeprefix("'', ")
            return f"{entry} {found!r:.80}, expected one of {expected}"
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"{_section(location)} must be a table, got {found!r:.80}"
        case "string_pattern_mismatch":
            return f"{entry} {found!r:.80}, expected {_pattern(location)}"
        case "greater_than":
            return f"{entry} = {found!r:.80}, expected a positive number"
        case "too_short" | "string_too_short":
            return f"{entry} is empty, expected at least one entry"
        case "too_long":
            most = context["max_length"]
            return f"{entry}: {context['actual_length']} entries, more than {most}"
        case "value_error":
            return str(context["error"])
        case kind if kind in _KINDS:
            return f"{entry} must be {_KINDS[kind]}, got {found!r:.80}"
    return f"{entry} = {found!r:.80}: {problem['msg']}"


def _without_tags(location: tuple[Any, ...], model: type[BaseModel]) -> tuple[Any, ...]:
    """A location without the names of a union's members (`bool`, `int`, `str` ...)."""
    tags = ("bool", "int", "float", "str", "function-before", "function-plain")
    last = location[-1] if location else None
    is_tag = len(location) > 1 and isinstance(last, str) and last.startswith(tags)
    if is_tag and last not in names_of(model, location[:-1]):
        return location[:-1]
    return location


def names_of(model: type[BaseModel], location: tuple[Any, ...]) -> tuple[str, ...]:
    """The entries that the table at `location` may have; none where keys are free."""
    here = _model_at(model, location)
    if here is None:
        return ()
    return tuple(f.alias or name for name, f in here.model_fields.items())


def _model_at(
    model: type[BaseModel], location: tuple[Any, ...]
) -> type[BaseModel] | None:
    here: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):
            continue
        field = _field(here, part)
        here = _model_in(field.annotation) if field else None
    return here


def _field(model: type[BaseModel] | None, name: str) -> Any:
    if model is None:
        return None
    for known, field in model.model_fields.items():
        if name in (known, field.alias):
            return field
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in typing.get_args(annotation):
        found = _model_in(inner)
        if found is not None:
            return found
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


def _missing(location: tuple[Any, ...], model: type[BaseModel]) -> str:
    *above, name = location
    if not above:
        return f"section {name!r} is missing"
    if isinstance(name, int):
        return f"{'.'.join(map(str, above))} lacks its entry number {name + 1}"
    field = _field(_model_at(model, tuple(above)), name)
    reason = f": {field.description}" if field and field.description else ""
    return f"{_section(tuple(above))} has no {name!r}{reason}"


def _unknown(location: tuple[Any, ...], model: type[BaseModel]) -> str:
    *above, name = location
    known = names_of(model, tuple(above))
    what = f"entry of {_section(tuple(above))}" if above else "section"
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
    return f"unknown {what} {name!r}. {hint}"


def _pattern(location: tuple[Any, ...]) -> str:
    if location[-1] == "name":
        return "1 to 100 characters without quotes, backslashes and control characters"
    return "letters, digits and ._+- (it becomes part of ids and of folder names)"
