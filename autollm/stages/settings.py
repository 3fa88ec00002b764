"""The one typed configuration of the main job: the same for `autollm run`, for
Dagster's resource and for tests.

Invariant: frozen; unknown fields are errors.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autollm.agent.profiles import TRAIN_SUITES
from autollm.core.errors import SetupError, UnknownNameError

POLICIES = [
    "oracle",
    "random",
    "pool-centre",
    "copy-nearest",
    "power-law",
    "moving-bowl",
    "gp",
    "optuna-tpe",
]
STAGES = ["base", "sft", "sft-rl"]
KNOWN_STAGES = [*STAGES, "rl"]
"""`rl` plays from the base checkpoint at once: trained and judged where it is named."""


class Settings(BaseModel):
    """What the main job trains, judges and reports.

    Attributes: training: changes to the profile, nested as in its TOML file, such as
    {"sft": {"steps": 20}}. train_suites: where training tasks, and validation tasks for
    promotion, come from. test_suites: what the leaderboard shows; suites whose
    experiments are not in the snapshot are left out and named. n_seeds,
    n_validation_seeds: episodes of each task. jobs: worker processes of an evaluation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: str = "tiny"
    training: dict[str, Any] = {}
    seed: int = 0
    train_suites: list[str] = list(TRAIN_SUITES)
    test_suites: list[str] = [
        *TRAIN_SUITES,
        "steplaw-dense-top-v1",
        "steplaw-dense-hard-v1",
        "steplaw-dense-roll4x-v1",
    ]
    policies: list[str] = POLICIES
    stages: list[str] = STAGES
    n_seeds: int = Field(40, ge=1)
    n_validation_seeds: int = Field(20, ge=1)
    setting: Literal["declared", "pool-visible"] = "declared"
    target_rows: Literal["redraw", "all"] = "redraw"
    jobs: int = Field(2, ge=1)
    embedded: bool = True
    public: bool = True

    def check(self) -> Settings:
        """Check every name in it; returns itself.

        Raises:
            UnknownNameError: an unknown suite, policy or stage, with the nearest known
                one.
            SealedError: a sealed suite, which the job never opens.
        """
        from autollm.gym.tasks.suites import load_suite
        from autollm.policies.registry import policy_ids

        for suite in (*self.train_suites, *self.test_suites):
            load_suite(suite).opened("")
        for kind, names, known in (
            ("policy", self.policies, policy_ids()),
            ("stage", self.stages, KNOWN_STAGES),
        ):
            for name in names:
                if name not in known:
                    raise UnknownNameError(kind, name, known)
        return self


def load_settings(path: str | Path | None = None, **changes: Any) -> Settings:
    """Settings from a TOML file (the argument, else AUTOLLM_SETTINGS, else the
    defaults), with `changes` on top.

    Raises:
        SetupError: see `read_settings`. UnknownNameError, SealedError: see
            `Settings.check`.
    """
    return read_settings(path, **changes).check()


def read_settings(path: str | Path | None = None, **changes: Any) -> Settings:
    """The same without a check of the names in them, which follows when a run starts.

    Raises:
        SetupError: the file is missing or is no TOML, or a field is unknown or wrong.
    """
    chosen = path or os.environ.get("AUTOLLM_SETTINGS")
    try:
        raw = tomllib.loads(Path(chosen).read_text()) if chosen else {}
        return Settings.model_validate({**raw, **changes})
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(
            f"settings {chosen} cannot be read: {error}. Expected a TOML file with "
            "fields of autollm/stages/settings.py."
        ) from None
    except ValidationError as error:
        raise SetupError(
            f"settings {chosen or ''}: {first_problem(error)}. Fields: "
            f"{', '.join(Settings.model_fields)}."
        ) from None


def first_problem(error: ValidationError) -> str:
    """A validation error as one line."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']} (got {first.get('input')!r})"
