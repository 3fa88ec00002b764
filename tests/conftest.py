"""A home for what tests leave to the default, so that a checkout stays as it is."""

import os
import shutil
import tempfile

HOME = "AUTOLLM_HOME"


def pytest_configure(config):
    if HOME not in os.environ:
        config.temporary_home = tempfile.mkdtemp(prefix="autollm-tests-")
        os.environ[HOME] = config.temporary_home


def pytest_unconfigure(config):
    made = getattr(config, "temporary_home", None)
    if made is not None:
        del os.environ[HOME]
        shutil.rmtree(made, ignore_errors=True)
