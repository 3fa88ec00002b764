{{ config(post_hook="{{ export_mart(this, ['space_id', 'config_id']) }}") }}

with outcomes as (

    select * from {{ ref('int_outcomes__aggregated') }}

)

select
    config_id,
    space_id,
    any_value(config_json) as config_json,
    count(distinct experiment_id) as n_experiments
from outcomes
group by config_id, space_id
