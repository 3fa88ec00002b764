with source as (

    select * from {{ source('bronze', 'files') }}

)

select
    batch_id,
    source,
    file,
    sha256,
    raw_sha256,
    kind,
    format,
    mapping_id,
    bytes,
    n_lines,
    n_lines_read,
    n_lines_quarantined,
    n_runs
from source
