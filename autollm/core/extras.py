"""Packages that an extra of ours installs: where one is absent, the error names the extra.

    with naming_extra("policy 'bohb'"):
        import optuna

Invariant: a package that is there and broken raises its own error, not ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from autollm.core.errors import SetupError

EXTRA_OF = {
    "accelerate": "train",
    "botorch": "baselines",
    "ConfigSpace": "baselines",
    "dagster": "pipeline",
    "dagster_dbt": "pipeline",
    "dagster_webserver": "pipeline",
    "datasets": "train",
    "dbt": "pipeline",
    "gpytorch": "baselines",
    "mcp": "mcp",
    "mlflow": "pipeline",
    "mpmath": "lab",
    "networkx": "lab",
    "optuna": "optuna",
    "pandas": "baselines",
    "peft": "train",
    "pytest": "dev",
    "requests": "pipeline",
    "safetensors": "train",
    "smac": "baselines",
    "sqlalchemy": "pipeline",
    "submitit": "slurm",
    "sympy": "lab",
    "syne_tune": "baselines",
    "tensorboard": "exports",
    "tokenizers": "train",
    "torch": "train",
    "transformers": "train",
    "trl": "train",
    "vllm": "gpu",
    "wandb": "exports",
    "xgboost": "baselines",
    "yaml": "yaml",
}
"""Top-level module -> the smallest extra that brings it."""


@contextmanager
def naming_extra(wanted_by: str) -> Iterator[None]:
    """Imports inside the block may be of packages that only an extra brings.

    Raises:
        SetupError: one is not installed; `wanted_by` says what cannot go on.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").split(".")[0]
        if module not in EXTRA_OF or find_spec(module) is not None:
            raise
        raise SetupError(absent_text([module], wanted_by)) from None


def absent(modules: Iterable[str]) -> list[str]:
    """Those of the top-level `modules` that are not installed; none is imported."""
    return [module for module in modules if find_spec(module) is None]


def require(modules: Iterable[str], wanted_by: str) -> None:
    """Say at once what is missing, before work starts that would need it.

    Raises:
        SetupError: one of the top-level `modules` is not installed.
    """
    missing = absent(modules)
    if missing:
        raise SetupError(absent_text(missing, wanted_by))


def absent_text(modules: Iterable[str], wanted_by: str) -> str:
    """What is missing, and the one command that brings it."""
    missing = list(modules)
    extras = sorted(
        {EXTRA_OF[module] for module in missing if module in EXTRA_OF}
    )
    others = [module for module in missing if module not in EXTRA_OF]
    ours = [f"'autollm[{','.join(extras)}]'"] if extras else []
    return (
        f"{wanted_by} needs {' and '.join(missing)}, not installed here. Fix: "
        f"pip install {' '.join(ours + others)}."
    )
