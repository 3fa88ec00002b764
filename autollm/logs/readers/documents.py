"""Settings files and settings as text, turned into plain data: JSON, YAML, TOML, Python
assignments, and the text of Python dictionaries as pandas writes it into CSV cells.

No code is run and no object is made that the text names: a tag that is not YAML's own
(`!!python/object ...`) gives the plain mapping, list or text below it.

Invariant: each function returns plain data, bounded in size and depth, or raises
RecordError with the reason.
"""

from __future__ import annotations

import ast
import json
import math
import re
import tomllib
from collections.abc import Callable
from typing import Any, TypeGuard

from autollm.core.errors import RecordError
from autollm.core.extras import absent, absent_text
from autollm.core.plain_yaml import NotPlain, parse_plain_yaml

MAX_YAML_BYTES = 256 * 2**10
"""Of a settings file: people's are a few kB, and parsing takes some 10 s a MB."""
MAX_YAML_NODES = 100_000
"""After aliases are written out: nine lines can stand for a billion values."""
MAX_YAML_DEPTH = 200
"""Of brackets: PyYAML's time grows with the square of it."""
MAX_LITERAL_BYTES = 2**20
"""Of one cell that holds a dictionary as text."""


def parse_json(text: str | bytes) -> Any:
    """A JSON document; NaN and Infinity are taken, as every ML tool writes them.

    Raises:
        RecordError: it is none, or names a key twice in one object.
    """
    try:
        as_text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return _DECODE(as_text)
    except UnicodeDecodeError as error:
        raise RecordError(f"not UTF-8 text: {error.reason}") from None
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not JSON: {error}") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise RecordError(
            f"the key {repeated[:80]!r} stands twice in one object"
        )
    return values


_DECODE = json.JSONDecoder(object_pairs_hook=_without_repeats).decode
"""Made once: json.loads makes a decoder a call when it is given a hook, five times the
time of a logged number."""


def parse_object(text: str | bytes, what: str) -> dict[str, Any]:
    """A JSON document that is an object.

    Raises:
        RecordError: it is not.
    """
    return _as_mapping(parse_json(text), what)


def parse_yaml(text: bytes, what: str) -> dict[str, Any]:
    """A YAML document that is a mapping; an empty one is empty.

    Raises:
        RecordError: it is not, is too large, or refers to itself.
    """
    value = parse_any_yaml(text, what)
    return {} if value is None else _as_mapping(value, what)


def _as_mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise RecordError(f"{what} holds a {kind}, expected a mapping")
    return value


def parse_any_yaml(text: bytes, what: str) -> Any:
    """A YAML document, whatever it holds. Raises: see `parse_yaml`."""
    is_absent = bool(absent(["yaml"]))
    try:
        parse = parse_plain_yaml if is_absent else _construct
        return _parsed(text, what, "YAML", parse)
    except NotPlain:
        raise RecordError(absent_text(["yaml"], what)) from None


def _parsed(
    data: bytes, what: str, language: str, parse: Callable[[str], Any]
) -> Any:
    """A document by its language's own parser, whatever this makes of hostile text."""
    if len(data) > MAX_YAML_BYTES:
        raise RecordError(
            f"{what} holds {len(data)} bytes, expected at most {MAX_YAML_BYTES}"
        )
    try:
        return parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise RecordError(f"{what} is not UTF-8: {error.reason}") from None
    except (RecordError, NotPlain):
        raise
    except Exception as error:
        # PyYAML's constructors assume well-formed scalars ("!!int x", "!!timestamp"):
        # what they raise is no class of its own
        reason = " ".join(str(error).split())[:200]
        raise RecordError(f"{what} is not {language}: {reason}") from None


def _bracket_depth(text: str) -> int:
    """How deep brackets stand in one another, those inside quotes counted too."""
    depth = 0
    deepest = 0
    for mark in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if mark in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _construct(text: str) -> Any:
    if _bracket_depth(text) > MAX_YAML_DEPTH:
        raise RecordError(f"it nests more than {MAX_YAML_DEPTH} brackets")
    loader = _loader()(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        n_nodes = _expanded_size(node, {})
        if n_nodes > MAX_YAML_NODES:
            raise RecordError(
                f"{n_nodes} values once its aliases are written out, expected at most "
                f"{MAX_YAML_NODES}"
            )
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _expanded_size(node: Any, sizes: dict[int, int]) -> int:
    """Values below a node with aliases written out. `sizes`: of nodes seen before, 0 of
    those that are still open.
    """
    size = sizes.setdefault(id(node), 0)
    if size:
        return size
    total = 1
    names = set()
    for child in node.value if isinstance(node.value, list) else []:
        parts = child if isinstance(child, tuple) else (child,)
        name = parts[0].value if len(parts) > 1 else None
        if isinstance(name, str) and name != "<<":
            if name in names:
                raise RecordError(
                    f"the key {name[:80]!r} stands twice in one mapping"
                )
            names.add(name)
        for part in parts:
            if sizes.get(id(part)) == 0:
                raise RecordError("an alias refers to what it stands in")
            total += _expanded_size(part, sizes)
    sizes[id(node)] = total
    return total


_FLOAT = re.compile(
    r"^[-+]?(?:\d[\d_]*\.[\d_]*|\d[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"
)
"""What YAML 1.1 takes for text and everybody means as a number: 1e-4."""


def _loader() -> type:
    """YAML's safe loader, with `1e-4` a number and foreign tags plain data."""
    import yaml

    class PlainLoader(yaml.SafeLoader):
        pass

    PlainLoader.add_implicit_resolver(
        "tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789")
    )
    PlainLoader.add_constructor(None, _plain)
    PlainLoader.add_constructor("tag:yaml.org,2002:binary", _plain)
    PlainLoader.add_constructor("tag:yaml.org,2002:timestamp", _plain)
    return PlainLoader


