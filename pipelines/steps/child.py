"""What every child process of an asset does: takes its settings through Pipes, dies
with its parent, says errors in one line.

Invariant: a child never outlives the process that started it by more than a second.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from dagster_pipes import PipesContext, open_dagster_pipes

from autollm.core.errors import AutoLLMError
from autollm.core.places import Places, resolve, silence_telemetry
from autollm.core.processes import die_with_parent
from autollm.core.progress import say
from autollm.core.refusals import sentence_of
from autollm.stages.settings import Settings

CHATTER = "AUTOLLM_CHATTER"
"""Variable that names the file for what third parties print."""


def run_step(
    step: Callable[[Places, Settings, PipesContext], None],
) -> None:
    """Run a step with the settings that the asset sent; it reports what it made."""
    silence_telemetry()
    die_with_parent()
    with _stdout_apart(), open_dagster_pipes() as pipes:
        settings = Settings.model_validate(pipes.extras["settings"])
        if os.path.exists(settings.training.get("base", "models")):
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        try:
            step(resolve().prepare(), settings, pipes)
        except (AutoLLMError, OSError) as error:
            is_ours = isinstance(error, AutoLLMError)
            sentence = str(error) if is_ours else sentence_of(error)
            if sentence is None:
                raise
            say(f"error: {sentence}")
            pipes.log.error(sentence)
            raise SystemExit(1) from error


@contextlib.contextmanager
def _stdout_apart() -> Iterator[None]:
    """Send what trainers print at every step into the file that the parent names, so
    that the parent's stdout holds results only.
    """
    path = os.environ.get(CHATTER)
    if not path:
        yield
        return
    with open(path, "a") as log, contextlib.redirect_stdout(log):
        yield


def markdown(text: str) -> dict[str, str]:
    return {"raw_value": text, "type": "md"}
