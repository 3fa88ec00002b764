{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook="{{ drop_vanished_runs(this, ref('int_runs__accepted')) }}",
        post_hook="{{ export_mart(this, ['source', 'source_group', 'run_id', 'metric', 'line']) }}"
    )
}}

with metrics as (

    select * from {{ ref('stg_run_metrics') }}
    {% if is_incremental() %}
    where batch_id in ({{ batches_to_load(ref('int_runs__accepted'), this) }})
    {% endif %}

),

runs as (

    select source, source_group, run_id, batch_id, file_version, experiment_id, config_id
    from {{ ref('int_runs__accepted') }}

)

select
    -- key
    metrics.source,
    metrics.source_group,
    metrics.run_id,
    metrics.metric,
    metrics.line,

    -- whose curve
    runs.experiment_id,
    runs.config_id,
    metrics.batch_id,

    -- the point
    metrics.step,
    metrics.tokens,
    metrics.value,
    metrics.wall_time_s
from metrics
inner join runs using (source, source_group, run_id, batch_id, file_version)
