"""The job's inbox: a table without a mapping is guessed there as `autollm ingest` does."""

import json

import pytest

from autollm.core.errors import RecordError
from autollm.core.places import resolve
from autollm.logs.choosing.guesses import Guess, nobody, problems_of
from autollm.logs.lake.bronze import Bronze
from autollm.stages.landing import land
from autollm.stages.settings import Settings
from tests.unit.logs.landed import rows
from tests.unit.logs.raw_logs import run_bytes, write

NOTHING_ELSE = Settings(embedded=False, public=False)


@pytest.fixture
def places(tmp_path, monkeypatch):
    for name in ("AUTOLLM_DATA_DIR", "AUTOLLM_MLFLOW_SOURCE"):
        monkeypatch.delenv(name, raising=False)
    return resolve(tmp_path / "home").prepare()


def sweep_csv(outcome="val_loss", loss=0.0):
    """A sweep of four rates at three sizes, as people write them."""
    lines = [f"run,learning_rate,n_params,{outcome}"]
    for size in range(1, 4):
        for i in range(4):
            value = 4 - 0.3 * size + 0.1 * (i - 1.5) ** 2 + loss
            lines.append(
                f"r{size}{i},{2.0 ** -(6 + i)},{10**6 * 4**size},{value:.4f}"
            )
    return ("\n".join(lines) + "\n").encode()


def test_land__table_without_a_mapping_in_the_inbox__is_guessed_kept_and_told(
    places,
):
    write(places.inbox, "team.csv", sweep_csv())
    said = []
    report = land(places, NOTHING_ELSE, said.append)
    assert report.n_runs == 12 and report.n_ignored == 0
    assert {r["source"] for r in rows(places.home, "runs")} == {"team"}
    run = rows(places.home, "runs")[0]
    assert json.loads(run["config_json"]) == {"learning_rate": 2.0**-6}
    assert run["objective_name"] == "val_loss"
    assert run["objective_direction"] == "min"
    kept = (
        resolve(places.home).prepare().inbox.parent / "mappings" / "team.toml"
    )
    assert kept.read_text().startswith("# Guessed by `autollm ingest`")
    (told,) = [line for line in said if line.startswith("mapping kept: ")]
    assert str(kept) in told and told in report.notes
    assert any(line.startswith("team.csv: ") for line in report.notes)


def test_land__same_inbox_again__reads_nothing_anew_and_guesses_nothing(places):
    write(places.inbox, "team.csv", sweep_csv())
    write(places.inbox / "live", "r1.jsonl", run_bytes("r1"))
    first = land(places, NOTHING_ELSE)
    assert first.n_runs == 13
    again = land(places, NOTHING_ELSE)
    assert again.batch_id is None and again.n_files_skipped == 2
    assert not again.notes and again.n_runs == 0
    write(places.inbox / "more", "team.csv", sweep_csv(loss=0.5))
    third = land(places, NOTHING_ELSE)
    assert third.n_files_skipped == 2 and third.n_files_new == 1
    assert not any("mapping kept" in note for note in third.notes)


def test_land__question_that_nobody_answers__is_the_reason_and_stops_nothing(
    places,
):
    write(places.inbox, "odd.csv", sweep_csv(outcome="zeta"))
    write(places.inbox, "r1.jsonl", run_bytes("r1"))
    said = []
    report = land(places, NOTHING_ELSE, said.append)
    assert report.n_runs == 1 and report.ignored == ("odd.csv",)
    (reason,) = report.ignored_reasons
    assert "zeta" in reason and "direction" in reason
    (told,) = [line for line in said if line.startswith("not landed odd.csv: ")]
    assert reason in told and told in report.notes
    assert not (places.inbox.parent / "mappings" / "odd.toml").exists()
    # a file that grows beside it does not change what is told of this one
    write(places.inbox, "r2.jsonl", run_bytes("r2"))
    again = land(places, NOTHING_ELSE)
    assert again.ignored_reasons == (reason,) and again.n_runs == 1


