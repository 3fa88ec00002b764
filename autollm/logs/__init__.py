"""Raw experiment logs in, canonical Parquet (bronze) out.

    opening/   files and run folders that are found, opened, unpacked
    choosing/  which reader and which mapping they get
    tables/, readers/   what each format holds: a relation (relation.py)
    mapped/    the relation through its mapping
    lake/      judged against what has landed, and written

`landing.py` is the way in, `session.py` walks a file through; `proposals/` drafts
mappings.

Invariant: raw bytes are copied before they are read, and every line of a file is either
read or quarantined.
"""
