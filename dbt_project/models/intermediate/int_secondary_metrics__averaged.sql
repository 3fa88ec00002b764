-- Secondary metrics are data, not columns: each is averaged over the replicas that report it.
with reported as (

    select
        experiment_id,
        config_id,
        unnest(json_keys(secondary_json)) as metric,
        secondary_json
    from {{ ref('int_runs__accepted') }}
    where is_outcome

),

averaged as (

    select
        experiment_id,
        config_id,
        metric,
        avg(json_extract(secondary_json, '$."' || metric || '"')::double) as value
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
