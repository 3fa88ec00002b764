"""Parts of other packages: found without an import, named when they are broken."""

from __future__ import annotations

import sys

import pytest

from autollm.core.errors import PluginError
from autollm.core.plugins import plugins
from tests.helpers.packages import laid_packages

GROUP = "autollm.tested"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that lays a package with entry points on the path."""
    with laid_packages(tmp_path, GROUP, monkeypatch) as lay:
        yield lay


def test_plugins__group_that_nobody_has__is_empty(install):
    assert plugins(GROUP) == {}


def test_plugins__package_laid_on_the_path__is_named_and_not_imported(install):
    install(
        "zebra", "1.2", {"mine": "zebra_policies:Mine"}, {"zebra_policies": "X"}
    )
    found = plugins(GROUP)["mine"]
    assert found.name == "mine"
    assert found.package == "zebra 1.2"
    assert found.target == "zebra_policies:Mine"
    assert "zebra_policies" not in sys.modules


def test_plugin__asked_for__is_what_its_entry_names(install):
    install(
        "zebra",
        "1.2",
        {"mine": "zebra_parts:Mine"},
        {"zebra_parts": "class Mine:\n    sound = 'neigh'\n"},
    )
    assert plugins(GROUP)["mine"].load().sound == "neigh"


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise ValueError('no engine')", "ValueError: no engine"),
        ("import module_that_nobody_has", "ModuleNotFoundError"),
        ("x = 1", "AttributeError"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_plugin__that_cannot_be_loaded__names_package_and_two_remedies(
    install, module, said
):
    install(
        "zebra", "1.2", {"mine": "zebra_broken:Mine"}, {"zebra_broken": module}
    )
    with pytest.raises(PluginError, match=said) as refused:
        plugins(GROUP)["mine"].load()
    text = str(refused.value)
    assert "'mine' of package zebra 1.2" in text
    assert "Fix: repair that package, or pip uninstall zebra." in text


def test_plugins__one_of_two_is_broken__the_other_still_loads(install):
    install(
        "zebra",
        "1.2",
        {"good": "zebra_good:X", "bad": "zebra_bad:X"},
        {"zebra_good": "X = 7", "zebra_bad": "raise RuntimeError"},
    )
    assert plugins(GROUP)["good"].load() == 7
    with pytest.raises(PluginError):
        plugins(GROUP)["bad"].load()


@pytest.mark.parametrize("first", ["aardvark", "zebra"])
def test_plugins__two_packages_of_one_name__the_first_in_the_alphabet_has_it(
    install, first
):
    second = "zebra" if first == "aardvark" else "aardvark"
    for package in (first, second):
        install(
            package,
            "1.0",
            {"mine": f"{package}_m:X"},
            {f"{package}_m": "X = 1"},
        )
    assert plugins(GROUP)["mine"].package == "aardvark 1.0"
