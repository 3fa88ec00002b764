-- Every run that landed is counted once in the outcomes: files -> runs -> outcomes.
with counts as (

    select
        (select sum(n_runs) from {{ ref('stg_files') }} where kind != 'archive') as in_files,
        (select count(*) from {{ ref('stg_runs') }}) as in_runs,
        (select sum(n_runs) from {{ ref('fct_outcomes') }}) as in_outcomes

)

select *
from counts
where in_files is distinct from in_runs or in_runs is distinct from in_outcomes
