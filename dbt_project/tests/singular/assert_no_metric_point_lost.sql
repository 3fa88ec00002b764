-- Every logged point of a run that counts is in the curves, batch by batch.
with runs as (

    select source, source_group, run_id, batch_id, file_version from {{ ref('int_runs__accepted') }}

),

logged as (

    select batch_id, count(*) as n_points
    from {{ ref('stg_run_metrics') }}
    inner join runs using (source, source_group, run_id, batch_id, file_version)
    group by batch_id

),

kept as (

    select batch_id, count(*) as n_points from {{ ref('fct_learning_curves') }} group by batch_id

)

select coalesce(logged.batch_id, kept.batch_id) as batch_id, logged.n_points as n_logged, kept.n_points as n_kept
from logged
full join kept using (batch_id)
where logged.n_points is distinct from kept.n_points
