"""A home's own questions: answered from what landed, kept, shown in MLflow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autollm.advisor.kept import ledger
from autollm.advisor.kept.ledger import ReportedRun
from autollm.core.places import Places, resolve
from autollm.logs.landing import ingest
from autollm.stages.advice_runs import mirror
from autollm.stages.questions import answer_all
from tests.unit.advisor.doors.test_mcp_server import SECRET, write_sweep

MAPPING = """
schema = "autollm.mapping/1"
source = "team"
family = "pretraining"
format = "csv"
files = ["runs.csv"]
[run_key]
columns = ["run"]
[[knobs]]
name = "lr"
scale = "log"
[[knobs]]
name = "batch_size"
scale = "integer"
[[fidelity]]
name = "params"
[[fidelity]]
name = "tokens"
[objective]
name = "val_loss"
direction = "min"
[replica]
column = "seed"
[cost]
flops = "6 * params * tokens"
"""


def ask(places: Places, name: str, text: str) -> None:
    folder = places.local / "questions"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text(text)


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Places:
    """A home in which a sweep has landed, with one good question and two bad ones."""
    folder = tmp_path_factory.mktemp("questions")
    places = resolve(str(folder / "home")).prepare()
    mappings = Path(places.home) / "mappings"
    mappings.mkdir()
    (mappings / "team.toml").write_text(MAPPING)
    ingest([write_sweep(folder)], places.home)
    ask(places, "next", 'source = "team"\ntarget = "params=1e9,tokens=2e10"\n')
    ask(places, "no-such", 'source = "other"\ntarget = "params=1e9"\n')
    ask(places, "typo", 'soruce = "team"\ntarget = "params=1e9"\n')
    return places


@pytest.fixture(scope="module")
def answered(places):
    return {one.name: one for one in answer_all(places)}


def test_answer_all__good_question__is_kept_with_its_page(places, answered):
    one = answered["next"]
    assert one.is_new and one.entry.advice_id in ledger.advice_ids(places.home)
    page = ledger.read_page(one.page)
    assert "What to run" in page and SECRET not in page
    row = one.row()
    assert row["source"] == "team" and "lr 0.0" in row["answer"]
    assert "to" in row["expected"]


def test_answer_all__bad_questions__say_why_and_hold_up_no_other(answered):
    assert "unknown source 'other'" in answered["no-such"].problem
    typo = answered["typo"].problem
    assert "soruce" in typo and "Fields: source" in typo
    assert set(answered["typo"].row()) == set(answered["next"].row())


def test_answer_all__nothing_landed_since__is_the_same_advice(places, answered):
    again = {one.name: one for one in answer_all(places)}
    assert not again["next"].is_new
    assert again["next"].entry == answered["next"].entry


def test_asked__question_of_the_home__goes_on_in_a_terminal(places, answered):
    from typer.testing import CliRunner

    from autollm.cli.main import app

    advice_id = answered["next"].entry.advice_id
    done = CliRunner().invoke(
        app,
        ["recommend", "--continue", advice_id, "--json", "--home", places.home],
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["recommendations"][0]["configuration"]
    first = answered["next"].entry.answer["recommendations"][0]
    assert told == first["configuration"]


def test_mirror__advice_then_its_outcome__stand_in_one_run(places, answered):
    pytest.importorskip(
        "mlflow", reason="the extra `pipeline` is not installed"
    )
    from autollm.tracking import Tracker

    entry = answered["next"].entry
    assert mirror(places) == [], "no store, and none was asked for"
    assert mirror(places, make=True) == [entry.advice_id]
    assert mirror(places, make=True) == []
    tracker = Tracker(places)
    run = tracker.find("advice", entry.advice_id)
    first = entry.answer["recommendations"][0]
    assert run.data.params["configuration.lr"] == str(
        first["configuration"]["lr"]
    )
    assert run.data.params["target.params"] == "1000000000.0"
    for bound in ("mean", "low", "high"):
        logged = run.data.metrics[f"predicted_{bound}"]
        assert logged == pytest.approx(first["predicted"][bound])
    listed = [f.path for f in tracker.client.list_artifacts(run.info.run_id)]
    assert sorted(listed) == ["advice.json", "page.html"]
    outcome = first["predicted"]["mean"]
    told = ReportedRun(first["configuration"], outcome, rank=1)
    ledger.tell(places.home, entry.advice_id, told)
    assert mirror(places) == [entry.advice_id]
    again = tracker.find("advice", entry.advice_id)
    assert again.info.run_id == run.info.run_id
    assert again.data.metrics["outcome"] == pytest.approx(outcome)
    assert again.data.metrics["inside"] == 1.0
    for name in listed:
        path = tracker.client.download_artifacts(run.info.run_id, name)
        assert SECRET not in Path(path).read_text()
