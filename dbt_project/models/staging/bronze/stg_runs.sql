-- Of a run the newest reading counts; older ones stay in their batches.
{{ config(materialized='table') }}

with source as (

    select * from {{ source('bronze', 'runs') }}

),

newest as (

    select *
    from source
    qualify row_number() over (partition by source, "group", run_id order by file_version desc, batch_id) = 1

)

select
    -- keys
    source,
    "group" as source_group,
    run_id,
    batch_id,
    file_version,
    experiment_id,
    config_id,
    context_id,
    space_id,
    ladder_id,

    -- what was run
    family,
    config_json,
    context_json,
    fidelity_json,
    source || case when "group" = '' then '' else '/' || "group" end || '/' || fidelity_label
        || case when context_json = '{}' then '' else ' ' || context_json end as experiment_label,
    seed,
    trunk_id,
    schedule_share,
    data_sha256,

    -- what came of it
    objective_name,
    objective_direction,
    objective_value,
    secondary_json,
    status,
    status_reason,
    is_outcome,

    -- what it cost
    cost_flops,
    device,
    device_hours,
    gpu_hours,
    wall_time_s,

    -- where it is written
    raw_file,
    raw_sha256
from newest