def test_land__answer_given_later__lands_what_waited(places):
    from autollm.logs.choosing.guesses import Guesser
    from autollm.logs.proposals import TableOptions

    path = write(places.inbox, "odd.csv", sweep_csv(outcome="zeta"))
    write(places.inbox, "r1.jsonl", run_bytes("r1"))
    assert land(places, NOTHING_ELSE).n_runs == 1
    said = TableOptions.parse("zeta:max", None, None)
    Guesser(places.home, said, nobody, lambda text: None).guess([path])
    report = land(places, NOTHING_ELSE)
    assert report.n_runs == 12 and report.n_ignored == 0
    odd = [r for r in rows(places.home, "runs") if r["source"] == "odd"]
    assert {r["objective_direction"] for r in odd} == {"max"}


def test_land__mapping_that_a_person_corrected__is_kept_and_read_again(places):
    write(places.inbox, "team.csv", sweep_csv())
    land(places, NOTHING_ELSE)
    kept = places.inbox.parent / "mappings" / "team.toml"
    text = kept.read_text()
    family = next(x for x in text.split("\n") if x.startswith("family = "))
    corrected = text.replace(family, 'family = "finetuning"')
    kept.write_text(corrected)
    report = land(places, NOTHING_ELSE)
    assert report.again == ("team",) and kept.read_text() == corrected
    mine = rows(places.home, "runs")
    assert {run["family"] for run in mine} == {"finetuning"} and len(mine) == 12
    calm = land(places, NOTHING_ELSE)
    assert calm.again == () and calm.batch_id is None


def test_land__run_folders_of_a_tool__are_one_source_and_seen_the_second_time(
    places,
):
    for size in range(1, 4):
        for i in range(4):
            folder = places.inbox / "sweep" / f"run-{size}{i}"
            config = {"lr": 2.0 ** -(6 + i), "n_params": 10**6 * 4**size}
            write(folder, "config.json", json.dumps(config).encode())
            loss = 4 - 0.3 * size + 0.1 * (i - 1.5) ** 2
            write(
                folder, "results.json", json.dumps({"val_loss": loss}).encode()
            )
    report = land(places, NOTHING_ELSE)
    assert report.n_runs == 12
    again = land(places, NOTHING_ELSE)
    assert again.batch_id is None and again.n_files_skipped == 12
    folder = places.inbox / "sweep" / "run-40"
    write(folder, "config.json", b'{"lr": 0.004, "n_params": 4000000}')
    write(folder, "results.json", b'{"val_loss": 3.5}')
    more = land(places, NOTHING_ELSE)
    assert more.n_runs == 1 and more.n_files_skipped == 12
    write(folder, "results.json", b'{"val_loss": 3.25}')
    changed = land(places, NOTHING_ELSE)
    assert changed.n_runs_changed == 1 and changed.n_files_skipped == 12
    ((before, after),) = [(c.before, c.after) for c in changed.changed]
    assert (float(before), float(after)) == (3.5, 3.25)


def test_land__table_of_which_nothing_is_a_run__leaves_the_others_and_its_reason(
    places,
):
    write(places.inbox, "words.csv", b"a,b\nx,y\nz,w\n")
    write(places.inbox, "r1.jsonl", run_bytes("r1"))
    report = land(places, NOTHING_ELSE)
    assert report.n_runs == 1 and report.ignored == ("words.csv",)
    assert report.ignored_reasons[0]
    assert any(note.startswith("not landed words.csv") for note in report.notes)


def test_land__nothing_but_a_table_with_an_open_question__says_so(places):
    write(places.inbox, "odd.csv", sweep_csv(outcome="zeta"))
    said = []
    with pytest.raises(RecordError, match="no run has landed"):
        land(places, NOTHING_ELSE, said.append)
    assert any("zeta" in line for line in said)
    assert not Bronze(places.home).has_runs()


def test_problems_of__guesses__are_told_for_each_of_their_files():
    guesses = [
        Guess("a", ("1", "2"), (), "why"),
        Guess("b", ("3",), ()),
        Guess("c", ("4",), (), "other"),
    ]
    assert problems_of(guesses) == {"1": "why", "2": "why", "4": "other"}
    assert problems_of([]) == {} and nobody([]) == []
