-- The gym sees every cell that has an outcome, diverged ones included, and nothing else.
select experiment_id, config_id
from {{ ref('fct_outcomes') }}
full join (select experiment_id, config_id, true as in_gym from {{ ref('mart_gym__outcomes') }}) using (experiment_id, config_id)
where (status != 'failed') is distinct from coalesce(in_gym, false)
