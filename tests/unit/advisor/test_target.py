import pytest

from autollm.advisor.asking.target import parse_target, resolve_target
from autollm.core.errors import QuestionError
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space
from autollm.gym.tables.outcome_table import Experiment

SPACE = Space((Knob("lr", "log", (0.001, 0.002)),))
COLUMNS = {"params": "P", "tokens": "T"}


def experiment(params, tokens) -> Experiment:
    fidelity = {"params": params, "tokens": tokens}
    flops = 6 * params * tokens
    return Experiment("e", "e", "s", "f", fidelity, flops, "loss", "min", SPACE)


def resolve(text, *experiments):
    return resolve_target(parse_target(text), experiments, COLUMNS)


TWO = (experiment(1e8, 2e9), experiment(2e8, 8e9))


@pytest.mark.parametrize(
    "text",
    [
        "params=7e9,tokens=1.4e11",
        "P=7B, T=140B",
        "p=7000M,tokens=1.4e11",
        "params=7B,tokens_per_param=20",
        "T=140B,T/P=20",
    ],
)
def test_resolve_target__as_people_write_it__is_one_target(text):
    target, _ = resolve(text, *TWO)
    assert target == {"params": 7e9, "tokens": pytest.approx(1.4e11)}


def test_resolve_target__constant_coordinate__is_filled_in_and_said():
    target, assumptions = resolve(
        "params=7B", experiment(1e8, 2e9), experiment(2e8, 2e9)
    )
    assert target["tokens"] == 2e9
    (filled,) = [a for a in assumptions if a.origin == "guessed"]
    assert "T = 2e+09" in filled.text


def test_resolve_target__varying_coordinate_missing__is_a_question_error():
    with pytest.raises(QuestionError, match=r"lacks T \(.*\), which varies"):
        resolve("params=7B", *TWO)


def test_resolve_target__one_ratio_in_all_runs__is_offered_not_assumed():
    runs = experiment(1e8, 2e9), experiment(3.1e8, 6.2e9)
    with pytest.raises(QuestionError, match=r"params=7e\+09,T=1.4e\+11.*ratio"):
        resolve("params=7B", *runs)


@pytest.mark.parametrize("name", ["model_size", "config.model_size", "size"])
def test_resolve_target__end_of_a_nested_name__is_the_coordinate(name):
    columns = {"params": "config.model_size", "tokens": "config.max_tokens"}
    target, _ = resolve_target({name: 7e9, "max_tokens": 1.4e11}, TWO, columns)
    assert target == {"params": 7e9, "tokens": 1.4e11}


def test_resolve_target__unknown_coordinate__names_the_known():
    with pytest.raises(QuestionError, match=r"no coordinate 'depth'.*params"):
        resolve("depth=12", *TWO)


@pytest.mark.parametrize(
    "text", ["params", "params=big", "params=-3", "params=0"]
)
def test_parse_target__no_positive_number__is_a_question_error(text):
    with pytest.raises(QuestionError, match="no coordinate"):
        parse_target(text)


def test_resolve_target__evidence_without_any_size__holds_at_its_own():
    sizeless = Experiment(
        "e", "e", "s", "f", {"one": 1.0}, 1.0, "loss", "min", SPACE
    )
    experiments = [sizeless]
    target, assumptions = resolve_target({"params": 7e9}, experiments, {})
    assert target == {"one": 1.0}
    assert [a.code for a in assumptions] == ["target-size", "target-constant"]
    assert "params = 7e+09" in assumptions[0].text
