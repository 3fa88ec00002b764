"""Everything that proposes the next configuration, behind one ask/tell interface
(base.py), and the table of all by id (registry.py).

    rules/           no model: copies, laws, controls
    surrogates/      a model of the cheap experiments: the moving bowl, processes, trees
    multifidelity/   what may pay for cheap runs: halvings, and a process over fidelities
    peers/           other libraries' methods

Imports the gym alone; heavy libraries are loaded when a policy that needs them is made.

    from autollm.policies.registry import availability, make_policy
    policy = make_policy("moving-bowl"); policy.reset(view, rng); policy.ask()
"""
