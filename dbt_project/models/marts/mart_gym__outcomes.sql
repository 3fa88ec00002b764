{{ config(post_hook="{{ export_mart(this, ['source', 'source_group', 'fidelity_index', 'experiment_id', 'config_id']) }}") }}

with outcomes as (

    select * from {{ ref('fct_outcomes') }}
    where status != 'failed'

),

experiments as (

    select * from {{ ref('dim_experiments') }}

),

configs as (

    select * from {{ ref('dim_configs') }}

)

select
    -- key
    outcomes.experiment_id,
    outcomes.config_id,

    -- experiment
    experiments.source,
    experiments.source_group,
    experiments.family,
    experiments.experiment_label,
    outcomes.space_id,
    experiments.ladder_id,
    experiments.fidelity_json,
    experiments.compute_flops,
    experiments.fidelity_index,
    experiments.fidelity_level,
    experiments.objective_name,
    experiments.objective_direction,

    -- configuration and its outcome
    configs.config_json,
    outcomes.status,
    outcomes.objective_mean,
    outcomes.objective_sd,
    outcomes.objective_sem,
    outcomes.secondary_json,
    outcomes.n_replicas,
    outcomes.n_diverged,

    -- cost of one run
    outcomes.cost_flops,
    outcomes.cost_device_hours,
    outcomes.cost_gpu_hours
from outcomes
inner join experiments using (experiment_id)
inner join configs on configs.config_id = outcomes.config_id and configs.space_id = outcomes.space_id
