"""As others meet it: installed from the wheel with the base dependencies alone, and with
a stranger's package beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from autollm.core.places import PROJECT, SHIPPED_GYM

pytestmark = pytest.mark.timeout(600)
"""Building and copying wait for the disk; nothing below depends on how long."""
MAX_WHEEL_BYTES = 8_000_000
CSV = "lr,batch_size,params,tokens,val_loss\n" + "".join(
    f"{lr},{batch},{params},{20 * params},{3.0 + abs(lr - 0.003) * 50 + 1e6 / params}\n"
    for params in (1_000_000, 4_000_000)
    for lr in (0.001, 0.003, 0.01)
    for batch in (32, 64)
)


def pip(*arguments: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "-q",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the tracked files, so that nothing else gets in and nothing
    is left in the checkout.
    """
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        [
            "git",
            "-C",
            str(PROJECT),
            "ls-files",
            "-z",
            "-co",
            "--exclude-standard",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if (
            name
            and not name.startswith("tests/")
            and (PROJECT / name).is_file()
        ):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    pip(
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(out),
        str(source),
    )
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> dict[str, str]:
    """Environment variables of a Python that sees autollm from the wheel, its base
    dependencies and nothing else of this environment.
    """
    folder = tmp_path_factory.mktemp("site")
    pip(
        "install",
        "--no-deps",
        "--no-compile",
        "--target",
        str(folder),
        str(wheel),
    )
    beside = tmp_path_factory.mktemp("base")
    for name in base_closure():
        link_distribution(name, beside)
    paths = os.pathsep.join([str(folder), str(beside)])
    return {
        "PYTHONPATH": paths,
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
    }


def base_closure() -> set[str]:
    """Names of the distributions that `pip install autollm` brings."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    todo, found = list(project["dependencies"]), set()
    while todo:
        wanted = Requirement(todo.pop())
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        name = wanted.name.lower().replace("_", "-")
        if name not in found:
            found.add(name)
            todo += distribution(name).requires or []
    return found


def link_distribution(name: str, folder: Path) -> None:
    """Links to what a distribution installed, its metadata too."""
    found = distribution(name)
    tops = {
        file.parts[0] for file in found.files or () if file.parts[0] != ".."
    }
    for top in tops - {"__pycache__"}:
        link, target = folder / top, Path(str(found.locate_file(top)))
        if not link.exists() and target.exists():
            link.symlink_to(target)


def python(environment: dict[str, str], *arguments: str, cwd: Path) -> str:
    """Standard output of a Python that has no site-packages of its own."""
    done = subprocess.run(
        [sys.executable, "-S", *arguments],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def autollm(environment: dict[str, str], *arguments: str, cwd: Path) -> str:
    return python(environment, "-m", "autollm.cli.main", *arguments, cwd=cwd)


def test_wheel__contents__hold_what_is_read_at_run_time_in_eight_megabytes(
    wheel,
):
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.stat().st_size < MAX_WHEEL_BYTES
    shipped = "autollm/_shipped"
    for wanted in (
        "autollm/py.typed",
        "autollm/gym/suites/lab-pretraining-v3.toml",
        "autollm/evaluation/report.html.j2",
        "pipelines/definitions.py",
        f"{shipped}/constraints.txt",
        f"{shipped}/dbt_project/dbt_project.yml",
        f"{shipped}/data/gym/snapshots/current.json",
        f"{shipped}/data/lab/manifest.json",
        f"{shipped}/models/agent-tiny-base/model.safetensors",
    ):
        assert wanted in names, wanted
    assert [n for n in names if n.endswith("licenses/LICENSE")]
    strays = ("tests/", "research/", "scripts/", "setup.py")
    assert not [n for n in names if n.startswith(strays)]
    assert not [n for n in names if "__pycache__" in n or "/target/" in n]


def test_wheel__base_alone__plays_the_gym(installed, tmp_path):
    code = (
        "import sys, autollm.gym, gymnasium\n"
        "env = gymnasium.make('autollm/lab-pretraining-v3', split='test')\n"
        "env.reset(seed=0)\n"
        "print(autollm.__file__, env.step(3)[1], 'torch' in sys.modules)\n"
    )
    file, reward, has_torch = python(
        installed, "-c", code, cwd=tmp_path
    ).split()
    assert installed["PYTHONPATH"].startswith(str(Path(file).parents[1]))
    assert 0 < float(reward) < 1 and has_torch == "False"


def test_wheel__base_alone__has_no_package_of_an_extra(installed, tmp_path):
    code = (
        "from autollm.core.extras import EXTRA_OF, absent\n"
        "print(sorted(set(EXTRA_OF) - set(absent(EXTRA_OF))))"
    )
    assert python(installed, "-c", code, cwd=tmp_path).strip() == "[]"


def test_wheel__base_alone__lists_suites_and_says_its_version(
    installed, tmp_path
):
    rows = json.loads(autollm(installed, "suites", "--json", cwd=tmp_path))
    assert "lab-pretraining-v3" in {row["suite_id"] for row in rows}
    from autollm import __version__

    said = autollm(installed, "--version", cwd=tmp_path)
    assert said.strip() == f"autollm {__version__}"


def test_wheel__base_alone__proposes_a_mapping(installed, tmp_path):
    (tmp_path / "sweep.csv").write_text(CSV)
    arguments = (
        "sources",
        "inspect",
        "sweep.csv",
        "--objective",
        "val_loss:min",
    )
    assert "val_loss" in autollm(installed, *arguments, cwd=tmp_path)


def test_wheel__command_of_an_extra__names_the_extra(installed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-S", "-m", "autollm.cli.main", "run"],
        env=installed,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert (
        "pip install 'autollm[" in done.stderr
        and "Traceback" not in done.stderr
    )


POLICY = '''
from autollm.policies.base import RankingPolicy


class LargestFirst(RankingPolicy):
    """The largest value of the first knob comes first."""

    policy_id = "largest-first"

    def scores(self):
        return -self.candidates[:, 0]
'''
PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "stranger"
version = "1.2"

[project.entry-points."autollm.policies"]
largest-first = "stranger.policy:LargestFirst"
broken = "stranger.nowhere:Policy"
no-policy = "stranger.policy:RankingPolicy.tell"

[project.entry-points."autollm.suites"]
stranger = "stranger.suites"

[tool.setuptools]
packages = ["stranger", "stranger.suites"]
package-data = {"stranger.suites" = ["*.toml"]}
"""


@pytest.fixture(scope="module")
def stranger(tmp_path_factory) -> dict[str, str]:
    """Environment variables with another package on the path: one policy, one suite,
    two broken entry points.
    """
    source = tmp_path_factory.mktemp("stranger")
    (source / "stranger" / "suites").mkdir(parents=True)
    (source / "pyproject.toml").write_text(PYPROJECT)
    (source / "stranger" / "__init__.py").write_text("")
    (source / "stranger" / "policy.py").write_text(POLICY)
    (source / "stranger" / "suites" / "__init__.py").write_text("")
    shipped = PROJECT / "autollm" / "gym" / "suites" / "lab-optimizer-v1.toml"
    text = shipped.read_text().replace("lab-optimizer-v1", "stranger-v1")
    (source / "stranger" / "suites" / "stranger-v1.toml").write_text(text)
    folder = tmp_path_factory.mktemp("strangers site")
    arguments = ("--no-deps", "--no-build-isolation", "--target", str(folder))
    pip("install", *arguments, str(source))
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(SHIPPED_GYM / "snapshots", home / "snapshots")
    paths = os.pathsep.join([str(folder), str(PROJECT)])
    return os.environ | {"PYTHONPATH": paths, "AUTOLLM_HOME": str(home)}


def test_stranger__policy_and_suite_of_a_package__are_judged(
    stranger, tmp_path
):
    arguments = ["evaluate", "--suite", "stranger-v1", "--seeds", "2", "--json"]
    policies = "largest-first,random,broken"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "autollm.cli.main",
            *arguments,
            "--policies",
            policies,
        ],
        env=stranger,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout)["rows"]
    assert {row["suite"] for row in rows} == {"stranger-v1"}
    assert {"largest-first", "random"} <= {row["policy"] for row in rows}
    assert "left out" in done.stderr and "package stranger 1.2" in done.stderr


def test_stranger__broken_entry_points__are_named_and_stop_nobody(
    stranger, tmp_path
):
    code = (
        "import json; from autollm.policies.registry import availability\n"
        "print(json.dumps(availability()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=stranger,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    reasons = json.loads(done.stdout)
    assert not reasons["largest-first"] and not reasons["random"]
    assert "ModuleNotFoundError" in reasons["broken"]
    assert "has no version" in reasons["no-policy"]
    for name in ("broken", "no-policy"):
        assert "package stranger 1.2" in reasons[name]


def test_stranger__contract_of_autollm_testing__runs_over_its_policy(
    stranger, tmp_path
):
    (tmp_path / "test_stranger.py").write_text(
        "import pytest\n"
        "from autollm.testing import PolicyContract\n"
        "from stranger.policy import LargestFirst\n\n"
        "class TestLargestFirst(PolicyContract):\n"
        "    @pytest.fixture\n"
        "    def new_policy(self):\n"
        "        return LargestFirst\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            str(tmp_path),
        ],
        env=stranger,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout
