{#
    Landed batches that an incremental model does not hold yet, as a list of SQL literals.
    Literals, because only they let DuckDB skip the other batches' row groups by their statistics.
#}
{% macro batches_to_load(landed, loaded) -%}
    {%- if not execute %}{{ return("''") }}{% endif -%}
    {%- set found = run_query(
        "select distinct batch_id from " ~ landed ~ " where batch_id not in (select batch_id from " ~ loaded ~ ") order by 1"
    ) -%}
    {%- set ids = found.columns[0].values() -%}
    {%- if ids | length == 0 %}{{ return("''") }}{% endif -%}
    {{ return("'" ~ ids | join("', '") ~ "'") }}
{%- endmacro %}

{# Pre-hook of an incremental model: rows of runs that no longer count go. #}
{% macro drop_vanished_runs(relation, landed) -%}
    {%- if execute and load_relation(relation) is not none and not flags.FULL_REFRESH -%}
        delete from {{ relation }}
        where (source, source_group, run_id, batch_id) not in (
            select (source, source_group, run_id, batch_id) from {{ landed }}
        )
    {%- else -%}
        select 1
    {%- endif -%}
{%- endmacro %}
