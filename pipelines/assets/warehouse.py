"""dbt models as assets, their tests as asset checks: staging, intermediate, marts in
DuckDB, marts exported as Parquet.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, dbt_assets

from autollm.core.places import resolve
from pipelines import groups
from pipelines.dbt_project import prepared_project
from pipelines.resources import JobSettings


class Translator(DagsterDbtTranslator):
    """All models in one group; sources keep the keys of the bronze assets."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        return (
            groups.LOGS
            if dbt_resource_props["resource_type"] == "source"
            else groups.WAREHOUSE
        )


def build_dbt_assets() -> dg.AssetsDefinition:
    """The models as assets.

    Raises:
        SetupError: dbt cannot parse the project.
    """
    project = prepared_project(resolve().prepare())

    @dbt_assets(
        manifest=project.manifest_path,
        name="dbt_build",
        dagster_dbt_translator=Translator(),
        pool="warehouse",
    )
    def dbt_build(
        context: dg.AssetExecutionContext, dbt: DbtCliResource, settings: JobSettings
    ) -> Iterator[Any]:
        from autollm.stages.warehouse import hold_warehouse

        places = settings.places
        os.environ.update(places.environment())
        with hold_warehouse(places):
            yield from dbt.cli(
                ["build"], context=context, target_path=places.dbt_target / "build"
            ).stream()

    return dbt_build
