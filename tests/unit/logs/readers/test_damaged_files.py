"""Every reader on damaged input: the house's errors alone, every line accounted for."""

import random

import pytest

from autollm.logs.readers import file_readers, folder_readers
from autollm.logs.relation import OpenedFolder
from tests.unit.logs.mapped_rows import TABLES
from tests.unit.logs.readers import mutations
from tests.unit.logs.readers.mutations import (
    PackedRuns,
    first_bytes_match,
    small_blocks,
    small_store,
    subjects,
)

N_INPUTS = 500
N_INPUTS_LARGE = 60
"""Of inputs beyond LARGE_BYTES (MLflow's database, 0.6 MB), which take 10 ms each; the
campaign reads them all."""
LARGE_BYTES = 200_000
SUBJECTS = subjects()


@pytest.mark.parametrize("subject", SUBJECTS, ids=[s.name for s in SUBJECTS])
def test_readers__damaged_input__ends_in_the_houses_errors_alone(
    subject, monkeypatch
):
    for module in (mutations.blocks, mutations.run_log):
        monkeypatch.setattr(module, "LEAF_BYTES", module.LEAF_BYTES)
    monkeypatch.setattr(
        mutations.blocks, "BLOCK_BYTES", mutations.blocks.BLOCK_BYTES
    )
    small_blocks()
    is_folder = isinstance(subject.opened, OpenedFolder)
    is_large = not is_folder and len(subject.opened.data) > LARGE_BYTES
    n_read = 0
    for seed in range(N_INPUTS_LARGE if is_large else N_INPUTS):
        n_read += subject.read(random.Random(seed))
    assert n_read, (
        "nothing was ever read: the damage is too great to test anything"
    )


def test_matches__damaged_heads__never_raise():
    first_bytes_match(500)


def test_readers__formats__all_have_an_input_of_their_own():
    tested = {subject.reader.format for subject in SUBJECTS}
    everybody = {
        reader.format
        for reader in (*file_readers(), *folder_readers(), *TABLES.values())
    }
    assert tested == everybody | {PackedRuns.format}


def test_readers__formats__are_unique_among_files_and_among_folders():
    for readers in (file_readers(), folder_readers()):
        formats = [reader.format for reader in readers]
        assert len(formats) == len(set(formats))


def test_small_store__what_holds_nothing_left_out__reads_as_the_whole_one():
    from tests.unit.logs.readers.opened import FIXTURES, opened_file

    whole, small = opened_file(FIXTURES / "mlflow/mlflow.db.gz"), small_store()
    assert len(small.data) < 60_000 < len(whole.data)
    (reader,) = (r for r in file_readers() if r.matches(small.name, small.data))
    found = [list(reader.read(opened)) for opened in (whole, small)]
    for one, other in zip(*found, strict=True):
        # as text, in which NaN equals itself
        assert str(one.runs.to_pylist()) == str(other.runs.to_pylist())
        assert str(one.points.to_pylist()) == str(other.points.to_pylist())
        assert one.n_lines == other.n_lines > 0
