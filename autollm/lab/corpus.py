"""The lab's corpus: a named list of files inside pinned pure-Python packages, the same
bytes on every machine.

Text is the source of sympy, networkx and mpmath without their tests, with a byte-level
BPE of its own. Invariant: `CORPUS_SHA256` names the bytes of the files and of the
tokenizer; `load` refuses others.
"""

from __future__ import annotations

import hashlib
import importlib.util
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autollm.core.errors import CorpusError
from autollm.lab.shapes import VOCABULARY

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PACKAGES = ("mpmath", "networkx", "sympy")
VALIDATION_SHARE = 50
"""One file in so many is held out, chosen by the hash of its name."""
CORPUS_SHA256 = (
    "b5afd4f8f6073b2226eb0f5bc1b8a67580f6d4a338e0ad0ead43ed59639caf5c"
)


@dataclass(frozen=True)
class Corpus:
    """Token ids, int16, in a fixed shuffled order of files. `sha256` covers files,
    tokenizer and split.
    """

    train: np.ndarray
    validation: np.ndarray
    sha256: str


def files() -> list[tuple[str, Path]]:
    """(name, path) of every file of the corpus, sorted by name.

    Raises:
        CorpusError: a package is not installed.
    """
    named = []
    for package in PACKAGES:
        root = package_root(package)
        paths = (p for p in root.rglob("*.py") if "tests" not in p.parts)
        named += [
            (f"{package}/{p.relative_to(root).as_posix()}", p) for p in paths
        ]
    return sorted(named)


def package_root(package: str) -> Path:
    """Folder of an installed package, without importing it.

    Raises:
        CorpusError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise CorpusError(
            f"corpus package {package!r} is not installed. Fix: pip install -c "
            f"constraints.txt {package}"
        )
    return Path(spec.origin).parent


def train_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """Byte-level BPE of VOCABULARY tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    return tokenizer


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an npz file, whole or not at all, whoever else writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp.npz")
    np.savez_compressed(temporary, **arrays)
    temporary.replace(path)


def load(
    cache_dir: Path, expected_sha256: str | None = CORPUS_SHA256
) -> Corpus:
    """Read, tokenize and split the corpus; tokens are cached in `cache_dir` under the
    digest of the bytes.

    Raises:
        CorpusError: the installed files are not the recorded ones.
    """
    named = [(name, path.read_bytes()) for name, path in files()]
    digest = hashlib.sha256()
    for name, data in named:
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    cached = cache_dir / f"corpus-{digest.hexdigest()[:16]}.npz"
    if not cached.exists():
        _tokenize(named, cached)
    with np.load(cached) as arrays:
        train, validation = arrays["train"], arrays["validation"]
    digest.update(train.tobytes() + validation.tobytes())
    sha256 = digest.hexdigest()
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise CorpusError(
            f"the corpus on this machine has digest {sha256[:16]}, recorded runs used "
            f"{expected_sha256[:16]}. "
            "Fix: install the pinned packages (pip install -c constraints.txt sympy "
            "networkx mpmath tokenizers)."
        )
    return Corpus(train, validation, sha256)


def _tokenize(named: list[tuple[str, bytes]], cached: Path) -> None:
    texts = [data.decode() for _, data in named]
    tokenizer = train_tokenizer(texts[::4])
    parts: dict[bool, list[np.ndarray]] = {True: [], False: []}
    order = sorted(
        range(len(named)),
        key=lambda i: hashlib.sha256(named[i][0].encode()).digest(),
    )
    for i in order:
        held_out = (
            hashlib.sha256(named[i][0].encode()).digest()[-1] % VALIDATION_SHARE
            == 0
        )
        parts[held_out].append(
            np.array(tokenizer.encode(texts[i]).ids, dtype=np.int16)
        )
    write_arrays(
        cached,
        train=np.concatenate(parts[False]),
        validation=np.concatenate(parts[True]),
    )
