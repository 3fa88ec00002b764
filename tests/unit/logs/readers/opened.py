"""What landing hands to a reader, for tests: files on disk or in memory."""

import gzip
import io
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autollm.logs.relation import OpenedFolder

FIXTURES = Path(__file__).parents[3] / "fixtures"


@dataclass(frozen=True)
class Opened:
    """Bytes under a name."""

    name: str
    data: bytes

    @property
    def n_bytes(self):
        return len(self.data)

    @contextmanager
    def open(self):
        yield io.BytesIO(self.data)


def opened_file(path, name=None):
    """A file, decompressed where it is gzip."""
    data = Path(path).read_bytes()
    is_gzip = str(path).endswith(".gz")
    plain = str(Path(path).name).removesuffix(".gz")
    return Opened(name or plain, gzip.decompress(data) if is_gzip else data)


def listing_of(folder):
    """Paths of all files below a folder, as landing lists them."""
    found = [path for path in Path(folder).rglob("*") if path.is_file()]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def opened_folder(reader, folder, name=None):
    """The files that a reader claims of a folder."""
    claimed = reader.matches_folder(listing_of(folder))
    assert claimed, f"{reader.format} claims nothing in {folder}"
    files = {path: opened_file(Path(folder) / path, path) for path in claimed}
    return OpenedFolder(name or Path(folder).name, files)


def read_file(reader, path, name=None):
    """The one relation of a file that the reader recognizes."""
    opened = opened_file(path, name)
    assert reader.matches(opened.name, opened.data[: 2**16])
    (relation,) = reader.read(opened)
    return relation


def read_folder(reader, folder, name=None):
    """The one relation of a folder."""
    (relation,) = reader.read(opened_folder(reader, folder, name))
    return relation


def runs_of(relation):
    """Rows of runs by their key."""
    return {row[relation.key]: row for row in relation.runs.to_pylist()}


def curve_of(relation, run, metric):
    """Steps and values of one metric of one run, in order."""
    points = relation.points.to_pylist()
    of_run = [
        p for p in points if p["run_key"] == run and p["metric"] == metric
    ]
    return [(point["step"], point["value"]) for point in of_run]
