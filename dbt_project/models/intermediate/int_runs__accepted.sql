-- The runs of all sources that have no fault.
with runs as (

    select * from {{ ref('stg_runs') }}

),

sources as (

    select source from {{ ref('int_sources__checked') }}
    where fault is null

)

select runs.*
from runs
inner join sources on sources.source = runs.source
