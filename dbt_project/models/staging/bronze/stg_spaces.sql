with source as (

    select * from {{ source('bronze', 'spaces') }}

)

select distinct
    source || case when "group" = '' then '' else '/' || "group" end as source,
    family,
    space_id,
    space_json,
    ladder_id,
    ladder_json
from source
