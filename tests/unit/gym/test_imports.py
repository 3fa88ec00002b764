import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
ALLOWED = {"numpy", "pyarrow", "fsspec", "gymnasium", "pydantic"}
THEIR_OWN_NEEDS = {
    "annotated_types",
    "cloudpickle",
    "cython_runtime",
    "farama_notifications",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
}
LOADED = """
import importlib, json, pkgutil, sys
before = set(sys.modules)
package = importlib.import_module("{package}")
for found in pkgutil.walk_packages(package.__path__, "{package}."):
    importlib.import_module(found.name)
print(json.dumps(sorted({{name.split(".")[0] for name in set(sys.modules) - before}})))
"""


def packages_loaded_by(package: str) -> set[str]:
    """Top-level packages beyond the standard library that all modules of a package load."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(package=package)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    own = {name for name in loaded if name.startswith("_")}
    return loaded - own - set(sys.stdlib_module_names) - {"autollm"}


def test_gym__all_of_its_modules__load_five_packages_and_no_other():
    assert packages_loaded_by("autollm.gym") <= ALLOWED | THEIR_OWN_NEEDS


def test_core__all_of_its_modules__load_locks_and_progress_beside_what_the_gym_needs():
    allowed = {*ALLOWED, *THEIR_OWN_NEEDS, "filelock", "rich"}
    assert packages_loaded_by("autollm.core") <= allowed
