from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from autollm.advisor.judged import answers as module
from autollm.advisor.judged.answers import answer, answer_all, view_digest
from autollm.advisor.judged.future import ahead, forecasts_of
from autollm.advisor.judged.one_question import (
    ask_advisor,
    exponents,
    scored,
)
from autollm.advisor.judged.questions import draw, hidden_experiments
from autollm.advisor.judged.records import Records
from autollm.advisor.judged.results import (
    calibration,
    chances_of,
    decision,
)
from autollm.advisor.judged.results_markdown import (
    calibration_lines,
    chance_lines,
    decision_lines,
)
from autollm.advisor.judged.summaries import forecast_summaries
from tests.unit.advisor.judged.sweep import table_of
from tests.unit.advisor.sweeps import best_rate

POLICIES = ("random", "copy-nearest", "pool-centre")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("judged"))


def test_ask_advisor__known_optimum__is_found_where_nothing_was_shown(table):
    hidden = hidden_experiments(table)[-1]
    drawn = draw(hidden, 0)
    _, pick = ask_advisor(drawn)
    wanted = best_rate(**hidden.fidelity)
    found = np.log2(pick.configuration["lr"])
    assert abs(found - wanted) <= 1.0  # the grid's step
    assert pick.latent_regret < 0.2 and not pick.diverged
    assert pick.outcome in drawn.column("objective")
    assert pick.predicted[1] < pick.predicted[0] < pick.predicted[2]


def test_judged__best_and_worst_row__have_their_regret(table):
    drawn = draw(hidden_experiments(table)[-1], 0)
    found, _ = ask_advisor(drawn)
    latent = drawn.column("latent")
    for row, regret in ((np.argmin(latent), 0.0), (np.argmax(latent), 1.0)):
        configuration = drawn.space.decode(drawn.points[row])
        pick = scored(drawn, found, configuration, 0.0)
        assert pick.row == drawn.rows[row] and pick.latent_regret == regret
        assert pick.is_best == (regret == 0.0) and pick.distance < 1e-9
    failed = scored(drawn, found, {}, 0.0, "KeyError: lr")
    assert failed.latent_regret == 1.0 and failed.predicted is None


def test_answer__again__nothing_is_asked_anew(table, tmp_path, monkeypatch):
    hidden = hidden_experiments(table)[0]
    records = Records(str(tmp_path))
    first = answer(hidden, 0, POLICIES, records)
    assert set(first["picks"]) == {"recommend", *POLICIES}
    monkeypatch.setattr(module, "ask_advisor", None)
    assert answer(hidden, 0, POLICIES, records) == first
    with pytest.raises(TypeError):  # another seed is another question
        answer(hidden, 1, POLICIES, records)


def test_answer__one_policy_more__the_others_are_not_played_again(
    table, tmp_path, monkeypatch
):
    hidden = hidden_experiments(table)[0]
    records = Records(str(tmp_path))
    before = answer(hidden, 0, POLICIES[:2], records)
    played = []
    real = module.proposal_of

    def noting(drawn, policy):
        played.append(policy)
        return real(drawn, policy)

    monkeypatch.setattr(module, "proposal_of", noting)
    after = answer(hidden, 0, POLICIES, records)
    assert played == [POLICIES[2]]
    assert after["picks"]["random"] == before["picks"]["random"]


def test_view_digest__another_loss__is_another_view(table):
    view = draw(hidden_experiments(table)[0], 0).view
    first = view.evidence[0]
    moved = replace(first, loss=first.loss + 1e-9)
    other = replace(view, evidence=(moved, *view.evidence[1:]))
    assert view_digest(view) == view_digest(replace(view))
    assert view_digest(view) != view_digest(other)


def test_decision__answers_of_two_sources__are_told_with_their_numbers(
    table, tmp_path
):
    questions = hidden_experiments(table)
    answers = answer_all(questions, POLICIES, 2, Records(str(tmp_path)))
    other = []
    # the same under another name, nobody ever right there
    for one in answers:
        bad = {**one["picks"]["random"], "latent_regret": 1.0}
        picks = dict.fromkeys(one["picks"], bad)
        other.append({**one, "source": "other", "picks": picks})
    found = decision([*answers, *other])
    own = [a["picks"]["recommend"]["latent_regret"] for a in answers]
    by_question = np.array(own).reshape(2, -1)
    wanted = (by_question.mean() + 1.0) / 2
    assert found.latent.means["recommend"].mean == pytest.approx(wanted)
    assert found.by_source["random"]["other"] == 1.0
    assert found.n_questions == {
        "sweep": len(questions),
        "other": len(questions),
    }
    text = "\n".join(decision_lines(found))
    assert f"{2 * len(questions)} hidden experiments of 2 sources" in text
    assert "**not resolved**" in text or "**below .05**" in text
    lines = "\n".join(calibration_lines(calibration(answers, {})))
    assert "| recommend | outcome |" in lines
    assert "| laws of knobs | exponent |" in lines


def test_exponents__law_of_the_evidence__stands_beside_that_of_all_levels(
    table,
):
    drawn = draw(hidden_experiments(table)[-1], 0)
    study, _ = ask_advisor(drawn)
    found = exponents(drawn, study)
    told = {(law.knob, law.per): law.exponent for law in study.laws}
    assert found and all(told[e.knob, e.per] == e.exponent for e in found)
    for e in found:  # all levels are more of them, so they tell better
        assert e.fitted_high - e.fitted_low < e.high - e.low
        assert e.low < e.fitted < e.high


def _told(source: str, p: float, came: bool) -> dict:
    pick = {"p_best": p, "is_best": came, "error": ""}
    return {"source": source, "question": "q", "picks": {"recommend": pick}}


def test_chances__few_sources__are_not_verified():
    few = [_told(f"s{i}", 0.1, i == 0) for i in range(4)]
    many = [_told(f"s{i}", 0.1, i == 0) for i in range(5)]
    for answers, shown in ((few, "not verified"), (many, ".200")):
        found = chances_of(answers, ["recommend"], "p_best", "is_best")
        text = "\n".join(chance_lines("being the best row", found))
        wanted = (
            f"| recommend | {len(answers)} | {len(answers)} | .100 | {shown} |"
        )
        assert wanted in text


def test_decision__policy_that_missed_a_question__stands_apart(table, tmp_path):
    questions = hidden_experiments(table)
    answers = answer_all(questions, POLICIES, 1, Records(str(tmp_path)))
    for one in answers[1:]:
        one["picks"].pop("random")
    found = decision(answers)
    assert "random" not in found.latent.names
    assert found.partial == {"random": ("sweep",)}


def test_ahead__power_law__is_covered_and_rests_on_cheaper_levels_alone(
    table, tmp_path
):
    found = ahead(table)
    assert {a.n_seen for a in found} == {3, 4, 5, 6}
    assert all(a.octaves > 0 for a in found)
    assert np.mean([a.covered for a in found]) > 0.8
    records = Records(str(tmp_path))
    known = forecasts_of([table], records)
    (one,) = forecast_summaries(known)
    assert one.n == len(found) and one.covered.low is None
    again = forecasts_of([table], records)
    assert json.dumps([a.as_row() for a in again[0][1]]) == json.dumps(
        [a.as_row() for a in found]
    )
