"""Policies by id. Classes are named as text and loaded when asked for, so that `import
autollm.policies` stays light.
"""

from __future__ import annotations

from importlib import import_module

from autollm.core.errors import PluginError, SetupError, UnknownNameError
from autollm.core.extras import absent, absent_text, naming_extra
from autollm.core.identity import Registry
from autollm.core.plugins import Plugin, plugins
from autollm.policies.base import Policy

GROUP = "autollm.policies"
POLICIES: dict[str, str] = {
    "random": "autollm.policies.rules.random:RandomPolicy",
    "pool-centre": "autollm.policies.rules.pool_centre:PoolCentre",
    "copy-nearest": "autollm.policies.rules.copying:CopyNearest",
    "copy-largest": "autollm.policies.rules.copying:CopyLargest",
    "portfolio": "autollm.policies.rules.portfolio:Portfolio",
    "step-law": "autollm.policies.rules.step_law:StepLaw",
    "parametrization-rule": (
        "autollm.policies.rules.parametrization_rule:ParametrizationRule"
    ),
    "power-law": "autollm.policies.rules.power_law:PowerLaw",
    "moving-bowl": "autollm.policies.surrogates.moving_bowl:MovingBowl",
    "moving-bowl-gp": "autollm.policies.surrogates.moving_bowl_gp:MovingBowlGP",
    "tool-follower": "autollm.policies.rules.tool_follower:ToolFollower",
    "gp": "autollm.policies.surrogates.gaussian_process:GaussianProcessPolicy",
    "council": "autollm.policies.surrogates.council:Council",
    "trees": "autollm.policies.surrogates.trees:Trees",
    "successive-halving": "autollm.policies.multifidelity.halving:SuccessiveHalving",
    "asha": "autollm.policies.multifidelity.halving:Asha",
    "hyperband": "autollm.policies.multifidelity.hyperband:Hyperband",
    "bohb": "autollm.policies.multifidelity.bohb:Bohb",
    "mf-gp": "autollm.policies.multifidelity.mf_gp:MultiFidelityGP",
    "carbs": "autollm.policies.peers.local_search:LocalSearch",
    "optuna-tpe": "autollm.policies.peers.optuna_samplers:OptunaTPE",
    "rgpe": "autollm.policies.peers.rgpe:RankingEnsemble",
    "smac": "autollm.policies.peers.smac_forest:SmacForest",
    "syne-zeroshot": "autollm.policies.peers.syne_tune_transfer:ZeroShot",
    "syne-quantile": "autollm.policies.peers.syne_tune_transfer:Quantile",
    "oracle": "autollm.policies.rules.oracle:Oracle",
}
"""Policy id -> `module:Class`."""
REGISTRY = Registry(__name__, ("make_policy",), POLICIES)
"""What identities have to know: who names a policy here hangs on its code."""
NEEDS: dict[str, tuple[str, ...]] = {
    "bohb": ("optuna",),
    "optuna-tpe": ("optuna",),
    "rgpe": ("botorch", "gpytorch"),
    "smac": ("smac", "ConfigSpace"),
    "syne-zeroshot": ("syne_tune", "xgboost"),
    "syne-quantile": ("syne_tune", "xgboost"),
}
"""Modules of an extra that a policy cannot do without."""
INTERFACE = ("version", "reset", "ask", "tell", "explain")
"""What every policy has, see autollm/policies/base.py."""


def policy_ids() -> list[str]:
    """Ids of all policies: ours, then those of other packages (entry points
    `autollm.policies`); an id of ours is nobody else's.
    """
    return [
        *POLICIES,
        *(name for name in plugins(GROUP) if name not in POLICIES),
    ]


def why_absent(policy_id: str) -> str:
    """Why a registered policy cannot be used here; empty where it can.

    Raises:
        UnknownNameError: no policy of that id.
    """
    plugin = _plugin(policy_id)
    if plugin is not None:
        try:
            _load_plugin(plugin)
        except PluginError as error:
            return str(error)
        return ""
    missing = absent(NEEDS.get(policy_id, ()))
    return absent_text(missing, f"policy {policy_id!r}") if missing else ""


def availability() -> dict[str, str]:
    """Every policy id -> why it cannot be used on this machine; empty where it can."""
    return {policy_id: why_absent(policy_id) for policy_id in policy_ids()}


def make_policy(policy_id: str) -> Policy:
    """A fresh policy.

    Raises:
        UnknownNameError: no policy of that id. SetupError: it needs an extra that is
            not installed. PluginError: another package's is broken.
    """
    return _load(policy_id)()


def policy_version(policy_id: str) -> int:
    """Version of a registered policy: it changes when its proposals do."""
    return _load(policy_id).version


def module_of(policy_id: str) -> str:
    """Dotted name of the module that a registered policy is written in.

    Raises:
        UnknownNameError: no policy of that id.
    """
    plugin = _plugin(policy_id)
    return (plugin.target if plugin else POLICIES[policy_id]).partition(":")[0]


def _plugin(policy_id: str) -> Plugin | None:
    """The entry point of another package's policy; None for one of ours."""
    if policy_id in POLICIES:
        return None
    plugin = plugins(GROUP).get(policy_id)
    if plugin is None:
        raise UnknownNameError("policy", policy_id, policy_ids())
    return plugin


def _load_plugin(plugin: Plugin) -> type:
    loaded = plugin.load()
    lacking = [name for name in INTERFACE if not hasattr(loaded, name)]
    if lacking:
        raise PluginError(
            f"policy {plugin.name!r} of package {plugin.package}: {plugin.target} has "
            f"no {' and no '.join(lacking)}. Fix: derive it from "
            "autollm.policies.base.Policy, and try autollm.testing.check_policy."
        )
    return loaded


def _load(policy_id: str) -> type:
    plugin = _plugin(policy_id)
    if plugin is not None:
        return _load_plugin(plugin)
    reason = why_absent(policy_id)
    if reason:
        raise SetupError(reason)
    module, name = POLICIES[policy_id].split(":")
    with naming_extra(f"policy {policy_id!r}"):
        return getattr(import_module(module), name)
