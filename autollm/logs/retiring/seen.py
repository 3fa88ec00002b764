"""Which keys came before, at 24 bytes a key (twice that while it grows), however many
there are.

Keys are kept as 16-byte digests: the last ones in a dict, all others in a sorted array.
What does not belong here:
what a key stands for. Invariant: `get` answers what `put` said last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

RECENT = 2**16
"""Keys in the dict before they move to the array."""


class Seen:
    """A map from texts to integers that only grows."""

    def __init__(self) -> None:
        self._recent: dict[bytes, int] = {}
        self._digests = np.empty(0, "S16")
        self._values = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._recent) + len(self._digests)

    def get(self, key: str) -> int | None:
        """The value of a key, None before the first `put`."""
        digest = _digest(key)
        if digest in self._recent:
            return self._recent[digest]
        at = self._find(digest)
        return None if at is None else int(self._values[at])

    def put(self, key: str, value: int) -> None:
        """Set the value of a key."""
        digest = _digest(key)
        at = None if digest in self._recent else self._find(digest)
        if at is not None:
            self._values[at] = value
            return
        self._recent[digest] = value
        if len(self._recent) >= RECENT:
            self._settle()

    def load(self, keys: Iterable[str], value: int) -> None:
        """`put` for many keys that are new, much faster."""
        digests = np.fromiter((_digest(key) for key in keys), "S16")
        self._digests = np.concatenate([self._digests, digests])
        self._values = np.concatenate(
            [self._values, np.full(len(digests), value, np.int64)]
        )
        order = np.argsort(self._digests, kind="stable")
        self._digests, self._values = self._digests[order], self._values[order]

    def first(self, key: str, value: int) -> int:
        """The value that the key has; `value` becomes it where there is none."""
        found = self.get(key)
        if found is None:
            self.put(key, value)
        return value if found is None else found

    def count(self, key: str) -> int:
        """How often this was asked of the key, this time included."""
        n = (self.get(key) or 0) + 1
        self.put(key, n)
        return n

    def _find(self, digest: bytes) -> int | None:
        at = int(self._digests.searchsorted(np.bytes_(digest)))
        return (
            at
            if at < len(self._digests) and self._digests[at] == np.bytes_(digest)
            else None
        )

    def _settle(self) -> None:
        digests = np.array(list(self._recent), "S16")
        values = np.fromiter(self._recent.values(), np.int64, len(digests))
        order = np.argsort(digests)
        at = np.searchsorted(self._digests, digests[order])
        self._digests = np.insert(self._digests, at, digests[order])
        self._values = np.insert(self._values, at, values[order])
        self._recent = {}


def _digest(key: str) -> bytes:
    """16 bytes without a trailing NUL, which numpy would cut off."""
    return (
        hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=15).digest()
        + b"."
    )
