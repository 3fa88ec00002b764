"""Where a home may be."""

import subprocess
import sys

import pytest

from autollm.core import files
from autollm.core.errors import SetupError
from autollm.core.places import resolve
from autollm.tracking import Tracker

ODD = ["a[1]", "a::b", "it's", "x%20y", "$HOME", "sp ace", "ünï", "{b}"]


@pytest.mark.parametrize("name", [*ODD, f"{'n' * 200}/{'m' * 200}"])
def test_resolve__home_of_any_name__holds_files_and_tracked_runs(
    tmp_path, name
):
    places = resolve(tmp_path / name).prepare()
    files.write_atomic(files.join(places.home, "x", "y.txt"), b"z")
    assert (tmp_path / name / "x" / "y.txt").read_bytes() == b"z"
    assert files.list_names(places.home).count("x") == 1
    with Tracker(places).run("training", "one", "name", {}, {}) as run:
        run.text("said", "note.txt")
    assert (tmp_path / name / "mlflow" / "mlflow.db").exists()
    assert list(places.mlflow.glob("artifacts/training/*/artifacts/note.txt"))


@pytest.mark.parametrize(
    "name", ["what?", "a#b", "a;b", "two\nlines", "bell\x07", "\udcff"]
)
def test_resolve__name_that_a_store_cannot_carry__is_refused(tmp_path, name):
    with pytest.raises(SetupError, match="choose a name without it"):
        resolve(tmp_path / name)


TRACK = """
import sys
from autollm.core.places import resolve
from autollm.tracking import Tracker
for identity, file in (("one", sys.argv[2]), ("two", "two.txt")):
    with Tracker(resolve(sys.argv[1])).run("training", identity, "n", {}, {}) as run:
        run.text("said", file)
"""


def test_tracker__home_that_was_moved__writes_where_it_lies_now(tmp_path):
    before, after = tmp_path / "before", tmp_path / "it's moved%20"
    subprocess.run([sys.executable, "-c", TRACK, before, "old.txt"], check=True)
    before.rename(after)
    subprocess.run([sys.executable, "-c", TRACK, after, "new.txt"], check=True)
    found = sorted(p.name for p in (after / "mlflow").rglob("*.txt"))
    assert found == ["new.txt", "old.txt", "two.txt"]
    assert not before.exists()
