"""The research agent: a language model that plays the gym's text view.

    landscapes -> practice (labelled episodes) -> research/pretrain (base checkpoint)
    trajectories (the teacher plays) -> sft -> grpo -> checkpoints generation
    (transformers | vLLM server) -> policy (the agent as a policy, for evaluation)

transcript.py is the one format and the one parser of all of these.
"""
