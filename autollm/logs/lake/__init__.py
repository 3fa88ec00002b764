"""What has landed and what is landing: bronze on disk, the ledger of runs, known files,
raw copies, points that wait for their runs.

Invariant: a batch is there whole or not at all.
"""
