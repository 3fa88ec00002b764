"""Questions that strangers ask: targets that were run, sweeps that diverged, budgets that
buy nothing, plans that say more than the runs.
"""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from rich.console import Console

from autollm.advisor.recommend import explore
from autollm.advisor.showing.screen import show, show_check
from tests.unit.advisor.sweeps import best_loss, rows_of, write_csv

LEVELS = ((1e8, 2e9), (2e8, 4e9), (4e8, 8e9))
RATES = 2.0 ** np.arange(-12, -7.9, 1)
FAR = "params=1.6e9,tokens=3.2e10"


def sweep(**changes):
    given = {"levels": LEVELS, "rates": RATES, "batches": (128, 256, 512)}
    return rows_of(**(given | {"noise": 0.002} | changes))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return write_csv(tmp_path_factory.mktemp("clean") / "runs.csv", sweep())


def said(advice, shown=show):
    console = Console(width=200, record=True, file=io.StringIO())
    shown(advice, console)
    return re.sub(r"\s+", " ", console.export_text())


def test_recommend__target_that_was_run__knows_what_it_reached(runs):
    """The level's own runs say more than a law through the others."""
    _, advice = explore([runs], "params=4e8,tokens=8e9")
    first = advice.recommendations[0].predicted
    assert first.high - first.low < 0.05
    assert first.low < best_loss(4e8, 8e9) + 0.005 < first.high
    for proposal in advice.recommendations[1:]:
        assert proposal.known_outcome is None


def test_recommend__all_but_one_run_diverged__says_so_and_tells_no_optimum(
    tmp_path,
):
    rows = sweep(batches=(256,))
    for number, row in enumerate(rows):
        row["val_loss"] = row["val_loss"] if number == 7 else float("nan")
    path = write_csv(tmp_path / "runs.csv", rows)
    _, advice = explore([path], FAR, said=_min())
    (rate,) = [r for r in advice.can_answer if r.question == "learning rate"]
    assert rate.answer == "no" and "1 run of one size" in rate.because
    codes = {warning.code: warning.text for warning in advice.warnings}
    assert codes["diverged"].startswith("14 of 15 runs diverged")
    assert all(law["verdict"] == "unknown" for law in advice.laws)


def _min():
    from autollm.advisor.evidence.evidence import LogOptions

    return LogOptions(objective="val_loss:min")


def test_recommend__half_of_the_runs_fine__warns_of_no_divergence(runs):
    _, advice = explore([runs], FAR, trials=1)
    assert "diverged" not in {warning.code for warning in advice.warnings}


def test_plan__budget_below_every_run__says_that_it_buys_none(runs):
    _, advice = explore([runs], FAR, trials=1, plan_budget="1e12flops")
    (nothing,) = advice.plan
    assert nothing.experiment is None
    assert "the budget pays for no run" in nothing.why


def test_check__setting_that_no_run_has__is_told_and_not_judged(runs):
    plan = {"optim.lr": 0.001, "batch_size": 512, "weight_decay": 0.1}
    more = {"seed": 3, "val_loss": 2.0, "tokens_per_param": 20}
    _, advice = explore([runs], FAR, planned=plan | more, trials=1)
    assert advice.checked.unknown == ["weight_decay"]
    text = said(advice, show_check)
    assert "weight_decay is in no run of yours, and not judged" in text


def test_acceptable__whole_numbers__have_four_digits(tmp_path):
    rows = sweep()
    for row in rows:
        row["batch_size"] = int(row["batch_size"]) * 10**6
    path = write_csv(tmp_path / "runs.csv", rows)
    _, advice = explore([path], FAR, trials=1)
    for end in advice.recommendations[0].acceptable["batch_size"]:
        assert end == float(f"{end:.4g}")


def test_show__no_hidden_scale__says_whose_interval_it_is(runs):
    text = said(explore([runs], FAR, trials=1)[1])
    assert "Regret: what a run is expected to lose" in text
    assert "No scale of yours could be hidden" in text


def test_recommend__run_told_worse_beside_a_good_one__is_the_one_at_fault(
    runs,
):
    """Alone, a bad outcome says that the target lies higher; beside a good neighbour,
    that something else went wrong there.
    """
    from autollm.advisor.kept.ledger import ReportedRun

    _, before = explore([runs], FAR)
    first, *others = before.recommendations[:3]
    level = first.predicted.mean
    bad = ReportedRun(first.configuration, level + 0.3)
    _, higher = explore([runs], FAR, tried=(bad,))
    assert higher.recommendations[0].predicted.mean > level + 0.15
    good = [ReportedRun(other.configuration, level) for other in others]
    _, both = explore([runs], FAR, tried=(bad, *good))
    assert both.recommendations[0].predicted.mean < level + 0.1
    told = [run.configuration for run in (bad, *good)]
    assert all(p.configuration not in told for p in both.recommendations)


def test_recommend__good_outcomes_told__narrow_what_is_left_open(runs):
    from autollm.advisor.kept.ledger import ReportedRun

    found, before = explore([runs], FAR, trials=5)
    level = before.recommendations[0].predicted.mean
    tried = [
        ReportedRun(p.configuration, level) for p in before.recommendations[:3]
    ]
    told, after = explore([runs], FAR, tried=tried)
    wide = before.recommendations[0].predicted
    narrow = after.recommendations[0].predicted
    assert narrow.high - narrow.low < (wide.high - wide.low) / 5
    assert told.regret_error.sd < found.regret_error.sd