def _plain(loader: Any, node: Any) -> Any:
    import yaml

    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


def parse_literal(text: str) -> Any:
    """A Python literal as pandas writes it into a cell: dictionaries, lists, numbers
    (nan, inf and NumPy's `np.float64(0.1)` too), text, None. What else stands in it, a
    date say, is kept as its text.

    Raises:
        RecordError: it is none.
    """
    if len(text) > MAX_LITERAL_BYTES:
        raise RecordError(
            f"{len(text)} characters, expected at most {MAX_LITERAL_BYTES}"
        )
    try:
        return _plain_value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RecordError(f"not a dictionary as text: {error}") from None


_NAMED = {
    "nan": math.nan,
    "inf": math.inf,
    "null": None,
    "true": True,
    "false": False,
}
_NUMPY_SCALARS = re.compile(r"(np|numpy)\.(float|int|uint|bool|str)\d*_?$")


def _plain_value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        is_plain = isinstance(node.value, (str, int, float, bool, type(None)))
        return node.value if is_plain else ast.unparse(node)
    if isinstance(node, ast.Dict):
        return _plain_dict(node)
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [_plain_value(item) for item in node.elts]
    if isinstance(node, ast.Name) and node.id in _NAMED:
        return _NAMED[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(
        node.op, (ast.USub, ast.UAdd)
    ):
        value = _plain_value(node.operand)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return -value if isinstance(node.op, ast.USub) else value
    if _is_numpy_scalar(node):
        return _plain_value(node.args[0])
    return ast.unparse(node)


def _is_numpy_scalar(node: ast.expr) -> TypeGuard[ast.Call]:
    if not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords:
        return False
    return _NUMPY_SCALARS.match(ast.unparse(node.func)) is not None


def _plain_dict(node: ast.Dict) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            raise RecordError("a dictionary that unpacks another one")
        out[str(_plain_value(key))] = _plain_value(value)
    return out


def parse_mapping_text(text: str) -> dict[str, Any] | None:
    """A cell that holds a dictionary, as JSON or as Python text; None when it holds
    something else.

    Raises:
        RecordError: it begins like one and cannot be read.
    """
    stripped = text.strip()
    if not stripped.startswith("{"):
        return None
    if not stripped.endswith("}"):
        raise RecordError("a dictionary that is cut off")
    try:
        value = parse_json(stripped)
    except RecordError:
        value = parse_literal(stripped)
    return value if isinstance(value, dict) else None


def parse_config(data: bytes, name: str) -> dict[str, Any]:
    """A configuration file by its suffix: JSON, YAML, TOML, a model's card, or Python
    whose lines are `name = literal`, which is parsed and never run.

    Raises:
        RecordError: it is not what its suffix says.
    """
    parse = _PARSERS.get(name.rsplit(".", 1)[-1].lower())
    if parse is None:
        known = ", ".join(f".{ending}" for ending in _PARSERS)
        raise RecordError(f"no configuration file by its name. Known: {known}")
    return parse(data, name)


def _parse_toml(data: bytes, name: str) -> dict[str, Any]:
    return _parsed(data, name, "TOML", tomllib.loads)


def _parse_python(data: bytes, name: str) -> dict[str, Any]:
    return _parsed(data, name, "Python", _assignments)


def _assignments(text: str) -> dict[str, Any]:
    """nanoGPT's configuration: Python assignments of literals, from the text alone."""
    out: dict[str, Any] = {}
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            if isinstance(target, ast.Name):
                out[target.id] = parse_literal(ast.unparse(statement.value))
    return out


def _parse_card(data: bytes, name: str) -> dict[str, Any]:
    """The hyperparameters that the Trainer writes into a model's card, a line each."""
    found: dict[str, Any] = {}
    is_inside = False
    for line in data.decode("utf-8", "replace").splitlines():
        if line.startswith("#"):
            is_inside = "hyperparameters" in line.lower()
        match = _OF_CARD.match(line) if is_inside else None
        if match:
            found[match[1]] = match[2].strip()
    return found


_OF_CARD = re.compile(r"^[-*] (\w+): (.+)$")
_PARSERS: dict[str, Callable[[bytes, str], dict[str, Any]]] = {
    "json": parse_object,
    "yaml": parse_yaml,
    "yml": parse_yaml,
    "toml": _parse_toml,
    "py": _parse_python,
    "md": _parse_card,
}
