{{ config(post_hook="{{ export_mart(this, ['experiment_id']) }}") }}

with runs as (

    select * from {{ ref('int_runs__accepted') }}

),

outcomes as (

    select * from {{ ref('int_outcomes__aggregated') }}

),

described as (

    select
        experiment_id,
        min(experiment_label) as experiment_label,
        min(source) as source,
        min(source_group) as source_group,
        min(family) as family,
        min(space_id) as space_id,
        min(ladder_id) as ladder_id,
        min(fidelity_json) as fidelity_json,
        min(context_json) as context_json,
        min(context_id) as context_id,
        min(objective_name) as objective_name,
        min(objective_direction) as objective_direction,
        min(data_sha256) as data_sha256,
        -- a diverged run may have stopped early: what a whole run costs is what the finished ones did
        coalesce(median(cost_flops) filter (status = 'finished'), max(cost_flops)) as compute_flops,
        count(distinct config_id) as n_configs,
        count(*) as n_runs,
        count(*) filter (status = 'diverged') as n_diverged
    from runs
    group by experiment_id

),

noise as (

    select
        experiment_id,
        sqrt(sum((n_finished - 1) * objective_sd ** 2) / sum(n_finished - 1)) as objective_noise_sd,
        count(*) as n_replicated_configs
    from outcomes
    where n_finished > 1 and n_diverged = 0 and objective_sd is not null
    group by experiment_id

),

indexed as (

    select
        *,
        row_number() over ladder - 1 as fidelity_index,
        count(*) over (partition by source, source_group, ladder_id, context_id) as n_levels
    from described
    window ladder as (partition by source, source_group, ladder_id, context_id order by compute_flops nulls last, fidelity_json)

)

select
    -- key
    indexed.experiment_id,
    indexed.experiment_label,

    -- what it is
    indexed.source,
    indexed.source_group,
    indexed.family,
    indexed.space_id,
    indexed.ladder_id,
    indexed.fidelity_json,
    indexed.context_json,
    indexed.context_id,
    indexed.objective_name,
    indexed.objective_direction,
    indexed.data_sha256,

    -- how expensive
    {{ significant('indexed.compute_flops') }} as compute_flops,
    indexed.fidelity_index,
    case
        when n_levels = 1 or 3 * fidelity_index >= 2 * (n_levels - 1) then 'high'
        when 3 * fidelity_index < n_levels - 1 then 'low'
        else 'middle'
    end as fidelity_level,

    -- how much is known
    indexed.n_configs,
    indexed.n_runs,
    indexed.n_diverged,
    {{ significant('noise.objective_noise_sd') }} as objective_noise_sd,
    coalesce(noise.n_replicated_configs, 0) as n_replicated_configs
from indexed
left join noise using (experiment_id)
