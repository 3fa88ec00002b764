"""Raw experiment logs in, canonical Parquet (bronze) out: readers, mapping files,
landing, quarantine.

What does not belong here: the warehouse (only dbt opens it), aggregation of replicas
(dbt), anything of Dagster. Invariant: raw bytes are copied before they are read, and
every line of a file is either read or quarantined.
"""
