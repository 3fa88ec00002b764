-- Lines read plus lines quarantined equal the lines of the file.
select file, n_lines, n_lines_read, n_lines_quarantined
from {{ ref('stg_files') }}
where n_lines_read + n_lines_quarantined != n_lines or n_lines_read < 0
