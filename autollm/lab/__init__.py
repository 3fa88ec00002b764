"""The lab: our own small real experiments, trained on the user's machine and recorded as raw logs.

    spec (what is declared) -> model + corpus -> runner (raw logs) -> archive (the recorded default) -> verify, page

`spec` imports no torch. What does not belong here: tables, tasks, policies.
"""
