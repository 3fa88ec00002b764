"""LLMConfig-Gym: multi-fidelity look-up environments over published outcome tables.

    tables/         outcome tables, and the snapshots that they are opened from
    tasks/          what is asked: tasks, suites, what a policy may see, one play of a task
    environments/   skins over a play: gymnasium, vectors of thousands, text for a model

Needs numpy, pyarrow, fsspec, gymnasium and pydantic alone: no scipy, no DuckDB, no
torch, no network. Snapshots are made in autollm/snapshots/.

Importing it makes every suite an environment of gymnasium:

    import autollm.gym, gymnasium
    env = gymnasium.make("autollm/lab-pretraining-v3")
"""

from autollm.gym.registration import register_suites

register_suites()
