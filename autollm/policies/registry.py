"""Policies by id. Classes are named as text and loaded when asked for, so that `import autollm.policies` stays light."""

from __future__ import annotations

from importlib import import_module

from autollm.errors import UnknownNameError
from autollm.policies.base import Policy

POLICIES: dict[str, str] = {
    "random": "autollm.policies.random:RandomPolicy",
    "pool-centre": "autollm.policies.pool_centre:PoolCentre",
    "copy-nearest": "autollm.policies.copying:CopyNearest",
    "copy-largest": "autollm.policies.copying:CopyLargest",
    "power-law": "autollm.policies.power_law:PowerLaw",
    "moving-bowl": "autollm.policies.moving_bowl:MovingBowl",
    "gp": "autollm.policies.gaussian_process:GaussianProcessPolicy",
    "optuna-tpe": "autollm.policies.optuna_tpe:OptunaTPE",
    "oracle": "autollm.policies.oracle:Oracle",
}
"""Policy id -> `module:Class`."""


def make_policy(policy_id: str) -> Policy:
    """A fresh policy.

    Raises:
        UnknownNameError: no policy of that id.
    """
    return _load(policy_id)()


def policy_version(policy_id: str) -> int:
    """Version of a registered policy: it changes when its proposals do."""
    return _load(policy_id).version


def _load(policy_id: str) -> type:
    if policy_id not in POLICIES:
        raise UnknownNameError("policy", policy_id, POLICIES)
    module, name = POLICIES[policy_id].split(":")
    return getattr(import_module(module), name)
