"""The ledger: whose advice is meant, what was followed, and what is damaged."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest

from autollm.advisor.answer import Interval
from autollm.advisor.kept import ledger
from autollm.advisor.kept.ledger import ReportedRun
from autollm.core.errors import QuestionError, SetupError, UnknownNameError
from autollm.core.sealed import write_sealed
from tests.unit.advisor.test_ledger import advice

ASKED = {"runs": ["runs.csv"], "target": "params=1e9"}


@pytest.fixture(params=["disk", "memory"])
def home(request, tmp_path):
    """A home on each kind of file system."""
    if request.param == "disk":
        yield str(tmp_path / "with space [1]")
        return
    from autollm.core.files import exists, remove

    yield "memory://ledger-of-a-test"
    if exists("memory://ledger-of-a-test"):
        remove("memory://ledger-of-a-test")


def several(n=3):
    """An advice of n recommendations, each of its own interval."""
    one = advice()
    proposals = []
    for rank in range(1, n + 1):
        proposals.append(
            replace(
                one.recommendations[0],
                rank=rank,
                configuration={"lr": rank * 0.001, "opt": "adam", "big": True},
                predicted=Interval(2.0 + rank, 1.5 + rank, 2.5 + rank),
            )
        )
    return advice(recommendations=tuple(proposals))


def test_save_and_load__question_and_answer__come_back(home):
    one = advice()
    advice_id = ledger.save(home, one, ASKED)
    entry = ledger.load(home, advice_id)
    assert entry.advice_id == advice_id == one.advice_id
    assert entry.asked == ASKED and entry.told == ()
    assert entry.answer == json.loads(json.dumps(one.to_json()))


def test_save__twice__the_first_stays(home):
    one = advice()
    ledger.save(home, one, ASKED)
    first = ledger.load(home, one.advice_id)
    ledger.save(home, one, {"runs": ["other.csv"]})
    assert ledger.load(home, one.advice_id) == first


def test_load__beginning_of_an_id__is_enough_where_it_is_alone(home):
    ids = [ledger.save(home, advice(number), ASKED) for number in range(4)]
    assert ledger.advice_ids(home) == sorted(ids)
    for one in ids:
        assert ledger.load(home, one[:12]).advice_id == one


@pytest.mark.parametrize("asked", ["", "zzz", "..", "../advice", "/", "*"])
def test_load__no_advice_of_that_name__names_those_there_are(home, asked):
    one = ledger.save(home, advice(), ASKED)
    with pytest.raises(UnknownNameError, match=one):
        ledger.load(home, asked)


def test_load__home_without_advice__says_none(home):
    assert ledger.advice_ids(home) == []
    with pytest.raises(UnknownNameError, match="Known: none"):
        ledger.load(home, "abc")


def test_tell__several_runs__stand_in_order(home):
    one = ledger.save(home, advice(), ASKED)
    for number in range(3):
        entry, _ = ledger.tell(
            home, one, ReportedRun({"lr": number}, 2.0 + number)
        )
    assert [told.outcome for told in entry.told] == [2.0, 3.0, 4.0]
    assert ledger.load(home, one) == entry


def test_tell__many_at_once__lose_none(tmp_path):
    home = str(tmp_path)
    one = ledger.save(home, advice(), ASKED)
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda n: ledger.tell(
                    home, one, ReportedRun({"lr": n}, float(n))
                ),
                range(8),
            )
        )
    told = ledger.load(home, one).told
    assert sorted(t.outcome for t in told) == [float(n) for n in range(8)]


@pytest.mark.parametrize("outcome", [math.nan, math.inf, -math.inf])
def test_told__outcome_that_is_no_number__says_how_to_tell_it(outcome):
    """A loss of nan is a divergence, and would spoil every comparison of outcomes."""
    with pytest.raises(QuestionError, match=r"Fix: .*status diverged"):
        ReportedRun({"lr": 1.0}, outcome)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Finished", "finished"),
        ("CANCELLED by 1000", "killed"),
        ("OOM", "failed"),
    ],
)
def test_told__word_of_a_tool__is_one_of_our_statuses(word, status):
    assert ReportedRun({"lr": 1.0}, None, word).status == status


@pytest.mark.parametrize("status", ["", "unknown", "crumpled"])
def test_told__unknown_status__names_the_known(status):
    with pytest.raises(QuestionError, match="expected one of finished"):
        ReportedRun({"lr": 1.0}, 2.0, status)


@pytest.mark.parametrize(
    ("configuration", "rank"),
    [
        ({"lr": 0.001, "opt": "adam", "big": True}, 1),
        ({"lr": 0.002, "opt": "adam", "big": True}, 2),
        ({"lr": 0.00200004, "opt": "adam", "big": True}, 2),
        ({"big": True, "opt": "adam", "lr": 0.003}, 3),
        ({"lr": 0.0021, "opt": "adam", "big": True}, 0),
        ({"lr": 0.001, "opt": "sgd", "big": True}, 0),
        ({"lr": 0.001, "opt": "adam", "big": 1}, 0),
        ({"lr": 0.001, "opt": "adam"}, 0),
        ({"lr": 0.001, "opt": "adam", "big": True, "seed": 1}, 0),
        ({}, 0),
    ],
)
def test_followed__four_digits__tell_which_recommendation_it_is(
    home, configuration, rank
):
    entry = ledger.load(home, ledger.save(home, several(), ASKED))
    assert ledger.followed(entry, configuration) == rank


def test_score__runs_of_all_kinds__are_counted_once(home):
    one = ledger.save(home, several(), ASKED)
    for told in (
        ReportedRun({"lr": 1}, 3.1, rank=1),
        ReportedRun({"lr": 2}, 9.0, rank=2),
        ReportedRun({"lr": 2}, 9.0, rank=2, run="again"),
        ReportedRun({"lr": 3}, 2.9, rank=0),
        ReportedRun({"lr": 4}, None, "diverged", rank=3),
        ReportedRun({"lr": 5}, 1.0, "killed", rank=1),
        ReportedRun({"lr": 6}, 1.0, "running"),
        ReportedRun({"lr": 7}, None, "failed"),
    ):
        entry, _ = ledger.tell(home, one, told)
    assert ledger.score(entry) == {
        "n_told": 8,
        "n_followed": 5,
        "n_diverged": 1,
        "n_censored": 2,
        "best_outcome": 2.9,
        "n_scored": 2,
        "n_inside": 1,
    }


def test_tell__same_run_again__replaces_what_was_told(home):
    one = ledger.save(home, several(), ASKED)
    first = ReportedRun({"lr": 0.001}, None, "running", rank=1)
    ledger.tell(home, one, first)
    for outcome in (3.1, 3.2):
        entry, before = ledger.tell(
            home, one, ReportedRun({"lr": 0.0010000004}, outcome, rank=1)
        )
        assert [run.outcome for run in entry.told] == [outcome]
        assert before == first
        first = entry.told[0]
    assert ledger.score(entry)["n_scored"] == 1


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (ReportedRun({"lr": 1}, None, "diverged"), "told as finished with 3.1"),
        (ReportedRun({"lr": 1}, 3.0, "running"), "now is running with 3"),
        (ReportedRun({"lr": 2}, 3.1, run="a"), "told with {'lr': 1}"),
    ],
)
def test_tell__what_contradicts_itself__is_refused_with_the_remedy(
    home, told, words
):
    one = ledger.save(home, several(), ASKED)
    ledger.tell(home, one, ReportedRun({"lr": 1}, 3.1))
    ledger.tell(home, one, ReportedRun({"lr": 1}, 3.1, run="a"))
    with pytest.raises(QuestionError) as refused:
        ledger.tell(home, one, told)
    assert words in str(refused.value) and "--forget" in str(refused.value)
    assert len(ledger.load(home, one).told) == 2


def test_forget__run_that_was_told__is_gone(home):
    one = ledger.save(home, several(), ASKED)
    ledger.tell(home, one, ReportedRun({"lr": 1}, 3.1))
    ledger.tell(home, one, ReportedRun({"lr": 1}, 3.2, run="a"))
    entry = ledger.forget(home, one, ReportedRun({}, None, "running", run="a"))
    assert [run.outcome for run in entry.told] == [3.1]
    with pytest.raises(QuestionError, match="nothing was told"):
        ledger.forget(home, one, ReportedRun({"lr": 9}, None, "running"))


def test_load__home_that_repeats_a_run__counts_it_once(home):
    one = ledger.save(home, several(), ASKED)
    twice = [asdict(ReportedRun({"lr": 1}, v, rank=1)) for v in (3.0, 3.1)]
    url = f"{home}/advice/{one}/told.json"
    write_sealed(url, {"schema": ledger.SCHEMA, "told": twice})
    assert [run.outcome for run in ledger.load(home, one).told] == [3.1]


def test_score__more_is_better__best_is_the_highest(home):
    up = advice(objective={"name": "acc", "direction": "max", "unit": ""})
    one = ledger.save(home, up, ASKED)
    for lr, outcome in enumerate((0.5, 0.7, 0.6)):
        entry, _ = ledger.tell(home, one, ReportedRun({"lr": lr}, outcome))
    assert ledger.score(entry)["best_outcome"] == 0.7


def test_score__nothing_predicted__is_counted_and_not_scored(home):
    bare = replace(advice().recommendations[0], predicted=None)
    one = ledger.save(home, advice(recommendations=(bare,)), ASKED)
    entry, _ = ledger.tell(home, one, ReportedRun({"lr": 0.001}, 2.0, rank=1))
    found = ledger.score(entry)
    assert (found["n_followed"], found["n_scored"], found["n_inside"]) == (
        1,
        0,
        0,
    )


def test_score__nothing_told__has_no_best_outcome(home):
    entry = ledger.load(home, ledger.save(home, advice(), ASKED))
    assert ledger.score(entry)["best_outcome"] is None


@pytest.mark.parametrize("name", ["advice.json", "told.json"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"2.0", b"1.0", 1),
        lambda data: b"[]",
        lambda data: b"{}",
        lambda data: b"\xff\xfe\x00",
        lambda data: b'{"told": [{"speed": 3}]}',
        lambda data: b'{"told": 3}',
    ],
    ids=["empty", "half", "altered", "list", "bare", "bytes", "odd", "number"],
)
def test_load__damaged_file__names_it_and_the_remedy(tmp_path, name, damage):
    """A prediction that was changed after the outcome must not be scored."""
    one = ledger.save(str(tmp_path), advice(), ASKED)
    ledger.tell(str(tmp_path), one, ReportedRun({"lr": 0.001}, 2.0, rank=1))
    path = tmp_path / "advice" / one / name
    data = path.read_bytes()
    assert damage(data) != data
    path.write_bytes(damage(data))
    with pytest.raises(SetupError, match=rf"{name}.*Fix: restore the file"):
        ledger.load(str(tmp_path), one)


def test_load__of_an_older_version__is_read_without_a_digest(tmp_path):
    one = ledger.save(str(tmp_path), advice(), ASKED)
    path = tmp_path / "advice" / one / "advice.json"
    raw = json.loads(path.read_text())
    del raw["sha256"]
    path.write_text(json.dumps(raw))
    assert ledger.load(str(tmp_path), one).asked == ASKED


def test_advice_ids__folders_of_others__are_not_among_them(tmp_path):
    one = ledger.save(str(tmp_path), advice(), ASKED)
    (tmp_path / "advice" / "notes").mkdir()
    (tmp_path / "advice" / "readme.txt").write_text("mine")
    half = tmp_path / "advice" / "0123456789abcdef"
    half.mkdir()
    (half / ".tmp-advice.json").write_text("{")
    assert ledger.advice_ids(str(tmp_path)) == [one]


def test_entries__several__are_the_oldest_first(home):
    ids = [ledger.save(home, advice(number), ASKED) for number in range(3)]
    found = ledger.entries(home)
    assert sorted(e.advice_id for e in found) == sorted(ids)
    times = [e.saved_at for e in found]
    assert times == sorted(times)
    assert ledger.summary(found[0])["n_told"] == 0
