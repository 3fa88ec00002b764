import json

import pytest

from autollm.advisor.showing.written import read_plan, render, style_of
from autollm.core.errors import QuestionError

FIRST = {
    "config.optimizer.lr": 1e-05,
    "config.batch": 256,
    "config.schedule": "cosine",
}
SECOND = FIRST | {"config.optimizer.lr": 0.002}


def test_render__yaml__is_nested_and_reads_back(tmp_path):
    path = tmp_path / "next.yaml"
    path.write_text(render([FIRST], "yaml"))
    assert "optimizer:\n  lr: 1.0e-05\n" in path.read_text()
    assert read_plan(path) == {
        "optimizer.lr": 1e-05,
        "batch": 256,
        "schedule": "cosine",
    }


def test_render__overrides__a_line_a_recommendation():
    lines = render([FIRST, SECOND], "overrides").splitlines()
    assert lines[1] == "optimizer.lr=0.002 batch=256 schedule=cosine"


def test_render__sweep__varies_what_differs_and_names_the_goal():
    yaml = pytest.importorskip("yaml", reason="PyYAML reads what was written")
    found = yaml.safe_load(render([FIRST, SECOND], "sweep", "val/loss", "min"))
    assert found["metric"] == {"name": "val/loss", "goal": "minimize"}
    assert found["parameters"]["optimizer.lr"] == {"values": [1e-05, 0.002]}
    assert found["parameters"]["batch"] == {"value": 256}


def test_render__key_that_is_no_word__is_quoted():
    assert render([{"smooth loss": 1}], "dotted") == '"smooth loss": 1\n'


def test_render__unknown_style__names_the_known():
    with pytest.raises(QuestionError, match=r"no style 'xml'.*sweep"):
        render([FIRST], "xml")


def test_read_plan__wandb_config__takes_the_values(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps({"lr": {"desc": None, "value": 0.1}, "a": {"b": 2}})
    )
    assert read_plan(path) == {"lr": 0.1, "a.b": 2}


def test_read_plan__a_list__is_a_question_error(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("[1, 2]")
    with pytest.raises(QuestionError, match="no object"):
        read_plan(path)


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("a.yaml", "yaml"),
        ("a.json", "json"),
        ("run.sh", "overrides"),
        ("my_sweep.yaml", "sweep"),
    ],
)
def test_style_of__name__says_the_style(name, style):
    assert style_of(f"/x/{name}") == style
