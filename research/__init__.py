"""Studies that made what ships, one script a stage, run by hand from a checkout:

    python -m research.pretrain --out var/pretrain       the base checkpoint's lessons
    python -m research.averaging A B C --out FOLDER      their mean: models/agent-tiny-base
    python -m research.validation CHECKPOINT ...         frozen tasks to compare them on
    python -m research.long_run --out var/long-run       does play add to distillation?

Imported by nothing of autollm and pipelines (.importlinter). What was tried and what it
gave stands in docs/experiments.md.
"""
