{{ config(severity='warn') }}
-- A warning: costs of a user's logs are what they are, and one source must not stop the others. Within a ladder, an experiment that is larger in one coordinate and smaller in none never costs less
-- (as much where compute is a coordinate itself, and model size another).
with pairs as (

    select
        a.experiment_id as smaller,
        b.experiment_id as larger,
        bool_and(b.value >= a.value) and bool_or(b.value > a.value) as dominates
    from {{ ref('int_fidelity_coordinates__unpivoted') }} as a
    inner join {{ ref('int_fidelity_coordinates__unpivoted') }} as b
        using (source, source_group, ladder_id, context_id, coordinate)
    where a.experiment_id != b.experiment_id
    group by a.experiment_id, b.experiment_id

)

select pairs.smaller, pairs.larger, a.compute_flops as smaller_flops, b.compute_flops as larger_flops
from pairs
inner join {{ ref('dim_experiments') }} as a on a.experiment_id = pairs.smaller
inner join {{ ref('dim_experiments') }} as b on b.experiment_id = pairs.larger
where pairs.dominates and b.compute_flops < a.compute_flops
