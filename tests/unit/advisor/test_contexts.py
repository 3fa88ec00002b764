from __future__ import annotations

import math

import pytest

from autollm.advisor.answering.doubts import doubts
from autollm.advisor.evidence.evidence import LogOptions, read_evidence
from autollm.advisor.recommend import explore, recommend
from autollm.core.errors import QuestionError
from tests.unit.advisor.sweeps import LEVELS, best_rate, rows_of, write_csv

TARGET = "params=1.6B,tokens=60B"


def two_tokenizers(folder):
    """Rows of two tokenizers; under `byte` the best rate is two octaves lower, and
    half of the rows are left out."""
    rows = rows_of()
    for row in rows:
        row["tokenizer"] = "bpe"
    lower = []
    for row in rows_of()[::2]:
        moved = dict(row, tokenizer="byte", run_id=f"b{row['run_id']}")
        moved["lr"] = f"{float(row['lr']) / 4:.6g}"
        lower.append(moved)
    return write_csv(folder / "runs.csv", rows + lower)


@pytest.mark.parametrize(("context", "octaves"), [("bpe", 0), ("byte", -2)])
def test_context__said__is_the_one_that_counts(tmp_path, context, octaves):
    path = two_tokenizers(tmp_path)
    said = LogOptions("val_loss:min", context={"tokenizer": context})
    advice = recommend(path, TARGET, said=said, trials=1)
    rate = math.log2(advice.recommendations[0].configuration["lr"])
    assert rate == pytest.approx(best_rate(1.6e9, 6e10) + octaves, abs=0.5)


def test_context__not_said__most_outcomes_and_how_to_ask_for_another(tmp_path):
    found, advice = explore(
        two_tokenizers(tmp_path),
        TARGET,
        said=LogOptions("val_loss:min"),
        trials=1,
    )
    assert found.evidence.context["tokenizer"] == "bpe"
    (warning,) = [w for w in advice.warnings if w.code == "context"]
    assert "--context tokenizer=byte" in warning.text


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"tokenizer": "bpf"}, "Known: tokenizer: bpe, byte"),
        ({"tok": "bpe"}, "tok"),
    ],
)
def test_context__that_no_run_has__is_wrong_usage(tmp_path, context, said):
    path = two_tokenizers(tmp_path)
    with pytest.raises(QuestionError, match="tok") as caught:
        read_evidence([path], LogOptions("val_loss:min", context=context))
    assert said in str(caught.value)


def test_context__one_a_size__is_confounded(tmp_path):
    rows = rows_of()
    for row in rows:
        row["tokenizer"] = "bpe" if row["params"] < 4e8 else "byte"
    path = write_csv(tmp_path / "runs.csv", rows)
    evidence = read_evidence([path], LogOptions("val_loss:min"))
    assert "confounded-context" in {code for code, _ in evidence.notes}
    found, _ = explore(evidence, TARGET, trials=1)
    assert "confounded" in {w.code for w in doubts(found)}


def declared(folder, parametrization, levels=LEVELS):
    rows = rows_of(levels)
    for row in rows:
        row["parametrization"] = parametrization
    return write_csv(folder / "runs.csv", rows)


def test_parametrization__mup_and_one_scale__the_rate_stays(tmp_path):
    rates = {}
    for name in ("mup", "standard"):
        folder = tmp_path / name
        folder.mkdir()
        path = declared(folder, name, LEVELS[-1:])
        said = LogOptions("val_loss:min")
        advice = recommend(path, "params=12.8B,tokens=40B", said=said, trials=1)
        rates[name] = math.log2(advice.recommendations[0].configuration["lr"])
    here = best_rate(*LEVELS[-1])
    assert rates["mup"] == pytest.approx(here, abs=0.3)
    assert rates["standard"] == pytest.approx(
        here - 2, abs=0.5
    )  # 16 times larger


def test_parametrization__mup_and_a_rate_that_moves__is_contradicted(tmp_path):
    said = LogOptions("val_loss:min")
    advice = recommend(declared(tmp_path, "muP"), TARGET, said=said, trials=1)
    laws = {(law["knob"], law["per"]): law for law in advice.laws}
    assert laws["lr", "params"]["null"] == "still"
    assert laws["lr", "params"]["contradicts_null"] is True
    assert "null" not in laws["lr", "tokens"]
    assert "null" not in laws["batch_size", "params"]
    assert "parametrization" in {w.code for w in advice.warnings}


def test_parametrization__standard__has_no_null(tmp_path):
    said = LogOptions("val_loss:min")
    path = declared(tmp_path, "standard")
    advice = recommend(path, TARGET, said=said, trials=1)
    assert not any("null" in law for law in advice.laws)
