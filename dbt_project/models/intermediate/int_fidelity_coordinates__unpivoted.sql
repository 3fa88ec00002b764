select distinct
    experiment_id,
    source,
    ladder_id,
    unnest(json_keys(fidelity_json)) as coordinate,
    json_extract(fidelity_json, '$."' || unnest(json_keys(fidelity_json)) || '"')::double as value
from {{ ref('stg_runs') }}
