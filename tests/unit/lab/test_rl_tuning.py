"""The lab's GRPO family: tasks and their checks without torch; one short run through
TRL on a start model of two SFT steps.
"""

import json
import random

import pytest

from autollm.core.mappings.mapping import RUN_LOG
from autollm.core.records import RunEnd, RunHeader, RunStep, to_line
from autollm.lab import start_models, tasks
from autollm.lab.families.rl_tuning import COMPLETIONS_A_STEP, RL_TUNING
from autollm.lab.spec import Level, Run
from autollm.logs.choosing.catalog import load_mapping
from tests.unit.logs.mapped_rows import read

LEVEL = Level(
    "s1",
    "train",
    {
        "task": "sorting",
        "width": 16,
        "layers": 1,
        "completions": COMPLETIONS_A_STEP,
    },
)


@pytest.mark.parametrize("task", tasks.TASKS)
def test_tasks__own_answer__is_right_and_well_formed_at_every_size(task):
    rng = random.Random(0)
    for size in tasks.SIZES[task] + tasks.SHIFTED[task]:
        examples = [tasks.make(task, size, rng) for _ in range(200)]
        assert all(
            tasks.is_right(e.prompt, e.answer)
            and len(e.answer) < tasks.MAX_ANSWER
            for e in examples
        )
        assert all(
            set(e.prompt + e.answer) <= set(tasks.ALPHABET) for e in examples
        )
        assert len({e.prompt for e in examples}) > 30


@pytest.mark.parametrize(
    ("prompt", "answer", "right", "formed"),
    [
        ("S52713=", "12357", True, True),
        ("S52713=", "12355", False, True),
        ("S52713=", "1235", False, False),
        ("S52713=", "", False, False),
        ("A38+47=", "58", True, True),
        ("A38+47=", "85", False, True),
        ("A38+47=", "5+8", False, False),
        ("A38+47=", "058", False, True),
        ("C3,7,2=13=", "3*2+7", True, True),
        ("C3,7,2=13=", "3+7", False, True),
        ("C3,7,2=13=", "3*2+6", False, False),
        ("C3,7,2=13=", "3*2+", False, False),
        ("C3,7,2=6=", "3+3", False, False),
        ("C9,8,2=-8=", "2-9", False, True),
        ("C3,7,2=13=", "3**2", False, False),
        ("C1,9,9=90=", "1+9*9", True, True),
    ],
)
def test_tasks__answers__are_judged(prompt, answer, right, formed):
    assert (
        tasks.is_right(prompt, answer),
        tasks.is_well_formed(prompt, answer),
    ) == (
        right,
        formed,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Start models that any success will do for."""
    folder, patch = tmp_path_factory.mktemp("starts"), pytest.MonkeyPatch()
    patch.setattr(
        start_models,
        "RECIPE",
        {
            **start_models.RECIPE,
            "band": [0.0, 1.0],
            "retained_success": 0.0,
            "batch": 16,
            "check_every": 2,
            "max_steps": 2,
        },
    )
    patch.setattr(start_models, "PROMPTS", 64)
    yield folder
    patch.undo()


def test_start_model__made_once__is_found_again(cache):
    folder = start_models.start_model("sorting", 16, 1, cache)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert (
        start_models.start_model("sorting", 16, 1, cache) == folder
        and (folder / "model.safetensors").stat().st_mtime_ns == before
    )


def test_start_model__band_out_of_reach__says_so(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(
        start_models, "RECIPE", {**start_models.RECIPE, "band": [0.99, 1.0]}
    )
    with pytest.raises(start_models.SetupError, match="did not reach"):
        start_models.start_model("sorting", 16, 1, tmp_path)


def test_tokenizer__a_prompt__is_one_token_a_character():
    tok = start_models.tokenizer()
    assert (
        tok.encode("C3,7=10=")
        == [start_models.VOCABULARY[c] for c in "C3,7=10="]
        and tok.decode(tok.encode("A38+47=")) == "A38+47="
    )


def test_answer_loss__padding_and_prompt__do_not_count(cache):
    model = start_models._fresh(16, 1)
    short, long = (
        tasks.Example("sorting", "S21=", "12"),
        tasks.Example("sorting", "S4321765=", "1234567"),
    )
    alone = [start_models.answer_loss(model, [e]).item() for e in (short, long)]
    both = start_models.answer_loss(model, [short, long]).item()
    assert both == pytest.approx((3 * alone[0] + 8 * alone[1]) / 11, rel=1e-4)


def length_of(prompts, completions, **_):
    return [float(len(c)) for c in completions]


def test_training__short_run__is_a_valid_log_and_repeats(cache, monkeypatch):
    from autollm.lab.trainers import rl_tuning

    monkeypatch.setattr(
        rl_tuning, "N_SCORED", {"in_task": 40, "shifted": 20, "retained": 20}
    )
    monkeypatch.setattr(rl_tuning, "N_SAMPLED", 20)
    monkeypatch.setattr(
        rl_tuning, "reward", length_of
    )  # a model of two SFT steps is never right
    config = {
        "learning_rate": 2.0**-9,
        "kl_weight": 0.04,
        "group_size": 8,
        "clip_range": 0.125,
        "temperature": 1.0,
    }
    run = Run("rl_tuning", LEVEL, config, 0)
    first, again = (
        rl_tuning.train([run], rl_tuning.load(cache))[run.run_id]
        for _ in range(2)
    )
    head, *steps, end = first
    assert (
        isinstance(head, RunHeader)
        and head.model["task"] == "sorting"
        and isinstance(end, RunEnd)
        and end.status == "finished"
    )
    assert steps and all(
        isinstance(s, RunStep) and {"reward", "entropy"} <= set(s.metrics)
        for s in steps
    )
    assert (
        set(end.final)
        == {RL_TUNING.objective.name} | {m.name for m in RL_TUNING.secondary}
        and end.final["kl"] > 0
    )
    assert end.final == again[-1].final
    log = "".join(to_line(r) + "\n" for r in first).encode()
    (row,) = read(RUN_LOG, log, load_mapping("lab-rl_tuning")).runs
    assert row["group"] == "sorting"
    assert row["experiment_id"].startswith("lab-rl_tuning/sorting:")
    assert json.loads(row["config_json"]) == pytest.approx(config, rel=1e-5)


def test_reward__format_alone__is_paid_a_little():
    from autollm.lab.trainers.rl_tuning import FORMAT_REWARD, reward

    assert reward(
        ["S21=", "S21=", "S21="], ["12<end>", "11<end><pad>", "<end>"]
    ) == [
        1 + FORMAT_REWARD,
        FORMAT_REWARD,
        0.0,
    ]
