-- One row per experiment and configuration. Replicas are the runs that are outcomes (finished or diverged); any other
-- says nothing about its configuration yet. A diverged replica counts with the value that it recorded, where that is
-- finite (and below 1e150, whose square is): `n_failed` counts all runs that are no outcome.
{{ config(materialized='table') }}

with runs as (

    select
        *,
        is_outcome as is_replica,
        case when is_outcome and abs(objective_value) < 1e150 then objective_value end as objective
    from {{ ref('int_runs__accepted') }}

),

counted as (

    select
        experiment_id,
        config_id,
        any_value(config_json) as config_json,
        min(space_id) as space_id,
        count(*) as n_runs,
        count(*) filter (is_replica) as n_replicas,
        count(*) filter (status = 'finished') as n_finished,
        count(*) filter (status = 'diverged') as n_diverged,
        count(*) filter (not is_outcome) as n_failed,
        count(objective) as n_values,
        avg(objective) as objective_mean,
        case when count(objective) > 1 then stddev_samp(objective) end as objective_sd,
        avg(cost_flops) filter (is_replica) as cost_flops,
        avg(device_hours) filter (is_replica) as cost_device_hours,
        avg(gpu_hours) filter (is_replica) as cost_gpu_hours,
        avg(wall_time_s) filter (is_replica) as wall_time_s,
        coalesce(min(device) filter (is_replica), '') as device
    from runs
    group by experiment_id, config_id

)

select
    experiment_id,
    config_id,
    config_json,
    space_id,
    case
        when n_replicas = 0 then 'failed'
        when 2 * n_diverged > n_replicas then 'diverged'
        else 'finished'
    end as status,
    n_runs,
    n_replicas,
    n_finished,
    n_diverged,
    n_failed,
    {{ significant('objective_mean') }} as objective_mean,
    {{ significant('objective_sd') }} as objective_sd,
    {{ significant('objective_sd / sqrt(n_values)') }} as objective_sem,
    {{ significant('cost_flops') }} as cost_flops,
    {{ significant('cost_device_hours') }} as cost_device_hours,
    {{ significant('cost_gpu_hours') }} as cost_gpu_hours,
    {{ significant('wall_time_s') }} as wall_time_s,
    device
from counted
