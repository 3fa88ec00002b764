"""Resources: the settings of the main job (the same model as the command line's), dbt,
child processes.

Invariant: places come from the environment when a run starts, never at import.
"""

from __future__ import annotations

from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource
from pydantic import create_model

from autollm.core.places import DBT_PROJECT, Places, resolve
from autollm.stages.settings import Settings, read_settings
from pipelines.dbt_project import dbt_executable


class _JobSettings(dg.ConfigurableResource):
    """`Settings` as a Dagster resource: fields and defaults are taken over below."""

    def load(self) -> Settings:
        """The checked settings.

        Raises:
            UnknownNameError: a suite, policy or stage that does not exist.
        """
        return Settings.model_validate(
            {name: getattr(self, name) for name in Settings.model_fields}
        ).check()

    @property
    def places(self) -> Places:
        return resolve().prepare()


def _plain(name: str) -> tuple[Any, Any]:
    """Type and default of a field in what Dagster's configuration knows: a choice of
    words becomes a word.
    """
    field = Settings.model_fields[name]
    default = field.get_default(call_default_factory=True)
    return (str if isinstance(default, str) else field.annotation), default


JobSettings = create_model(
    "JobSettings",
    __base__=_JobSettings,
    __module__=__name__,
    **{name: _plain(name) for name in Settings.model_fields},
)


def resources() -> dict[str, Any]:
    """All resources by key."""
    return {
        "settings": JobSettings(**read_settings().model_dump()),
        "dbt": DbtCliResource(
            project_dir=str(DBT_PROJECT),
            profiles_dir=str(DBT_PROJECT),
            dbt_executable=dbt_executable(),
        ),
        "pipes": dg.PipesSubprocessClient(),
    }
