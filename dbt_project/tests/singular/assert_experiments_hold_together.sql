-- The runs of an experiment share what makes them comparable; else a mean over them would mix different things.
select experiment_id
from {{ ref('int_runs__accepted') }}
group by experiment_id
having
    count(distinct fidelity_json) > 1
    or count(distinct space_id) > 1
    or count(distinct ladder_id) > 1
    or count(distinct objective_name) > 1
    or count(distinct objective_direction) > 1
    or count(distinct data_sha256) > 1
