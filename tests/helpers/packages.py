"""Packages with entry points, laid on the path for the time of a test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autollm.core.plugins import plugins

Lay = Callable[..., None]


@contextmanager
def laid_packages(
    folder: Path, group: str, patch: pytest.MonkeyPatch
) -> Iterator[Lay]:
    """A function `lay(package, version, entries, modules)`: entries are name ->
    `module:attribute` of the entry-point group, modules name -> source.
    """
    patch.syspath_prepend(str(folder))
    plugins.cache_clear()
    before = set(sys.modules)

    def lay(
        package: str,
        version: str,
        entries: dict[str, str],
        modules: dict[str, str],
    ) -> None:
        info = folder / f"{package}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        )
        lines = [f"[{group}]"]
        for name, target in entries.items():
            lines.append(f"{name} = {target}")
        (info / "entry_points.txt").write_text("\n".join(lines))
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(text)
        plugins.cache_clear()

    try:
        yield lay
    finally:
        plugins.cache_clear()
        for name in set(sys.modules) - before:
            del sys.modules[name]
