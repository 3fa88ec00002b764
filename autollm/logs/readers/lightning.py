"""Lightning's CSV logs: a version folder with `metrics.csv` and `hparams.yaml`.

The rules for steps, restarts and second headers are those of all curves
(autollm.logs.readers.curves). Lightning says nothing of how a run ended.

Invariant: one version folder, one run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from autollm.core.errors import RecordError
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.run_folders import add_curve, add_settings
from autollm.logs.relation import OpenedFolder, Relation

_METRICS = "metrics.csv"
_SETTINGS = "hparams.yaml"


class LightningFolderReader:
    """A `version_<n>` folder of CSVLogger."""

    format = "lightning"

    def matches_folder(self, listing: Sequence[str]) -> tuple[str, ...]:
        """See `FolderReader.matches_folder`."""
        both = (_METRICS, _SETTINGS)
        return both if set(both) <= set(listing) else ()

    def read(self, opened: OpenedFolder) -> Iterable[Relation]:
        """See `FolderReader.read`.

        Raises:
            RecordError: metrics.csv is no curve.
        """
        builder = RelationBuilder(self.format, "run")
        cells: dict[str, Any] = {}
        add_settings(builder, cells, opened.files[_SETTINGS], "hparams.")
        run = run_of_folder(opened.name)
        if add_curve(builder, opened.files[_METRICS], run, cells) is None:
            raise RecordError(f"{opened.name}: metrics.csv holds no curve")
        return [builder.relation()]


def run_of_folder(path: str) -> str:
    """A folder's path below what was given, that included where only one part is left:
    `version_0` alone names many runs.
    """
    parts = path.replace("!", "/").strip("/").split("/")
    return "/".join(parts[1:] if len(parts) > 2 else parts)
