"""Small JSON files that tell whether they are whole: pointers, notes of finished work,
leaderboards. And the digests of larger files, taken once a process.

The last field, `sha256`, is a digest of all others. Files of older versions lack it and
are read as they are. Invariant: what is read back is what was written, or an error that
names the file, what is wrong with it, and one remedy.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from autollm.core import files as storage
from autollm.core.errors import AutoLLMError
from autollm.core.records import canonical_json, content_hash

SEAL = "sha256"


def write_sealed(url: str, fields: Mapping[str, Any]) -> None:
    """Replace the file at `url` by these fields and their digest."""
    sealed = {**fields, SEAL: _digest(fields)}
    storage.write_atomic(
        url, json.dumps(sealed, indent=1, allow_nan=False).encode()
    )


def read_sealed(
    url: str, error: type[AutoLLMError], remedy: str, schema: int | None = None
) -> dict[str, Any]:
    """The fields of a file, without their digest.

    Args:
        error: raised for a damaged file. remedy: what its message says to do.
        schema: the newest schema that this version reads; None: it has no number.

    Raises:
        AutoLLMError: `error`, where the file is no JSON object, is not what was
            written, or comes from a newer version. FileNotFoundError: nothing there.
    """
    fields = parse_sealed(storage.read_bytes(url), url, error, remedy)
    version = fields.get("schema", 0)
    if schema is not None and isinstance(version, int) and version > schema:
        raise error(
            f"{url} has schema {version}, this version reads up to {schema}: a newer "
            "autollm wrote it. Fix: pip install --upgrade autollm."
        )
    return fields


def parse_sealed(
    data: bytes, url: str, error: type[AutoLLMError], remedy: str
) -> dict[str, Any]:
    """The same of bytes that were read from `url`."""
    if not data.strip():
        raise error(f"{url} is damaged: it is empty. Fix: {remedy}")
    try:
        fields = json.loads(data)
    except ValueError as problem:
        raise error(f"{url} is damaged: {problem}. Fix: {remedy}") from None
    if not isinstance(fields, dict):
        raise error(f"{url} is damaged: it holds no JSON object. Fix: {remedy}")
    seal = fields.pop(SEAL, None)
    if seal is not None and seal != _digest(fields):
        raise error(
            f"{url} is damaged: its digest is {_digest(fields)}, it was written with "
            f"{seal}. Fix: {remedy}"
        )
    return fields


def file_sha256(url: str) -> str:
    """sha256 of a file, 64 hex digits; of a local one taken once a process, as long as
    it stays as it is (about .8 ms a MB).

    Raises:
        FileNotFoundError: nothing there.
    """
    if not storage.is_local(url):
        return hashlib.sha256(storage.read_bytes(url)).hexdigest()
    path = storage.local_path(url)
    stat = os.stat(path)
    return _sha256_of(path, stat.st_mtime_ns, stat.st_ino, stat.st_size)


@lru_cache(maxsize=4096)
def _sha256_of(path: str, changed_ns: int, inode: int, n_bytes: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(fields: Mapping[str, Any]) -> str:
    """Over the fields as JSON gives them back, so that a float is the float that was
    written.
    """
    return content_hash(canonical_json(fields, digits=None))
