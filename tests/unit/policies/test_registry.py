"""Policies by id, ours and those of other packages."""

from __future__ import annotations

from importlib import import_module

import pytest

from autollm.core.errors import PluginError, UnknownNameError
from autollm.policies import registry
from autollm.policies.registry import (
    GROUP,
    POLICIES,
    availability,
    make_policy,
    module_of,
    policy_ids,
    policy_version,
    why_absent,
)
from tests.helpers.packages import laid_packages

MINE = """
from autollm.policies.base import RankingPolicy
class Mine(RankingPolicy):
    policy_id = "mine"
    version = 7
    def scores(self):
        return self.from_centre
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    with laid_packages(tmp_path, GROUP, monkeypatch) as lay:
        yield lay


def test_registry__every_target__is_a_module_and_a_class_of_that_id():
    for policy_id, target in POLICIES.items():
        module, name = target.split(":")
        assert module_of(policy_id) == module
        if policy_id not in registry.NEEDS:  # those load heavy libraries
            assert getattr(import_module(module), name).policy_id == policy_id


def test_needs__of_policies_that_there_are():
    assert set(registry.NEEDS) <= set(POLICIES)


def test_policy_of_another_package__installed__is_made_by_its_id(install):
    install("zebra", "2.0", {"mine": "zebra_mine:Mine"}, {"zebra_mine": MINE})
    assert policy_ids()[-1] == "mine"
    assert make_policy("mine").version == policy_version("mine") == 7
    assert module_of("mine") == "zebra_mine"
    assert availability()["mine"] == why_absent("mine") == ""


def test_policy_of_another_package__name_of_ours__stands_in_for_nothing(
    install,
):
    install("zebra", "2.0", {"random": "zebra_r:Mine"}, {"zebra_r": MINE})
    assert policy_ids().count("random") == 1
    assert module_of("random") == "autollm.policies.rules.random"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Mine:\n    version = 1\n", "has no reset and no ask"),
        ("Mine = 3", "has no version and no reset"),
        ("raise OSError('x')", "OSError: x"),
        ("", "AttributeError"),
    ],
)
def test_policy_of_another_package__broken__names_package_and_remedy(
    install, source, said
):
    install("zebra", "2.0", {"mine": "zebra_b:Mine"}, {"zebra_b": source})
    with pytest.raises(PluginError, match=said) as refused:
        make_policy("mine")
    assert "zebra 2.0" in str(refused.value) and "Fix:" in str(refused.value)
    assert why_absent("mine") == str(refused.value)
    assert availability()["random"] == ""


@pytest.mark.parametrize("ask", [make_policy, policy_version, module_of])
@pytest.mark.parametrize("name", ["randm", "", "RANDOM", "chat:x", "a b"])
def test_registry__unknown_id__says_what_is_known(ask, name):
    with pytest.raises(UnknownNameError, match="unknown policy") as refused:
        ask(name)
    assert "moving-bowl" in str(refused.value)
    with pytest.raises(UnknownNameError):
        why_absent(name)
