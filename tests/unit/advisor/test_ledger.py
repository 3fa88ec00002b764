"""The ledger: frozen, whole or absent, scored; and when its record sets intervals."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autollm.advisor.answer import Advice, Interval, Proposal, Target
from autollm.advisor.kept import ledger
from autollm.advisor.kept.calibration import (
    LEAST,
    half_widths,
    recalibrated,
    record,
    record_of,
)
from autollm.advisor.kept.ledger import ReportedRun

OUTCOMES = (2.0, 2.01, 1.99, 2.02, 1.98, 2.05, 2.2, 1.9, 2.3)
"""Nine, the furthest three half widths from the mean of 2.0 +- .1."""


def advice(number: int = 0, **changes) -> Advice:
    """An advice of its own id, predicting 2.0 (1.9 to 2.1)."""
    first = Proposal(
        1,
        {"lr": 0.001 + number},
        None,
        Interval(2.0, 1.9, 2.1),
        Interval(0.1, 0.0, 0.2),
        None,
        None,
        None,
        "why",
    )
    fields = {
        "source": "runs",
        "table_id": f"table-{number}",
        "basis": "evidence",
        "objective": {"name": "val_loss", "direction": "min", "unit": ""},
        "target": Target({"params": 1e9}, 1e20, 8.0, 1.0, 0.0),
        "assumptions": (),
        "constants": {},
        "can_answer": (),
        "recommendations": (first,),
        "checked": None,
        "decided_by": {},
        "evidence": {},
        "laws": (),
        "loss_law": None,
        "warnings": (),
        "command": "",
    }
    return Advice(**(fields | changes))


def told_home(folder: Path, outcomes, status: str = "finished") -> str:
    """A home with an advice an outcome, each followed and told of."""
    home = str(folder)
    for number, outcome in enumerate(outcomes):
        one = ledger.save(home, advice(number), {"runs": []})
        told = ReportedRun({"lr": 0.001 + number}, outcome, status, rank=1)
        ledger.tell(home, one, told)
    return home


def test_record__eight_outcomes__changes_nothing(tmp_path):
    home = told_home(tmp_path, OUTCOMES[:-1])
    found = record_of(home)
    assert (found.n_scored, found.factor) == (8, None)
    again = recalibrated(advice(99), found)
    assert again.recommendations == advice(99).recommendations
    assert again.calibration["n_scored"] == 8


def test_record__nine_outcomes__widen_to_hold_them(tmp_path):
    assert LEAST == 9
    found = record_of(told_home(tmp_path, OUTCOMES))
    assert found.factor == pytest.approx(3.0) and found.n_inside == 7
    wide = recalibrated(advice(99), found).recommendations[0].predicted
    assert (wide.mean, wide.low) == (2.0, pytest.approx(1.7))
    assert wide.high == pytest.approx(2.3)


def test_record__of_nineteen__one_far_miss_is_left_out(tmp_path):
    outcomes = [2.05] * 18 + [9.0]
    assert record_of(told_home(tmp_path, outcomes)).factor == pytest.approx(0.5)


@pytest.mark.parametrize("status", ["killed", "pruned", "running"])
def test_record__stopped_runs__are_censored_and_not_scored(tmp_path, status):
    home = told_home(tmp_path, [None] * 12, status)
    found = record_of(home)
    assert (found.n_scored, found.n_censored, found.factor) == (0, 12, None)
    assert ledger.score(ledger.entries(home)[0])["n_censored"] == 1


def test_record__what_was_told_at_a_censored_run__is_no_outcome(tmp_path):
    home = told_home(tmp_path, [7.0] * 12, "killed")
    assert record_of(home).n_scored == 0
    assert ledger.summary(ledger.entries(home)[0])["best_outcome"] is None


def test_record__not_followed_or_told_twice__counts_once_or_not(tmp_path):
    home = str(tmp_path)
    one = ledger.save(home, advice(), {})
    ledger.tell(home, one, ReportedRun({"lr": 9.0}, 2.0, rank=0))
    ledger.tell(home, one, ReportedRun({"lr": 0.001}, 2.0, rank=1))
    ledger.tell(home, one, ReportedRun({"lr": 0.001}, 3.0, rank=1))
    assert record_of(home).n_scored == 1


def test_record__intervals_widened_before__are_measured_by_the_library(
    tmp_path,
):
    home = str(tmp_path)
    for number in range(9):
        first = recalibrated(advice(number), record([]))
        wide = Interval(2.0, 1.8, 2.2)
        proposal = first.recommendations[0].__class__(
            **{**vars(first.recommendations[0]), "predicted": wide}
        )
        saved = advice(
            number,
            recommendations=(proposal,),
            calibration={"factor": 2.0},
        )
        one = ledger.save(home, saved, {})
        ledger.tell(home, one, ReportedRun({"lr": 0.001 + number}, 2.2, rank=1))
    assert record_of(home).factor == pytest.approx(2.0)


def test_half_widths__lopsided_interval__by_its_own_side():
    bounds = {"mean": 2.0, "low": 1.9, "high": 2.4}
    assert half_widths(1.8, bounds) == pytest.approx(2.0)
    assert half_widths(2.2, bounds) == pytest.approx(0.5)


def test_save__again_with_another_page__the_first_stays(tmp_path):
    home = str(tmp_path)
    one = ledger.save(home, advice(), {"runs": []}, "<p>first</p>")
    ledger.save(home, advice(), {"runs": ["other"]}, "<p>second</p>")
    assert ledger.read_page(ledger.page_url(home, one)) == "<p>first</p>"
    assert ledger.load(home, one).asked == {"runs": []}


WRITER = """
import sys
from autollm.advisor.kept import ledger
from autollm.advisor.kept.ledger import ReportedRun
from tests.unit.advisor.test_ledger import advice
home, page = sys.argv[1], "<html>" + "x" * 400_000 + "</html>"
print("ready", flush=True)
for number in range(100_000):
    one = ledger.save(home, advice(number), {"runs": []}, page)
    ledger.tell(home, one, ReportedRun({"lr": 0.001 + number}, 2.0, rank=1))
"""


def test_ledger__writer_killed_at_random_moments__is_whole_or_absent(tmp_path):
    rng = random.Random(0)
    home = str(tmp_path / "home")
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, home],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        assert writer.stdout.readline()
        time.sleep(rng.uniform(0.02, 0.3))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        for entry in ledger.entries(home):
            page = ledger.read_page(ledger.page_url(home, entry.advice_id))
            assert page.endswith("</html>")
            assert all(run.outcome == 2.0 for run in entry.told)
    known = ledger.advice_ids(home)
    assert known, "nothing was written before the kills"
    ledger.tell(
        home, known[0], ReportedRun({"lr": 1.0}, 2.0)
    )  # no lock is left behind
