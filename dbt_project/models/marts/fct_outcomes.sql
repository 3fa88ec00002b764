{{ config(post_hook="{{ export_mart(this, ['experiment_id', 'config_id']) }}") }}

with outcomes as (

    select * from {{ ref('int_outcomes__aggregated') }}

),

secondary as (

    select * from {{ ref('int_secondary_metrics__averaged') }}

)

select
    -- key
    outcomes.experiment_id,
    outcomes.config_id,
    outcomes.space_id,

    -- outcome
    outcomes.status,
    outcomes.objective_mean,
    outcomes.objective_sd,
    outcomes.objective_sem,
    coalesce(secondary.secondary_json, '{}') as secondary_json,

    -- replicas
    outcomes.n_runs,
    outcomes.n_replicas,
    outcomes.n_finished,
    outcomes.n_diverged,
    outcomes.n_failed,

    -- cost of one run
    outcomes.cost_flops,
    outcomes.cost_device_hours,
    outcomes.cost_gpu_hours,
    outcomes.wall_time_s,
    outcomes.device
from outcomes
left join secondary using (experiment_id, config_id)
