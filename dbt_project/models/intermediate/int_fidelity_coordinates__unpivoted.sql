-- Entry by entry: a path would take a coordinate called `*` for a pattern.
select distinct
    runs.experiment_id,
    runs.source,
    runs.source_group,
    runs.ladder_id,
    runs.context_id,
    entry.key as coordinate,
    entry.value::double as value
from {{ ref('int_runs__accepted') }} as runs, json_each(runs.fidelity_json) as entry
