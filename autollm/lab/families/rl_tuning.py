"""`rl_tuning`: GRPO settings for small decoders on three verifiable tasks, over sizes
and numbers of completions.

Each task is a ladder of its own (tables compare within a task). The start model of a
size does its task with a success of .15 to .3. The objective is half the success on the
trained sizes of the task, a quarter that on shifted sizes, a quarter that on a second
task that the start model knew (all of sampled answers), so that drifting far has a
price. Runs that collapse or hack the format are recorded as they ended.
"""

from __future__ import annotations

from typing import Any

from autollm.core.metrics import Metric
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.lab.designs import even_cells
from autollm.lab.spec import FAR, FRESH, Config, Family, Level, added_level
from autollm.lab.tasks import TASKS

RATES = tuple(2.0**r for r in range(-15, -6))
KL, GROUPS = (0.0, 0.04, 0.16, 0.64), (2, 4, 8, 16, 32)
CLIPS, TEMPERATURES = (0.0625, 0.125, 0.25, 0.5, 1.0), (0.6, 0.8, 1.0, 1.2)
COMPLETIONS_A_STEP, PASSES = 128, 2
"""Completions that are sampled together, and optimizer passes over them: with one pass
the clip range would do nothing.
"""
N_INNER, N_CHEAP, N_WHOLE = 32, 24, 16
"""Cells inside the window at a test level, the first of them that every cheaper level
has, and cells over the whole window everywhere.
"""
N_ADDED = 16
"""Cells inside the window at a level beside the ladder: with those over the whole
window 32.
"""
TOKENS_A_COMPLETION = 18.0
"""Prompt and answer, about: for FLOPs, which order the levels."""


def n_params(level: Level) -> int:
    """Parameters of the decoder's blocks: attention 4 w^2, gated MLP of three times the
    width 9 w^2, without norms.
    """
    return (
        int(level.settings["layers"]) * 13 * int(level.settings["width"]) ** 2
    )


def design(level: Level) -> list[Config]:
    """Space-filling: an additive recurrence in five dimensions, twice. The first
    version's window had no lowest rate, smallest group and widest clip range, and
    optima stood on its edges: its cells come first, then new ones over the whole
    window.
    """
    whole: dict[str, tuple[Any, ...]] = {
        "learning_rate": RATES,
        "kl_weight": KL,
        "group_size": GROUPS,
        "clip_range": CLIPS,
        "temperature": TEMPERATURES,
    }
    inner = whole | {
        "learning_rate": RATES[1:],
        "group_size": GROUPS[1:],
        "clip_range": CLIPS[:-1],
    }
    first = even_cells(
        inner, {"full": N_INNER, "first": N_CHEAP, "added": N_ADDED}[level.part]
    )
    return first + even_cells(whole, N_INNER + N_WHOLE)[N_INNER:]


def fidelity(level: Level) -> dict[str, float]:
    return {
        "params": float(n_params(level)),
        "completions": float(level.settings["completions"]),
    }


def flops(level: Level) -> float:
    """Sampling (2), two passes of forward and backward (6 each) and the reference (2) a
    parameter and token.
    """
    return (
        (4.0 + 6.0 * PASSES)
        * n_params(level)
        * TOKENS_A_COMPLETION
        * level.settings["completions"]
    )


def _ladder(task: str) -> list[Level]:
    def level(
        n: int, split: str, width: int, completions: int, **more: Any
    ) -> Level:
        return Level(
            f"{task[0]}{n}",
            split,
            {
                "task": task,
                "width": width,
                "layers": 2,
                "completions": completions,
            },
            **more,
        )

    cheap: dict[str, Any] = {"part": "first", "best_third_seeds": (1, 2, 3)}
    return [
        level(1, "train", 32, 4096, **cheap),
        level(2, "train", 32, 8192, **cheap),
        level(3, "validation", 48, 4096, **cheap),
        level(4, "test", 96, 11520, best_third_seeds=(1, 2)),
    ]


def _added(
    name: str, sweep: str, task: str, width: int, completions: int
) -> Level:
    settings = {
        "task": task,
        "width": width,
        "layers": 2,
        "completions": completions,
    }
    return added_level(name, sweep, settings, "added")


RL_TUNING = Family(
    name="rl_tuning",
    version=2,
    space=Space(
        (
            Knob("learning_rate", "log", RATES, "1", 1.0, "rate"),
            Knob("kl_weight", "ordinal", KL, role="weight"),
            Knob("group_size", "log", GROUPS, "completions", 1.0, "size"),
            Knob("clip_range", "log", CLIPS, "1", 1.0),
            Knob("temperature", "linear", TEMPERATURES, "1", 0.2),
        ),
        "lab-rl_tuning",
    ),
    levels=tuple(level for task in TASKS for level in _ladder(task)),
    objective=Metric("score", "share", "max"),
    secondary=(
        Metric("score_se", "share"),
        Metric("in_task", "share", "max"),
        Metric("shifted", "share", "max"),
        Metric("retained", "share", "max"),
        Metric("well_formed", "share"),
        Metric("entropy", "nats per token"),
        Metric("kl", "nats per token, from the start model"),
    ),
    group="model.task",
    design=design,
    fidelity=fidelity,
    flops=flops,
    stack_key=lambda run: 0,
    stack_size=1,
    added=(
        _added("far1", FAR, "arithmetic", 80, 11_904),
        _added("fresh1", FRESH, "sorting", 80, 16_512),
    ),
)
