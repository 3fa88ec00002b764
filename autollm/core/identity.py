"""Identity of work: equal identities mean equal work, which is then skipped.

Data and settings enter by value, code by its meaning: the syntax trees of all modules
that a stage can reach by imports, without positions, comments and docstrings. Texts
that a model reads enter by value. A registry that makes things by name is a list of
names, no code: of the things that it knows, those enter that a caller names.

Invariant: whatever could change a result changes the identity of its work; where a line
breaks, what a comment says, or another policy changes none.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autollm.core.errors import SetupError
from autollm.core.records import canonical_json, content_hash

DIGITS = 9
"""Significant digits of numbers in settings: learning rates differ in fewer."""


@dataclass(frozen=True)
class Registry:
    """A module that makes things by their names.

    Attributes:
        module: its dotted name; it enters no identity.
        makers: names of its functions that take the name of a thing.
        targets: name of a thing -> `module:Class` that is made.
    """

    module: str = ""
    makers: tuple[str, ...] = ()
    targets: Mapping[str, str] = field(default_factory=dict)


NO_REGISTRY = Registry()


def identity_of(parts: Mapping[str, Any]) -> str:
    """16 hex digits over named parts, which are plain values."""
    return content_hash(canonical_json(parts, digits=DIGITS))


def code_digest(roots: Iterable[str], registry: Registry = NO_REGISTRY) -> str:
    """16 hex digits over the meaning of all code that modules can reach.

    Args:
        roots: dotted names of modules; what they import of their own top-level
            packages is followed, imports inside functions too.

    Raises:
        SetupError: a root has no source.
    """
    digest = hashlib.sha256()
    for module, path in closure(roots, registry).items():
        digest.update(f"{module}\n{meaning_of(path)}\n".encode())
    return digest.hexdigest()[:16]


def checkpoint_digest(folder: str | Path) -> str:
    """16 hex digits over weights, configuration, tokenizer and metadata of a
    checkpoint; of the name alone where there is no such folder (a hub id).
    """
    digest = hashlib.sha256()
    named = ("config.json", "tokenizer.json", "autollm.json")
    has_weights = False
    for path in sorted(Path(folder).glob("*")):
        if path.suffix == ".safetensors" or path.name in named:
            digest.update(path.name.encode() + path.read_bytes())
            has_weights = True
    return digest.hexdigest()[:16] if has_weights else content_hash(str(folder))


def closure(
    roots: Iterable[str], registry: Registry = NO_REGISTRY
) -> dict[str, Path]:
    """Modules that can be reached from `roots` by imports, by dotted names in text, or
    by names of the registry; module -> source, sorted.

    Raises:
        SetupError: a root has no source.
    """
    todo = list(roots)
    followed = {_top(root) for root in todo}
    paths: dict[str, Path] = {}
    while todo:
        module = todo.pop()
        if module in paths or module == registry.module:
            continue
        path = source_of(module)
        if path is None:
            raise SetupError(
                f"module {module} has no source file, so its identity is unknown. "
                "Fix: install it with its .py files."
            )
        paths[module] = path
        mentions = _mentions(module, path, *_state(path))
        named = _named(mentions, registry)
        followed |= {_top(target) for target in named}
        todo += named
        todo += _reached(mentions, followed)
    return dict(sorted(paths.items()))


def source_of(module: str) -> Path | None:
    """The source file of a module, found without importing anything; None for what is
    no module, or has no source.
    """
    top, *rest = module.split(".")
    if not all(part.isidentifier() for part in (top, *rest)):
        return None
    spec = PathFinder.find_spec(top) or _editable(top)
    if spec is None:
        return None
    if not rest and spec.origin and spec.origin.endswith(".py"):
        return Path(spec.origin)
    for folder in spec.submodule_search_locations or ():
        base = Path(folder, *rest)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def _editable(top: str) -> ModuleSpec | None:
    """A top-level package that only an editable installation's own finder knows."""
    try:
        return find_spec(top)
    except ValueError:  # `__main__`, which has no specification
        return None


def meaning_of(path: Path) -> str:
    """What the code of a file means, as text: equal for equal meanings."""
    return _meaning(path, *_state(path))


def dump(node: ast.AST) -> str:
    """A syntax tree as text, equal on every Python that can parse it.

    Left out: positions, docstrings and other lone texts, `pass`, what is imported for
    type checkers alone, and whatever is empty (so fields of newer versions are, too).
    Runs of imports are sorted, pieces of f-strings joined.
    """
    parts = []
    for name in node._fields:
        value = getattr(node, name, None)
        if (
            name in ("ctx", "kind", "type_comment")
            or value is None
            or value == []
        ):
            continue
        if isinstance(node, ast.Constant):
            written = _constant(value)
        elif isinstance(value, list):
            written = _dump_list(value)
        elif isinstance(value, ast.AST):
            written = dump(value)
        else:
            written = _constant(value)
        if written:
            parts.append(f"{name}={written}")
    return f"{type(node).__name__}({','.join(parts)})"


@lru_cache(maxsize=4096)
def _meaning(path: Path, changed_ns: int, n_bytes: int) -> str:
    return dump(_parsed(path, changed_ns, n_bytes))


@lru_cache(maxsize=4096)
def _parsed(path: Path, changed_ns: int, n_bytes: int) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=path.name)


