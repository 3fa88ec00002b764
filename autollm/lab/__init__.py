"""The lab: our own small real experiments, trained on the user's machine and recorded
as raw logs.

    families/ (what is declared) -> trainers/ (how it trains) -> runner, launchers (raw
    logs) -> archive (the recorded default) -> verify, summary

`spec`, `shapes` and `families` import no torch.
"""
