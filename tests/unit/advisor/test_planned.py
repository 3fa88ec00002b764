"""What a plan says of its run's size and context counts as said."""

import pytest

from autollm.advisor.options import Options
from autollm.advisor.recommend import explore
from autollm.core.errors import QuestionError

SIZES = (50e6, 100e6, 200e6, 400e6)
RATES = (5e-4, 1e-3, 2e-3, 4e-3)


def loss(params, rate, tokenizer):
    """A bowl in octaves around 1.5e-3; gpt2's lies lower."""
    away = 0 if rate == 1e-3 else abs(rate / 1e-3 - 1)
    offset = 0.2 if tokenizer == "llama" else 0.0
    return 2 + 30 * params**-0.2 + 0.05 * away + offset


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """`params_m` counts millions, and the ratio is 20 everywhere."""
    lines = ["lr,params_m,tokens_per_param,tokenizer,val_loss"]
    for size in SIZES:
        for tokenizer in ("gpt2", "llama"):
            for rate in RATES:
                value = loss(size, rate, tokenizer)
                cells = f"{rate},{size / 1e6:g},20,{tokenizer},{value:.4f}"
                lines.append(cells)
    path = tmp_path_factory.mktemp("logs") / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def checked(table, target="", **planned):
    """`planned`: besides a rate and 20 tokens for each parameter."""
    plan = {"lr": 1e-3, "tokens_per_param": 20, **planned}
    return explore(table, target, Options(planned=plan))[1]


@pytest.mark.parametrize(
    "plan",
    [
        {"params_m": 1600},
        {"params_m": "1600"},
        {"model.params_m": "1.6B"},
        {"Params M": 1600},
        {"params": 1.6e9},
        {"params": "1.6B"},
    ],
    ids=str,
)
def test_check__plan_that_says_its_size__needs_no_target(table, plan):
    advice = checked(table, **plan)
    assert advice.target.fidelity["params"] == pytest.approx(1.6e9)


def test_check__plan_and_target_agree_but_for_rounding__the_target_counts(
    table,
):
    advice = checked(table, "params=1.6B,tokens=32B", params=1.583e9)
    assert advice.target.fidelity["params"] == pytest.approx(1.6e9)


def test_check__plan_and_target_of_two_sizes__is_a_question(table):
    with pytest.raises(QuestionError, match=r"makes params 1\.6e.*says 3e"):
        checked(table, "params=1.6B,tokens=32B", params=3e9)


def test_check__setting_with_a_unit__is_no_size(table):
    advice = checked(table, "params=1.6B,tokens=32B", lr="0.1%")
    assert advice.target.fidelity["params"] == pytest.approx(1.6e9)
    assert advice.checked.configuration["lr"] == pytest.approx(1e-3)


@pytest.mark.parametrize("tokenizer", ["gpt2", "LLaMA"])
def test_check__plan_that_says_its_context__is_judged_among_its_runs(
    table, tokenizer
):
    advice = checked(table, params=8e8, **{"data.tokenizer": tokenizer})
    predicted = advice.checked.predicted.mean
    expected = loss(8e8, 1e-3, tokenizer.lower())
    assert predicted == pytest.approx(expected, abs=0.05)


def test_check__context_that_no_run_has__is_said(table):
    advice = checked(table, params=8e8, tokenizer="bytes")
    said = [w.text for w in advice.warnings if "your plan says" in w.text]
    assert said and "tokenizer = bytes" in said[0]
    assert "gpt2, llama" in said[0]


def test_check__said_context__goes_before_the_plans(table):
    from autollm.advisor.evidence.reading import LogOptions

    said = LogOptions(context={"tokenizer": "llama"})
    planned = {"lr": 1e-3, "params": 8e8, "tokens": 16e9, "tokenizer": "gpt2"}
    options = Options(said=said, planned=planned)
    advice = explore(table, "", options)[1]
    expected = loss(8e8, 1e-3, "llama")
    assert advice.checked.predicted.mean == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"knobs": ("lr", "batchsize")},
            "--knobs 'batchsize'.*tokens_per_param",
        ),
        ({"objective": "loss"}, "--objective 'loss'.*NAME:min.*'val_loss'"),
    ],
)
def test_explore__option_that_no_column_is__is_a_question_of_it(
    table, said, told
):
    from autollm.advisor.evidence.reading import LogOptions

    with pytest.raises(QuestionError, match=told):
        explore(table, "params=1B,tokens=20B", Options(said=LogOptions(**said)))
