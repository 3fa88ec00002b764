-- Secondary metrics are data, not columns: each is averaged over the replicas that report it.
with reported as (

    select
        runs.experiment_id,
        runs.config_id,
        entry.key as metric,
        entry.value::double as value
    from {{ ref('int_runs__accepted') }} as runs, json_each(runs.secondary_json) as entry
    where runs.is_outcome

),

averaged as (

    select
        experiment_id,
        config_id,
        metric,
        avg(value) as value
    from reported
    group by experiment_id, config_id, metric

)

select
    experiment_id,
    config_id,
    '{' || string_agg(to_json(metric)::varchar || ':' || to_json({{ significant('value') }})::varchar, ',' order by metric)
        || '}' as secondary_json
from averaged
group by experiment_id, config_id
