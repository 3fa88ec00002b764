"""LLMConfig-Gym: multi-fidelity look-up environments over published outcome tables.

    space -> table -> task -> episode -> env (gymnasium) | text (tools for a language model)
    snapshot: marts in, immutable arrays out        suites: versioned lists of tasks

Needs numpy, pyarrow, fsspec and gymnasium alone: no Dagster, no dbt, no torch, no
network.
"""
