from __future__ import annotations

import numpy as np
import pytest

from autollm.advisor.judged.one_question import ask_advisor
from autollm.advisor.judged.questions import cells_of, draw, hidden_experiments
from autollm.advisor.judged.records import Records
from autollm.advisor.judged.results_markdown import spending_lines
from autollm.advisor.judged.spending import (
    BUYERS,
    by_chance,
    by_ladder,
    by_nobody,
    by_plan,
    open_market,
    spent_all,
)
from autollm.advisor.judged.summaries import spending
from tests.unit.advisor.judged.sweep import table_of


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    return hidden_experiments(table_of(tmp_path_factory.mktemp("spent")))[-1]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_cells_of__drawn__are_the_rows_that_are_shown(hidden):
    drawn = draw(hidden, 0)
    cells = cells_of(drawn)
    shown = drawn.evidence.table
    assert len(cells) == sum(len(points) for points in shown.points)
    assert {cell.experiment for cell in cells} == set(hidden.evidence)


def test_open_market__half_of_the_experiments__is_for_sale_and_not_seen(hidden):
    market = open_market(hidden, 0, 0.1)
    for_sale = set(market.left)
    assert len(for_sale) == len(hidden.evidence) // 2
    seen = market.seen().evidence.table.experiments
    hidden_ids = {hidden.experiments[e].experiment_id for e in for_sale}
    assert not hidden_ids & {e.experiment_id for e in seen}
    assert (
        market.budget == 0.1 * hidden.experiments[hidden.target].compute_flops
    )


@pytest.mark.parametrize("buy", [by_plan, by_ladder, by_chance])
def test_buyers__budget__is_never_overspent_and_runs_are_seen(hidden, buy):
    market = open_market(hidden, 0, 0.1)
    before = market.seen().evidence.table
    total = market.budget
    buy(market, rng())
    costs = [market.cost(cell.experiment) for cell in market.bought]
    assert market.bought and sum(costs) == pytest.approx(total - market.budget)
    assert market.budget >= 0
    after = market.seen().evidence.table
    n_before = sum(len(p) for p in before.points)
    assert sum(len(p) for p in after.points) == n_before + len(market.bought)
    assert len({cell.key for cell in market.bought}) == len(market.bought)


def test_by_ladder__two_rounds__take_every_experiment_before_any_twice(hidden):
    market = open_market(hidden, 0, 0.1)
    n = len(market.affordable())
    by_ladder(market, rng())
    first = [cell.experiment for cell in market.bought[:n]]
    assert len(set(first)) == n
    assert first == sorted(first, key=market.cost)


def test_by_nobody__nothing__leaves_the_advice_of_the_shown_half(hidden):
    market = open_market(hidden, 0, 0.03)
    by_nobody(market, rng())
    assert market.bought == []
    _, pick = ask_advisor(market.seen())
    assert 0 <= pick.latent_regret <= 1


def test_spent_all__every_share_and_buyer__is_told_and_kept(
    hidden, tmp_path, monkeypatch
):
    records = Records(str(tmp_path))
    found = spent_all([hidden], records)
    assert set(found[0]["regrets"]) == {"0.01", "0.03", "0.1"}
    assert set(found[0]["regrets"]["0.1"]) == set(BUYERS)
    monkeypatch.setattr("autollm.advisor.judged.spending.spent", None)
    assert spent_all([hidden], records) == found
    told = spending(found)
    assert [one.share for one in told] == [0.01, 0.03, 0.1]
    wanted = found[0]["regrets"]["0.1"]["plan"]
    assert told[-1].comparison.means["plan"].mean == wanted
    assert "| 10% |" in "\n".join(spending_lines(told))
