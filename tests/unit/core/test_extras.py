"""An absent package names its extra; every package that is imported stands in one."""

import ast
import sys
import tomllib

import pytest

from autollm.core import extras
from autollm.core.errors import SetupError
from autollm.core.places import PROJECT

DISTRIBUTIONS = {
    "dagster_dbt": "dagster-dbt",
    "dagster_webserver": "dagster-webserver",
    "dbt": "dbt-core",
    "markupsafe": "jinja2",
    "sklearn": "scikit-learn",
    "syne_tune": "syne-tune",
    "threadpoolctl": "scikit-learn",
    "yaml": "pyyaml",
}
"""Modules that are not called as the distribution that brings them (at times as another
one's dependency).
"""
INDIRECT = {"pandas": "syne-tune", "requests": "mlflow", "sqlalchemy": "mlflow"}
"""Modules that another distribution of the extra brings."""


def project() -> dict:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    ends = "[<>=~!; "
    found = set()
    for requirement in requirements:
        end = min(
            (requirement.find(c) for c in ends if c in requirement),
            default=None,
        )
        found.add(requirement[:end])
    return found


def imported_modules() -> dict[str, str]:
    """Top-level module -> a file of ours that imports it."""
    found = {}
    for path in sorted((PROJECT / "autollm").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            else:
                continue
            found |= {m.split(".")[0]: path.name for m in modules}
    return found


def test_imports__every_package__is_of_the_base_or_of_an_extra():
    base = names(project()["dependencies"])
    ours = {"autollm", "pipelines"} | set(sys.stdlib_module_names)
    unknown = {
        module: file
        for module, file in imported_modules().items()
        if module not in ours
        and DISTRIBUTIONS.get(module, module) not in base
        and module not in extras.EXTRA_OF
    }
    assert not unknown


@pytest.mark.parametrize("module", extras.EXTRA_OF)
def test_extra_of__module__is_brought_by_that_extra(module):
    wanted = INDIRECT.get(module) or DISTRIBUTIONS.get(module, module)
    declared = project()["optional-dependencies"][extras.EXTRA_OF[module]]
    assert wanted in names(declared)


def test_naming_extra__package_absent__names_extra_and_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "botorch", None)
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with (
        pytest.raises(
            SetupError, match=r"needs botorch.*'autollm\[baselines\]'"
        ),
        extras.naming_extra("policy 'rgpe'"),
    ):
        import botorch  # noqa: F401


def test_naming_extra__package_there_but_broken__raises_its_own_error(
    monkeypatch,
):
    monkeypatch.setitem(sys.modules, "pandas.nowhere", None)
    with (
        pytest.raises(ModuleNotFoundError, match="nowhere"),
        extras.naming_extra("something"),
    ):
        import pandas.nowhere  # noqa: F401


def test_require__two_extras_and_a_stranger__one_command():
    modules = ["no_such_module"]
    with pytest.raises(SetupError, match="pip install no_such_module"):
        extras.require(modules, "it")
    text = extras.absent_text(["torch", "dagster"], "`autollm run`")
    assert "'autollm[pipeline,train]'" in text
