"""Text domains that every machine has: files of pinned packages, and generated
arithmetic and dialogue, tokenized by one BPE.

    code, prose     library code of sympy, networkx and mpmath, parted from its
                    docstrings; CAPPED to a few unique tokens
    structured      JSON and CSV inside mlflow and scikit-learn; CAPPED
    arithmetic, dialogue   generated, as much as is asked for
    tests           the test files of the same three packages: plentiful text that is
                    near code without being it

Invariant: `DOMAINS_SHA256` names the bytes of all of them and of the tokenizer; `load`
refuses others.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autollm.core.errors import CorpusError
from autollm.lab.corpus import (
    PACKAGES,
    package_root,
    train_tokenizer,
    write_arrays,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CAPPED, PLENTY = 25_000, 550_000
"""Unique training tokens of a domain: of the useful ones, of the others. A run of the
most expensive level that gives a capped domain three tenths of its tokens sees them six
times.
"""
VALIDATION_TOKENS = 16_500
FROM_A_FILE = {
    "code": 4_000,
    "prose": 4_000,
    "structured": 4_000,
    "tests": 12_000,
}
"""Characters that are taken from one file, so that few tokens come from many."""
DOMAINS_SHA256 = (
    "de949c8e63d7bef367490b5ea657042dad35d3589d70070525483d64fbd5b435"
)
FIX = (
    "Fix: install the pinned packages (pip install -c constraints.txt sympy networkx "
    "mpmath mlflow scikit-learn tokenizers)."
)


@dataclass(frozen=True)
class Domains:
    """Token ids, int16, by domain. `sha256` covers texts, tokenizer and split."""

    train: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for part in (self.train, self.validation):
            for name in sorted(part):
                digest.update(
                    f"{name}\0{len(part[name])}\0".encode()
                    + part[name].tobytes()
                )
        return digest.hexdigest()


def load(
    cache_dir: Path, expected_sha256: str | None = DOMAINS_SHA256
) -> Domains:
    """Build, tokenize and split all domains, or read them from `cache_dir`.

    Raises:
        CorpusError: a package is missing, or its files are not the recorded ones.
    """
    cached = cache_dir / f"domains-{(expected_sha256 or 'unchecked')[:16]}.npz"
    if not cached.exists():
        domains = _tokenize()
        if expected_sha256 is not None and domains.sha256 != expected_sha256:
            raise CorpusError(
                f"the domains on this machine have digest {domains.sha256[:16]}, "
                f"recorded runs used {expected_sha256[:16]}. {FIX}"
            )
        train = {f"train.{n}": t for n, t in domains.train.items()}
        validation = {
            f"validation.{n}": t for n, t in domains.validation.items()
        }
        write_arrays(cached, **train, **validation)
    parts: dict[str, dict[str, np.ndarray]] = {"train": {}, "validation": {}}
    with np.load(cached) as arrays:
        for key in arrays.files:
            part, name = key.split(".")
            parts[part][name] = arrays[key]
    domains = Domains(parts["train"], parts["validation"])
    if expected_sha256 is not None and domains.sha256 != expected_sha256:
        raise CorpusError(
            f"{cached} holds digest {domains.sha256[:16]}, not {expected_sha256[:16]}. "
            "Fix: delete it."
        )
    return domains


def _code() -> Iterable[str]:
    return (_parted(text)[0] for text in _python_files(tests=False))


def _prose() -> Iterable[str]:
    return (
        doc for text in _python_files(tests=False) if (doc := _parted(text)[1])
    )


def _tests() -> Iterable[str]:
    return _python_files(tests=True)


def _structured() -> Iterable[str]:
    catalog = sorted(
        (package_root("mlflow") / "utils" / "model_catalog").glob("*.json")
    )
    tables = sorted(
        (package_root("sklearn") / "datasets" / "data").glob("*.csv")
    )
    return (path.read_text() for path in _shuffled([*catalog, *tables]))


def _arithmetic() -> Iterable[str]:
    rng = random.Random(1)
    while True:
        yield "".join(_sum(rng) for _ in range(40))


def _dialogue() -> Iterable[str]:
    rng = random.Random(2)
    while True:
        yield _talk(rng)


DOMAINS: dict[str, tuple[Callable[[], Iterable[str]], int]] = {
    "arithmetic": (_arithmetic, PLENTY),
    "code": (_code, CAPPED),
    "dialogue": (_dialogue, PLENTY),
    "prose": (_prose, CAPPED),
    "structured": (_structured, CAPPED),
    "tests": (_tests, PLENTY),
}
"""Texts of each domain in their order, and its unique training tokens."""


def _tokenize() -> Domains:
    wanted = {
        name: _up_to(
            make(), 3 * (tokens + VALIDATION_TOKENS), FROM_A_FILE.get(name)
        )
        for name, (make, tokens) in DOMAINS.items()
    }
    tokenizer = train_tokenizer(
        [text for texts in wanted.values() for text in _up_to(texts, 200_000)]
    )
    train, validation = {}, {}
    for name, (_, n_tokens) in DOMAINS.items():
        ids = _first_tokens(
            tokenizer, wanted[name], n_tokens + VALIDATION_TOKENS
        )
        if len(ids) < VALIDATION_TOKENS + CAPPED:
            raise CorpusError(
                f"domain {name!r} has {len(ids)} tokens here, expected at least "
                f"{VALIDATION_TOKENS + CAPPED}. {FIX}"
            )
        validation[name], train[name] = (
            ids[:VALIDATION_TOKENS],
            ids[VALIDATION_TOKENS:],
        )
    return Domains(train, validation)


def _first_tokens(tokenizer: Tokenizer, texts: list[str], n: int) -> np.ndarray:
    ids: list[int] = []
    for text in texts:
        ids += tokenizer.encode(text).ids
        if len(ids) >= n:
            break
    return np.array(ids[:n], dtype=np.int16)


def _up_to(
    texts: Iterable[str], characters: int, from_each: int | None = None
) -> list[str]:
    """Texts, each cut to `from_each` characters, until they have so many characters
    together.
    """
    out, length = [], 0
    for text in texts:
        out.append(text[:from_each])
        length += len(out[-1])
        if length >= characters:
            break
    return out


def _shuffled(paths: list[Path]) -> list[Path]:
    """Paths in the order of the hash of their names, so that no domain begins with one
    package.
    """
    return sorted(
        paths,
        key=lambda p: hashlib.sha256("/".join(p.parts[-3:]).encode()).digest(),
    )


def _python_files(tests: bool) -> Iterable[str]:
    paths = [
        p
        for package in PACKAGES
        for p in package_root(package).rglob("*.py")
        if ("tests" in p.parts) == tests
    ]
    return (path.read_text(encoding="utf-8") for path in _shuffled(paths))


def _parted(text: str) -> tuple[str, str]:
    """A module's code without its docstrings, and the docstrings."""
    lines, docs = text.splitlines(keepends=True), []
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        if (
            isinstance(
                node,
                (
                    ast.Module,
                    ast.ClassDef,
                    ast.FunctionDef,
                    ast.AsyncFunctionDef,
                ),
            )
            and body
            and isinstance(body[0], ast.Expr)
        ):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                docs.append((value.lineno, inspect.cleandoc(value.value)))
                lines[value.lineno - 1 : value.end_lineno] = [""] * (
                    value.end_lineno - value.lineno + 1
                )
    return "".join(lines), "\n\n".join(
        doc for _, doc in sorted(docs)
    ) + "\n\n" if docs else ""


