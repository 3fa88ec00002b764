{{ config(materialized='table') }}

with source as (

    select * from {{ source('bronze', 'runs') }}

)

select
    -- keys
    source,
    run_id,
    batch_id,
    source || ':' || left(sha256(fidelity_json), 8) as experiment_id,
    config_id,
    space_id,
    ladder_id,

    -- what was run
    family,
    config_json,
    fidelity_json,
    source || '/' || fidelity_label as experiment_label,
    seed,
    data_sha256,

    -- what came of it
    objective_name,
    objective_direction,
    objective_value,
    secondary_json,
    status,
    status_reason,

    -- what it cost
    cost_flops,
    device,
    device_hours,
    gpu_hours,
    wall_time_s,

    -- where it is written
    raw_file,
    raw_sha256
from source
