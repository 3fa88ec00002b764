-- Every run that landed is counted once: files -> readings -> newest readings -> outcomes and sources left out.
with counts as (

    select
        (select sum(n_runs) from {{ ref('stg_files') }}) as in_files,
        (select count(*) from {{ source('bronze', 'runs') }}) as in_readings,
        (select count(distinct (source, "group", run_id)) from {{ source('bronze', 'runs') }}) as in_bronze,
        (select count(*) from {{ ref('stg_runs') }}) as in_runs,
        (select count(*) from {{ ref('int_runs__accepted') }}) as in_accepted,
        (select sum(n_runs) from {{ ref('dim_sources') }} where fault != '') as in_faults,
        (select sum(n_runs) from {{ ref('fct_outcomes') }}) as in_outcomes

)

select *
from counts
where in_files is distinct from in_readings
    or in_bronze is distinct from in_runs
    or in_runs is distinct from in_accepted + coalesce(in_faults, 0)
    or in_accepted is distinct from coalesce(in_outcomes, 0)
