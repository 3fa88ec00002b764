from __future__ import annotations

import json

from typer.testing import CliRunner

from autollm.cli.main import app
from autollm.evaluation.look_log import load_looks
from tests.unit.advisor.judged.sweep import source_of


def judged(*arguments: str):
    return CliRunner().invoke(app, ["advice", "judge", *arguments])


def test_judge__quick__prints_the_tables_and_logs_a_look(tmp_path):
    home = str(tmp_path / "home")
    source = f"mine={source_of(tmp_path)}"
    options = ["--source", source, "--policies", "random,copy-nearest"]
    found = judged(
        *options, "--quick", "--parts", "decision,future", "--home", home
    )
    assert found.exit_code == 0, found.output
    assert (
        "2 hidden experiments of 1 sources (mine 2), 1 seeds each"
        in found.output
    )
    assert "| recommend |" in found.output and "### Future" in found.output
    (look,) = load_looks(home)
    assert look["suites"] == ["hidden experiments of mine"]
    assert look["policies"] == ["copy-nearest", "random", "recommend"]
    again = judged(
        *options, "--quick", "--parts", "decision", "--home", home, "--json"
    )
    means = json.loads(again.stdout)["decision"]["means"]
    assert set(means) == {"recommend", "random", "copy-nearest"}
    assert len(load_looks(home)) == 2


def test_judge__unknown_part__names_the_known_ones(tmp_path):
    found = judged("--parts", "decisions", "--home", str(tmp_path))
    assert found.exit_code == 1
    assert "decision" in str(found.output) + str(found.exception)
    assert load_looks(str(tmp_path)) == []
