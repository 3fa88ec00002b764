"""Parts of other people's packages, found by entry points.

    autollm.policies    policy id -> class, as autollm/policies/base.py has it
    autollm.readers     format -> reader, as autollm/logs/choosing/formats.py has it
    autollm.suites      any name -> package whose folder holds suites (*.toml)

Invariant: nothing of a package is imported before it is asked for by name, and a broken
one stops nobody but who asked for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from autollm.core.errors import PluginError


@dataclass(frozen=True)
class Plugin:
    """One entry point. `target`: `module:attribute`; `package`: who brings it."""

    name: str
    target: str
    package: str
    entry: EntryPoint

    def load(self) -> Any:
        """What the entry point names.

        Raises:
            PluginError: importing it failed, whatever the reason.
        """
        try:
            return self.entry.load()
        except (
            Exception
        ) as error:  # foreign code may raise anything while it is imported
            raise PluginError(
                f"{self.name!r} of package {self.package} cannot be loaded from "
                f"{self.target}: {type(error).__name__}: {error}. Fix: repair that "
                f"package, or pip uninstall {self.package.split()[0]}."
            ) from error


@cache
def plugins(group: str) -> dict[str, Plugin]:
    """The entry points of a group by name; of two with one name, the first package in
    the alphabet has it.
    """
    by_name: dict[str, Plugin] = {}
    for entry in entry_points(group=group):
        package = (
            f"{entry.dist.name} {entry.dist.version}" if entry.dist else "?"
        )
        plugin = Plugin(entry.name, entry.value, package, entry)
        other = by_name.get(entry.name)
        if other is None or package < other.package:
            by_name[entry.name] = plugin
    return by_name
