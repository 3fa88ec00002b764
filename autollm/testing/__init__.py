"""Contract suites for parts of other people's: a policy, a reader, an environment.

    # tests/test_mine.py of your package
    import pytest
    from autollm.testing import PolicyContract

    class TestMyPolicy(PolicyContract):
        @pytest.fixture
        def new_policy(self):
            return MyPolicy

pytest then collects the contract's tests under your class. Our own policies, readers and
environments pass the same ones (tests/contract/). `autollm.testing.tables` makes small
outcome tables. Needs pytest.
"""

from autollm.testing.environments import EnvironmentContract
from autollm.testing.policies import PolicyContract, begin, play
from autollm.testing.readers import ReaderContract, check_relation

__all__ = [
    "EnvironmentContract",
    "PolicyContract",
    "ReaderContract",
    "begin",
    "check_relation",
    "play",
]
