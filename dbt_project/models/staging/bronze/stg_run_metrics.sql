-- A view on purpose: the points lie in Parquet already, and a filter on batch_id reads that batch alone.
with source as (

    select * from {{ source('bronze', 'run_metrics') }}

)

select
    source,
    "group" as source_group,
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
