{# Post-hook of every mart: its rows, sorted by their key, as Parquet for readers that never open the warehouse. #}
{% macro export_mart(relation, order_by) -%}
    copy (select * from {{ relation }} order by {{ order_by | join(', ') }})
    to '{{ env_var("AUTOLLM_MARTS", "var/marts") | replace("'", "''") }}/{{ relation.identifier }}.parquet' (format parquet, compression zstd)
{%- endmacro %}
