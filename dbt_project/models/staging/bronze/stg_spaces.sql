with source as (

    select * from {{ source('bronze', 'spaces') }}

)

select distinct
    source,
    "group" as source_group,
    family,
    space_id,
    space_json,
    ladder_id,
    ladder_json
from source
