-- A view on purpose: the points lie in Parquet already, and a filter on batch_id reads that batch alone.
with source as (

    select * from {{ source('bronze', 'run_metrics') }}

)

select
    source || case when "group" = '' then '' else '/' || "group" end as source,
    run_id,
    batch_id,
    file_version,
    metric,
    line,
    step,
    tokens,
    value,
    wall_time_s
from source
