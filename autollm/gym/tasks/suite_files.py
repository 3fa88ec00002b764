"""Suite files: where they lie, and what may stand in one.

Three places, in this order: those that ship (gym/suites/), those of packages (entry
points `autollm.suites`, each a package whose folder holds *.toml), and those of the home
(`<home>/suites/`). A file is named as its suite: `steplaw-dense-top-v1.toml`.

Invariant: of two files with one name the first place wins, so that nobody's own suite
stands in for one that ships.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from autollm.core.errors import SuiteError
from autollm.core.files import is_local, join, list_names, read_bytes
from autollm.core.plugins import plugins
from autollm.core.validation import sentence_of

FOLDER = Path(__file__).parents[1] / "suites"
GROUP = "autollm.suites"
HOME = "home"
SHIPPED = "autollm"
SUFFIX = ".toml"
PLACE = ("source", "group", "id")
"""Keys of an experiment that are no coordinates of its fidelity."""
Split = Literal["train", "validation", "test"]

Entry = dict[str, int | float | str]
"""An experiment as a file names it."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskEntry(_Entry):
    """One task: `target`, free `evidence`, and what is `charged`, by the names that the
    file gives its experiments.
    """

    split: Split
    target: str
    evidence: tuple[str, ...] = ()
    charged: tuple[str, ...] = ()


class ConstraintEntry(_Entry):
    """Bounds of a metric that is known before a run."""

    metric: str
    max: float = float("inf")
    min: float = float("-inf")


class SuiteText(_Entry):
    """What may stand in a suite file.

    Attributes:
        experiments: name in this file -> fidelity coordinates; `group` where the source
            has groups, the experiment's own `source` where the suite spans several, and
            `id` where two experiments share the coordinates.
        trials: the budget; with charged experiments, in runs of the target.
        tolerance: distance in natural units beyond which a proposal is off the table.
        objectives: makes a task of each metric; none: the experiments' own objective.
        sealed: nobody plays it until it is opened with a reason, logged as a look.
    """

    suite_id: str
    version: int = Field(ge=1)
    family: str
    source: str
    description: str
    experiments: dict[str, Entry] = Field(min_length=1)
    tasks: tuple[TaskEntry, ...] = Field(min_length=1)
    trials: int = Field(5, ge=1)
    tolerance: float = Field(1.0, gt=0)
    pausable: bool = False
    sealed: bool = False
    objectives: tuple[str, ...] = ("",)
    constraint: ConstraintEntry | None = None

    @field_validator("experiments", mode="after")
    @classmethod
    def _older(cls, experiments: dict[str, Entry]) -> dict[str, Entry]:
        """Older files of a home say `source = "name/group"`; no source has a slash in
        its name.
        """
        read = {}
        for name, entry in experiments.items():
            source, slash, group = str(entry.get("source", "")).partition("/")
            parts = {"source": source, "group": group} if slash else {}
            read[name] = entry | parts
        return read

    @model_validator(mode="after")
    def _names_are_known(self) -> SuiteText:
        for task in self.tasks:
            for name in (task.target, *task.evidence, *task.charged):
                if name not in self.experiments:
                    raise ValueError(
                        f"a task names {name!r}, which is none of [experiments]: "
                        f"{', '.join(self.experiments)}"
                    )
            if task.target in task.evidence + task.charged:
                raise ValueError(
                    f"a task has {task.target!r} as its target and among what it may "
                    "look at: leave it out of `evidence` and `charged`"
                )
        for name, entry in self.experiments.items():
            for key, value in entry.items():
                if isinstance(value, str) and key not in PLACE:
                    raise ValueError(
                        f"experiments.{name}.{key} = {value!r}, expected a number"
                    )
        return self


@dataclass(frozen=True)
class SuiteFile:
    """A file that holds a suite. `origin`: SHIPPED, HOME, or the package's name."""

    suite_id: str
    url: str
    origin: str

    def text(self) -> SuiteText:
        """The suite that the file describes.

        Raises:
            SuiteError: it is no TOML, or not what a suite file holds.
        """
        try:
            raw = tomllib.loads(read_bytes(self.url).decode())
            text = SuiteText.model_validate(raw)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SuiteError(self._wrong(f"is no TOML: {error}")) from None
        except (
            OSError
        ) as error:  # a folder of that name, or no right to read it
            reason = error.strerror or str(error)
            raise SuiteError(self._wrong(f"cannot be read: {reason}")) from None
        except ValidationError as error:
            raise SuiteError(
                self._wrong(sentence_of(error, SuiteText))
            ) from None
        if text.suite_id != self.suite_id:
            named = f"suite_id = {text.suite_id!r}, expected the file's name"
            raise SuiteError(self._wrong(named))
        return text

    def _wrong(self, what: str) -> str:
        source = (
            ""
            if self.origin in (SHIPPED, HOME)
            else f" (package {self.origin})"
        )
        return f"suite file {self.url}{source}: {what}. Fix: correct the file."


def home_folder(home: str | None = None) -> str:
    """Where a home keeps its own suites: of the argument, else AUTOLLM_HOME, else ./var."""
    return join(home or os.environ.get("AUTOLLM_HOME") or "var", "suites")


def suite_files(home: str | None = None) -> dict[str, SuiteFile]:
    """Suite id -> its file, sorted; no file is opened."""
    places = [(str(FOLDER), SHIPPED)]
    places += [(folder, plugin) for plugin, folder in _plugin_folders()]
    places.append((home_folder(home), HOME))
    files: dict[str, SuiteFile] = {}
    for folder, origin in places:
        for name in _names(folder):
            suite_id = name.removesuffix(SUFFIX)
            files.setdefault(
                suite_id, SuiteFile(suite_id, join(folder, name), origin)
            )
    return dict(sorted(files.items()))


def _names(folder: str) -> list[str]:
    if is_local(folder) and not os.path.isdir(folder.removeprefix("file://")):
        return []
    return [name for name in list_names(folder) if name.endswith(SUFFIX)]


def _plugin_folders() -> list[tuple[str, str]]:
    """Package and folder of every entry point; nothing of them is imported but a parent
    package.
    """
    folders = []
    for plugin in plugins(GROUP).values():
        for folder in _folders_of(plugin.target.partition(":")[0]):
            folders.append((folder, plugin.package))
    return [(package, folder) for folder, package in folders]


def _folders_of(module: str) -> list[str]:
    """Folders of a package; none where the package cannot be found, which `autollm
    suites` then reports.
    """
    try:
        spec = find_spec(module)
    except ImportError:
        return []
    return list(spec.submodule_search_locations or ()) if spec else []


def broken_plugins() -> list[str]:
    """A sentence on each entry point whose folder cannot be found."""
    return [
        f"suites {plugin.name!r} of package {plugin.package}: there is no package "
        f"{plugin.target!r}. Fix: repair it, or pip uninstall {plugin.package.split()[0]}."
        for plugin in plugins(GROUP).values()
        if not _folders_of(plugin.target.partition(":")[0])
    ]