def _sum(rng: random.Random) -> str:
    a, b, kind = (
        rng.randrange(10 ** rng.randrange(1, 4)),
        rng.randrange(10 ** rng.randrange(1, 4)),
        rng.randrange(4),
    )
    if kind == 0:
        return f"{a} + {b} = {a + b}\n"
    if kind == 1:
        return f"{a} - {b} = {a - b}\n"
    if kind == 2:
        return f"{a % 100} * {b % 100} = {a % 100 * (b % 100)}\n"
    return f"{a} > {b} is {a > b}\n"


NAMES = (
    "Ada",
    "Ben",
    "Chloe",
    "Dmitri",
    "Elif",
    "Femi",
    "Gita",
    "Hugo",
    "Ines",
    "Jun",
)
GOODS = (
    "apples",
    "books",
    "chairs",
    "drums",
    "eggs",
    "flags",
    "gloves",
    "hats",
    "inks",
    "jars",
)
PLACES = (
    "market",
    "harbour",
    "library",
    "school",
    "station",
    "garden",
    "museum",
    "bakery",
)
DAYS = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
)


def _talk(rng: random.Random) -> str:
    """Two people about goods, places and days; what is answered follows from what was
    said before.
    """
    one, other = rng.sample(NAMES, 2)
    good, place, day, n = (
        rng.choice(GOODS),
        rng.choice(PLACES),
        rng.randrange(7),
        rng.randrange(2, 30),
    )
    lines = [
        f"{one}: Good morning, {other}! Are you going to the {place} on {DAYS[day]}?"
    ]
    if rng.random() < 0.5:
        lines += [
            f"{other}: Yes, {one}, I need {n} {good}.",
            f"{one}: How many {good} do you have now?",
            f"{other}: I have {n // 2}, so with these it will be {n + n // 2}.",
        ]
    else:
        lines += [
            f"{other}: No, on {DAYS[day]} I am busy. What about {DAYS[(day + 1) % 7]}?",
            f"{one}: {DAYS[(day + 1) % 7]} is fine. Let us meet at the {place} and "
            f"look for {good}.",
        ]
    lines += [
        f"{other}: Thank you, {one}. See you at the {place}."
        if rng.random() < 0.7
        else f"{other}: Goodbye, {one}!"
    ]
    return "\n".join(lines) + "\n\n"
