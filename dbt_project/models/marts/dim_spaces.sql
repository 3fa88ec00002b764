{{ config(post_hook="{{ export_mart(this, ['source', 'source_group', 'space_id', 'ladder_id']) }}") }}

with spaces as (

    select * from {{ ref('stg_spaces') }}

)

select
    source,
    source_group,
    family,
    space_id,
    space_json,
    ladder_id,
    ladder_json
from spaces
