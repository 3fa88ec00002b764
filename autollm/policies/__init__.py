"""Everything that proposes the next configuration, behind one ask/tell interface; one
file each.

    from autollm.policies import make_policy, availability policy =
    make_policy("moving-bowl"); policy.reset(view, rng); policy.ask();
    policy.tell(trial)

Imports the gym alone; heavy libraries are loaded when a policy that needs them is made.
`availability()` says which policies this machine can make, and why not the others.
"""

from autollm.policies.base import Policy, RankingPolicy
from autollm.policies.registry import (
    POLICIES,
    availability,
    make_policy,
    policy_version,
    why_absent,
)

__all__ = [
    "POLICIES",
    "Policy",
    "RankingPolicy",
    "availability",
    "make_policy",
    "policy_version",
    "why_absent",
]
