"""dbt models as assets, their tests as asset checks: staging, intermediate, marts in
DuckDB, marts exported as Parquet.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DbtCliResource,
    dbt_assets,
)

from autollm.core.errors import SetupError
from autollm.core.places import Places, resolve
from pipelines import groups
from pipelines.dbt_project import incremental_digest, prepared_project
from pipelines.resources import JobSettings


class Translator(DagsterDbtTranslator):
    """All models in one group; sources keep the keys of the bronze assets."""

    def get_group_name(
        self, dbt_resource_props: Mapping[str, Any]
    ) -> str | None:
        return (
            groups.LOGS
            if dbt_resource_props["resource_type"] == "source"
            else groups.WAREHOUSE
        )


SOURCES = "dim_sources"
"""The mart that says which sources are at fault."""


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
        context: dg.AssetExecutionContext,
        dbt: DbtCliResource,
        settings: JobSettings,
    ) -> Iterator[Any]:
        from autollm.stages.warehouse import (
            hold_warehouse,
            is_damaged,
            lake_moment,
            set_aside,
        )

        places = settings.places
        with hold_warehouse(places), lake_moment(places) as moment:
            os.environ.update(places.environment() | moment)
            if is_damaged(places.warehouse):
                aside = set_aside(places.warehouse)
                context.log.warning(
                    f"{places.warehouse} is damaged: it is made anew from the lake, the "
                    f"damaged file is {aside} now"
                )
            yield from _built(context, dbt, places)

    return dbt_build


def faults_in_markdown(places: Places) -> dg.MarkdownMetadataValue:
    """The sources that the marts leave out, with what is wrong about each."""
    from autollm.stages.warehouse import source_faults

    lines = []
    for source, fault in source_faults(places).items():
        lines.append(f"- `{source}`: {fault}")
    return dg.MetadataValue.md("\n".join(lines) or "none")


def _built(
    context: dg.AssetExecutionContext, dbt: DbtCliResource, places: Places
) -> Iterator[Any]:
    """The events of `dbt build`.

    Raises:
        SetupError: the warehouse is damaged; it was set aside. DagsterDbtError: dbt's
            own words about anything else.
    """
    import duckdb

    from autollm.stages.warehouse import is_damage, set_aside

    folder = places.dbt_target / "build"
    stamp = places.dbt_target / "incremental.digest"
    digest = incremental_digest()
    is_known = stamp.exists() and stamp.read_text() == digest
    options = [] if is_known else ["--full-refresh"]
    try:  # dagster-dbt opens the file, too: its own connection comes first
        build = dbt.cli(
            ["build", *options],
            context=context,
            target_path=folder,
            raise_on_error=False,
        )
        for event in build.stream():
            if isinstance(event, dg.Output) and event.output_name == SOURCES:
                faults = faults_in_markdown(places)
                context.add_output_metadata({"set aside": faults}, SOURCES)
            yield event
        error = build.get_error()
    except duckdb.Error as refused:
        error = refused
    if error is None:
        stamp.write_text(digest)
        return
    if not is_damage(str(error)):
        raise error
    raise SetupError(
        f"{places.warehouse} is damaged; it is {set_aside(places.warehouse)} now. "
        "Fix: run this again, it will be made anew from the lake."
    ) from None
