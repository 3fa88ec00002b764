"""Two files that make one table: waiting for the other one.

What does not belong here: joining rows (`table.py`). Invariant: a held file comes out
once, with its partner or without.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autollm.logs.catalog import MappingChoice, short_name
from autollm.logs.containers import LogBytes, LogFile, plain_name
from autollm.logs.mapping import Mapping


@dataclass(frozen=True)
class Held:
    """A file of a pair: `log`, the hash of what it came in, and the names of both."""

    log: LogBytes | LogFile
    raw_sha256: str
    is_member: bool
    mapping: Mapping
    main: str
    partner: str
    is_main: bool


def hold(
    log: LogBytes | LogFile, raw_sha256: str, is_member: bool, choice: MappingChoice
) -> Held | None:
    """The file as one of a pair; None when no mapping joins it to another."""
    name = plain_name(short_name(log.name))
    for mapping in choice.candidates:
        names = mapping.pair_of(name)
        if names is not None:
            return Held(
                log, raw_sha256, is_member, mapping, *names, is_main=names[0] == name
            )
    return None


class Waiting:
    """Files that wait for their partner: first for the one in the same folder, at the
    end for the only one there is.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, str], list[Held]] = {}

    def add(self, held: Held, folder: str) -> tuple[Held, Held] | None:
        """The pair (main, partner) that the file completes, if it does."""
        others = self._held.setdefault((folder, held.mapping.source, held.main), [])
        match = next((h for h in others if h.is_main != held.is_main), None)
        if match is None:
            others.append(held)
            return None
        others.remove(match)
        return (held, match) if held.is_main else (match, held)

    def rest(self) -> Iterator[tuple[Held, Held] | tuple[Held, str]]:
        """Pairs over folders, where there is one file of each name only; and the
        others, with the reason.
        """
        left: dict[tuple[str, str], list[Held]] = {}
        for (_, source, main), held in self._held.items():
            left.setdefault((source, main), []).extend(held)
        self._held = {}
        for held in left.values():
            mains, partners = (
                [h for h in held if h.is_main],
                [h for h in held if not h.is_main],
            )
            if len(mains) == len(partners) == 1:
                yield mains[0], partners[0]
                continue
            for one in held:
                other, n = (
                    (one.partner, len(partners))
                    if one.is_main
                    else (one.main, len(mains))
                )
                yield (
                    one,
                    (
                        f"it belongs to {other}, which is not there. Fix: land both "
                        "files together."
                        if not n
                        else f"{len(mains)} files are called {one.main} and "
                        f"{len(partners)} {one.partner}: which belong together? "
                        "Fix: land each pair from a folder of its own."
                    ),
                )
