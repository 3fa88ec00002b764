"""What scripts/measure_house.py counts, held where it is done; and the counting itself."""

import ast
import fnmatch
import importlib.util
import json
import sys

import pytest

from autollm.core.places import PROJECT

DONE = (
    "autollm/agent",
    "autollm/cli",
    "autollm/lab",
    "autollm/testing",
    "scripts",
)
"""Folders whose every line keeps the rules; the others follow."""
MOST_COMPREHENSIONS = 28
"""A thousand lines, of all folders; the aim was 30."""
MOST_LONG_FUNCTIONS = 0.03
"""What is left of all folders: a ceiling that may fall, never rise."""


def script(name):
    """A script, which is no module of a package."""
    path = PROJECT / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def house():
    return script("measure_house")


@pytest.fixture(scope="module")
def reach():
    return script("reach")


@pytest.mark.parametrize("folder", DONE)
def test_house__done_folder__keeps_the_rules(house, folder):
    found = house.measure(house.files_of(folder))
    assert found.n_lines
    assert not found.nested and not found.crowded
    assert found.n_long == 0


def test_house__all_folders__grow_no_worse(house):
    found = house.measure(house.files_of(*house.SOURCE))
    assert not found.nested and not found.crowded
    assert found.n_long == 0 and found.tokens_p90 <= 16
    most = MOST_COMPREHENSIONS / 1000 * found.n_lines
    assert found.n_comprehensions <= most
    most = MOST_LONG_FUNCTIONS * found.n_functions
    assert found.n_long_functions <= most
    assert not found.long_modules


def test_measure__one_of_each__is_counted(house, tmp_path, monkeypatch):
    monkeypatch.setattr(house, "ROOT", tmp_path)
    (tmp_path / "a.py").write_text(
        '"""Doc\nstring."""\n'
        "x = 1 if a else 2 if b else 3\n"
        "y = [i for i in [j for j in z]]\n"
        f"w = '{'w' * 100}'\n"
        "if x:\n    v = [i for i in y]\n"
    )
    found = house.measure([tmp_path / "a.py"])
    assert (found.n_lines, found.n_long, found.n_docstring_lines) == (7, 1, 2)
    assert found.nested == ("a.py:3",) and found.crowded == ("a.py:4",)
    assert found.n_comprehensions == 3 and found.n_long_docstring == 0
    assert found.n_functions == 0 and found.long_modules == ()


def test_measure__one_line_too_many__is_counted(house, tmp_path, monkeypatch):
    monkeypatch.setattr(house, "ROOT", tmp_path)
    body = "    x = 1\n" * house.LONG_FUNCTION
    (tmp_path / "a.py").write_text(f"def f():\n{body}")
    (tmp_path / "b.py").write_text("x = 1\n" * (house.LONG_MODULE + 1))
    found = house.measure([tmp_path / "a.py", tmp_path / "b.py"])
    assert (found.n_functions, found.n_long_functions) == (1, 1)
    assert found.long_modules == ("b.py",)


def test_unreached__a_module_that_no_line_of_ran__is_named(house, tmp_path):
    def entry(n, covered):
        return {
            "summary": {
                "num_statements": n,
                "missing_lines": n - covered,
                "covered_lines": covered,
            }
        }

    path = tmp_path / "coverage.json"
    path.write_text(
        '{"files": '
        + str({"a.py": entry(10, 9), "b.py": entry(10, 0)}).replace("'", '"')
        + "}"
    )
    assert house.unreached(path) == (0.55, ["b.py (10)"])


def test_reach__every_pattern__fits_a_module_that_its_part_gets(reach, house):
    paths = []
    for file in house.files_of(*house.SOURCE):
        paths.append(file.relative_to(PROJECT).as_posix())
    for part in reach.PARTS:
        own = [p for p in paths if reach.part_of(p) is part]
        names = [path.removeprefix("autollm/") for path in own]
        for pattern in part.patterns:
            assert fnmatch.filter(names, pattern), pattern


def test_reach__coverage__is_summed_by_the_first_part_that_fits(
    reach, tmp_path
):
    def entry(n, missing):
        return {"summary": {"num_statements": n, "missing_lines": missing}}

    files = {
        "autollm/cli/run.py": entry(10, 10),
        "autollm/logs/fetch.py": entry(20, 5),
        "autollm/logs/session.py": entry(40, 10),
        "pipelines/jobs.py": entry(30, 3),
    }
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps({"files": files}))
    found = reach.reached_by_part(path)
    shares = [r.missing_percent for r in found.values() if r.n_statements]
    assert shares == [100.0, 25.0, 25.0, 10.0, 28.0]
    assert "| command line: `cli/` | 10 | 100 % |" in reach.table(path)


def test_nested_ternaries__ternary_in_an_argument__is_not_nested(house):
    tree = ast.parse("x = f(1 if a else 2) if b else 3")
    assert list(house.nested_ternaries(tree)) == []
