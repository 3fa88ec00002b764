{{ config(post_hook="{{ export_mart(this, ['source', 'space_id', 'ladder_id']) }}") }}

with spaces as (

    select * from {{ ref('stg_spaces') }}

)

select
    source,
    family,
    space_id,
    space_json,
    ladder_id,
    ladder_json
from spaces
