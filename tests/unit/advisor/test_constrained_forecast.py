"""A constraint makes no run better: what it forbids was the best that a law forecasts."""

import pytest

from autollm.advisor.options import Options
from autollm.advisor.recommend import explore

SIZES = (50e6, 100e6, 200e6, 400e6)
RATES = (5e-4, 1e-3, 2e-3)
GAP = 0.03
"""That adamw lies above muon at every size."""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    lines = ["optimizer,lr,params,tokens,val_loss"]
    for size in SIZES:
        for optimizer in ("adamw", "muon"):
            for rate in RATES:
                away = 0.05 * (rate != 1e-3)
                gap = GAP * (optimizer == "adamw")
                value = 2 + 30 * size**-0.2 + away + gap
                cells = f"{optimizer},{rate},{size:g},{20 * size:g},{value:.4f}"
                lines.append(cells)
    path = tmp_path_factory.mktemp("logs") / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def first(table, *constraints):
    options = Options(constraints=constraints)
    found = explore(table, "params=3.2B,tokens=64B", options)[1]
    return found.recommendations[0]


def test_recommend__best_category_forbidden__is_forecast_by_its_gap_above(
    table,
):
    free = first(table)
    bound = first(table, "optimizer == 'adamw'")
    assert free.configuration["optimizer"] == "muon"
    assert bound.configuration["optimizer"] == "adamw"
    above = bound.predicted.mean - free.predicted.mean
    assert GAP / 3 < above < 3 * GAP


def test_recommend__constraint_that_forbids_nothing__changes_no_forecast(table):
    bound = first(table, "lr <= 1")
    assert bound.predicted.mean == pytest.approx(first(table).predicted.mean)
