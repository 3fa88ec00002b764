with source as (

    select * from {{ source('bronze', 'spaces') }}

)

select distinct
    source,
    family,
    space_id,
    space_json,
    ladder_id,
    ladder_json
from source
