"""Everything that proposes the next configuration, behind one ask/tell interface; one file each.

    from autollm.policies import make_policy, POLICIES
    policy = make_policy("moving-bowl"); policy.reset(view, rng); policy.ask(); policy.tell(trial)

Imports the gym alone; heavy libraries are loaded when a policy that needs them is made.
"""

from autollm.policies.base import Policy, RankingPolicy
from autollm.policies.registry import POLICIES, make_policy, policy_version

__all__ = ["POLICIES", "Policy", "RankingPolicy", "make_policy", "policy_version"]
