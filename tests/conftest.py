"""A home for what tests leave to the default, so that a checkout stays as it is; and
property-based tests that say how many cases they try, not how long one may take: a busy
machine is no failure. They draw the same cases each time, so that a failure can be seen
again; `HYPOTHESIS_PROFILE=search` draws others.
"""

import os
import shutil
import tempfile

from hypothesis import settings

HOME = "AUTOLLM_HOME"
settings.register_profile("house", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))


def pytest_configure(config):
    if HOME not in os.environ:
        config.temporary_home = tempfile.mkdtemp(prefix="autollm-tests-")
        os.environ[HOME] = config.temporary_home


def pytest_unconfigure(config):
    made = getattr(config, "temporary_home", None)
    if made is not None:
        del os.environ[HOME]
        shutil.rmtree(made, ignore_errors=True)
