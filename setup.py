"""Packaging: what lies beside the package in a checkout travels inside it in a wheel.

`autollm.core.places.PROJECT` is the checkout where there is one, else this copy. The
rest of the metadata stands in pyproject.toml.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = (
    "constraints.txt",
    "dagster.yaml",
    "workspace.yaml",
    "data",
    "dbt_project/dbt_project.yml",
    "dbt_project/macros",
    "dbt_project/models",
    "dbt_project/profiles.yml",
    "dbt_project/tests",
    "models/agent-tiny-base",
)
"""Files and folders that an installed package needs at run time; each must be there."""


class BuildWithShipped(build_py):
    """Copies SHIPPED into `autollm/_shipped`, under the same relative paths."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # the checkout itself is read then
            return
        target = Path(self.build_lib) / "autollm" / "_shipped"
        shutil.rmtree(target, ignore_errors=True)
        for name in SHIPPED:
            source, copy = ROOT / name, target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy)
            else:
                shutil.copyfile(source, copy)


setup(cmdclass={"build_py": BuildWithShipped})
