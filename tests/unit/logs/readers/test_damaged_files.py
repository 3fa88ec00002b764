"""Every reader on damaged input: the house's errors alone, every line accounted for."""

import random

import pytest

from autollm.logs.readers import file_readers, folder_readers
from autollm.logs.relation import OpenedFolder
from tests.unit.logs.readers.mutations import first_bytes_match, subjects

N_INPUTS = 500
N_INPUTS_LARGE = 60
"""Of inputs beyond LARGE_BYTES (MLflow's database, 0.6 MB), which take 10 ms each; the
campaign reads them all."""
LARGE_BYTES = 200_000
SUBJECTS = subjects()


@pytest.mark.parametrize("subject", SUBJECTS, ids=[s.name for s in SUBJECTS])
def test_readers__damaged_input__ends_in_the_houses_errors_alone(subject):
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
        reader.format for reader in (*file_readers(), *folder_readers())
    }
    assert tested == everybody


def test_readers__formats__are_unique_among_files_and_among_folders():
    for readers in (file_readers(), folder_readers()):
        formats = [reader.format for reader in readers]
        assert len(formats) == len(set(formats))
