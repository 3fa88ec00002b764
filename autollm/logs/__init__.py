"""Raw experiment logs in, canonical Parquet (bronze) out: readers, mapping files,
landing, quarantine.

Invariant: raw bytes are copied before they are read, and every line of a file is either
read or quarantined.
"""