def _state(path: Path) -> tuple[int, int]:
    """When a file was changed last, and its size: what was found in it holds as long as
    both stay.
    """
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def _tree(path: Path) -> ast.Module:
    return _parsed(path, *_state(path))


def _dump_list(values: list[Any]) -> str:
    """A list of a node's field: statements without those that mean nothing, or parts of
    an f-string, or anything else.
    """
    written: list[str] = []
    imports: list[str] = []
    text = ""
    in_text = any(isinstance(v, ast.FormattedValue) for v in values)
    for value in values:
        if in_text and isinstance(value, ast.Constant):
            text += str(value.value)
            continue
        if text:
            written.append(_constant(text))
            text = ""
        if isinstance(value, ast.Import | ast.ImportFrom):
            imports.append(dump(value))
            continue
        written += sorted(imports)
        imports = []
        if _is_silent(value):
            continue
        if isinstance(value, ast.AST):
            written.append(dump(value))
        else:
            written.append(_constant(value))
    if text:
        written.append(_constant(text))
    written += sorted(imports)
    return f"[{','.join(written)}]" if written else ""


def _is_silent(node: Any) -> bool:
    """Whether a statement does nothing when it runs."""
    if isinstance(node, ast.Pass) or _is_for_type_checkers(node):
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_for_type_checkers(node: Any) -> bool:
    """`if TYPE_CHECKING:` without an else."""
    if not isinstance(node, ast.If) or node.orelse:
        return False
    test = node.test
    name = (
        test.attr
        if isinstance(test, ast.Attribute)
        else getattr(test, "id", "")
    )
    return name == "TYPE_CHECKING"


def _constant(value: Any) -> str:
    """A literal as text. Text goes through JSON: `repr` follows the Unicode tables,
    which grow from version to version.
    """
    if isinstance(value, str):
        return json.dumps(value)
    return f"{type(value).__name__}:{value!r}"


@dataclass(frozen=True)
class _Mentions:
    """What a file names: modules by import and as text, packages whose modules an
    f-string picks from, and bare names and texts, which a registry may know.
    """

    modules: tuple[str, ...]
    packages: tuple[str, ...]
    names: frozenset[str]
    texts: frozenset[str]


@lru_cache(maxsize=4096)
def _mentions(
    module: str, path: Path, changed_ns: int, n_bytes: int
) -> _Mentions:
    modules: list[str] = []
    packages: list[str] = []
    names: set[str] = set()
    texts: set[str] = set()
    for node in _running(_parsed(path, changed_ns, n_bytes)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules += _from(node, module, path)
        elif isinstance(node, ast.JoinedStr):
            packages += _package_in(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    modules += [text.partition(":")[0] for text in sorted(texts) if "." in text]
    return _Mentions(
        tuple(modules), tuple(packages), frozenset(names), frozenset(texts)
    )


def _reached(mentions: _Mentions, followed: set[str]) -> Iterator[str]:
    """Modules of the followed packages among those that a file names."""
    for module in mentions.modules:
        if _top(module) in followed and source_of(module) is not None:
            yield module
    for package in mentions.packages:
        path = source_of(package) if _top(package) in followed else None
        if path is not None and path.name == "__init__.py":
            inside = sorted(path.parent.glob("*.py"))
            yield from (f"{package}.{p.stem}" for p in inside if p != path)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a tree but what is there for type checkers alone."""
    todo = [tree]
    while todo:
        node = todo.pop()
        if _is_for_type_checkers(node):
            continue
        yield node
        todo.extend(ast.iter_child_nodes(node))


def _from(node: ast.ImportFrom, module: str, path: Path) -> list[str]:
    """Modules behind `from base import names`: a submodule, the module that a package's
    `__init__` takes the name from, or the base itself.
    """
    base = node.module or ""
    if node.level:
        package = module.split(".")
        n_up = node.level - (path.name == "__init__.py")
        base = ".".join(
            [*package[: len(package) - n_up], *filter(None, [base])]
        )
    return [_home_of(base, alias.name) for alias in node.names]


def _home_of(base: str, name: str) -> str:
    """Module in which `name`, imported from `base`, is written."""
    if source_of(f"{base}.{name}") is not None:
        return f"{base}.{name}"
    path = source_of(base)
    if path is None or path.name != "__init__.py":
        return base
    for node in _tree(path).body:
        if not isinstance(node, ast.ImportFrom):
            continue
        for alias in node.names:
            if name == (alias.asname or alias.name):
                inner = ast.ImportFrom(node.module, [alias], node.level)
                return _from(inner, base, path)[0]
    return base


def _package_in(node: ast.JoinedStr) -> list[str]:
    """The package in an f-string such as `autollm.lab.trainers.{name}`, whose modules
    it may name.
    """
    head = node.values[0] if node.values else None
    if not isinstance(head, ast.Constant) or not str(head.value).endswith("."):
        return []
    return [str(head.value).rstrip(".")]


def _named(mentions: _Mentions, registry: Registry) -> list[str]:
    """Modules of registered things that are named in a module which calls one of the
    registry's makers.
    """
    if mentions.names.isdisjoint(registry.makers):
        return []
    named = sorted(mentions.texts & registry.targets.keys())
    return [registry.targets[name].partition(":")[0] for name in named]


def _top(module: str) -> str:
    return module.partition(".")[0]
