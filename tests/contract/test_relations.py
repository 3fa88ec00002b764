"""The contract of autollm.testing over readers of single files, each with a file that its
own tool wrote.
"""

import pytest

from autollm.logs.readers import file_readers
from autollm.testing import ReaderContract
from tests.unit.logs.readers.opened import FIXTURES, opened_file

FILES = (
    "lightning/sweep/version_0/metrics.csv",
    "optuna/journal.log",
    "optuna/optuna.db.gz",
    "text_logs/megatron.log",
    "text_logs/nanochat.log",
    "transformers/finished/trainer_state.json",
)


class TestShipped(ReaderContract):
    @pytest.fixture(params=FILES)
    def sample(self, request):
        opened = opened_file(FIXTURES / request.param)
        return opened.name, opened.data

    @pytest.fixture
    def reader(self, sample):
        name, data = sample
        matching = [
            r for r in file_readers(()) if r.matches(name, data[: 2**16])
        ]
        assert matching, f"no reader knows {name}"
        return matching[0]
