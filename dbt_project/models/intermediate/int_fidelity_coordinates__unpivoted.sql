select distinct
    experiment_id,
    source,
    ladder_id,
    context_id,
    unnest(json_keys(fidelity_json)) as coordinate,
    json_extract(fidelity_json, '$."' || unnest(json_keys(fidelity_json)) || '"')::double as value
from {{ ref('int_runs__accepted') }}
