{{ config(post_hook="{{ export_mart(this, ['source']) }}") }}

with runs as (

    select * from {{ ref('stg_runs') }}

),

checked as (

    select * from {{ ref('int_sources__checked') }}

),

counted as (

    select
        source,
        min(family) as family,
        count(*) as n_runs,
        count(*) filter (is_outcome) as n_outcomes,
        count(distinct experiment_id) as n_experiments
    from runs
    group by source

)

select
    counted.source,
    counted.family,
    counted.n_runs,
    counted.n_outcomes,
    counted.n_experiments,
    coalesce(checked.fault, '') as fault
from counted
left join checked using (source)
