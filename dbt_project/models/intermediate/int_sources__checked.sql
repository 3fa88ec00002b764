-- What is wrong about a source as a whole, so that its runs must not be pooled; null where nothing is. Landing sees one
-- batch, this sees all of them. A source at fault is left out by name, and stops no other.
with experiments as (

    select
        source,
        experiment_id,
        count(distinct fidelity_json) > 1 or count(distinct context_json) > 1 as has_two_fidelities,
        count(distinct space_id) > 1 as has_two_spaces,
        count(distinct ladder_id) > 1 as has_two_ladders,
        count(distinct objective_name) > 1 or count(distinct objective_direction) > 1 as has_two_objectives,
        count(distinct data_sha256) > 1 as has_two_data_sets,
        count(cost_flops) = 0 and count(*) filter (is_outcome) > 0 as has_no_cost
    from {{ ref('stg_runs') }}
    group by source, source_group, experiment_id

),

judged as (

    select
        source,
        experiment_id,
        case
            when has_two_fidelities then 'two fidelities share the id'
            when has_two_spaces then 'its runs were mapped with different knobs'
            when has_two_ladders then 'its runs were mapped with different fidelity coordinates'
            when has_two_objectives then 'its runs have different objectives'
            when has_two_data_sets then 'its runs used different data'
            when has_no_cost then 'no run says what it cost, by which experiments are ordered'
        end as fault
    from experiments

)

select
    source,
    min(fault || ' (experiment ' || experiment_id || ')') as fault
from judged
group by source
