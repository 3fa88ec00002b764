"""Which context counts, on marts of a few rows written by hand."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from autollm.advisor.evidence.contexts import choose_context
from autollm.core.errors import QuestionError


def marts_of(*runs):
    """Marts of runs (context, size, has an outcome); an experiment a context and
    size."""
    listed = []
    outcomes = []
    for context, size, has_outcome in runs:
        text = None if context is None else json.dumps(context, sort_keys=True)
        experiment = f"s:{size}:{text}"
        listed.append(
            {
                "experiment_id": experiment,
                "context_json": text,
                "fidelity_json": json.dumps({"params": size}),
            }
        )
        if has_outcome:
            outcomes.append({"experiment_id": experiment, "value": 1.0})
    kinds = {"experiment_id": pa.string(), "value": pa.float64()}
    return {
        "stg_runs": pa.Table.from_pylist(listed),
        "mart_gym__outcomes": pa.Table.from_pylist(
            outcomes, schema=pa.schema(list(kinds.items()))
        ),
        "dim_spaces": pa.table({"space_id": ["x", "y"]}),
    }


def kept_of(marts):
    """Experiments that are left, by mart."""
    return {
        name: sorted(set(marts[name]["experiment_id"].to_pylist()))
        for name in ("stg_runs", "mart_gym__outcomes")
    }


def text_of(notes, code="context-left-out"):
    found = dict(notes)
    return found.get(code, "")


BPE = {"tokenizer": "bpe"}
BYTE = {"tokenizer": "byte"}


def test_choose_context__no_such_column__changes_nothing():
    marts = marts_of((BPE, 1, True))
    marts["stg_runs"] = marts["stg_runs"].drop_columns(["context_json"])
    found, notes, context = choose_context(marts, {})
    assert found is marts and notes == () and context == {}


def test_choose_context__one_context__is_kept_whole_without_a_word():
    marts = marts_of((BPE, 1, True), (BPE, 2, True), (BPE, 3, False))
    found, notes, context = choose_context(marts, {})
    assert notes == () and context == BPE
    assert found["stg_runs"].num_rows == 3


def test_choose_context__two__the_one_with_most_outcomes_is_kept():
    marts = marts_of(
        (BPE, 1, True),
        (BYTE, 1, True),
        (BYTE, 2, True),
        (BPE, 2, False),
        (BPE, 3, False),
    )
    found, notes, context = choose_context(marts, {})
    assert context == BYTE
    kept = kept_of(found)
    assert len(kept["stg_runs"]) == 2
    assert kept["stg_runs"] == kept["mart_gym__outcomes"]
    assert "--context tokenizer=bpe" in text_of(notes)


def test_choose_context__other_marts__are_left_as_they_are():
    marts = marts_of((BPE, 1, True), (BYTE, 2, True))
    found, _, _ = choose_context(marts, {})
    assert found["dim_spaces"].equals(marts["dim_spaces"])


@pytest.mark.parametrize("order", [1, -1])
def test_choose_context__as_many_outcomes__is_the_first_by_name(order):
    runs = [(BPE, 1, True), (BYTE, 1, True)][::order]
    _, _, context = choose_context(marts_of(*runs), {})
    assert context == BPE


@pytest.mark.parametrize("said", ["byte", "BYTE", "Byte"])
def test_choose_context__said__is_found_in_any_case(said):
    marts = marts_of((BPE, 1, True), (BPE, 2, True), (BYTE, 1, True))
    _, notes, context = choose_context(marts, {"tokenizer": said})
    assert context == BYTE
    assert "Fix" not in text_of(notes)


def test_choose_context__said_in_part__is_the_fitting_one_of_most_outcomes():
    marts = marts_of(
        (BPE | {"data": "v1"}, 1, True),
        (BPE | {"data": "v2"}, 1, True),
        (BPE | {"data": "v2"}, 2, True),
        (BYTE | {"data": "v1"}, 1, True),
    )
    _, _, context = choose_context(marts, {"tokenizer": "bpe"})
    assert context == BPE | {"data": "v2"}


def test_choose_context__numbers_and_flags__are_told_as_texts():
    marts = marts_of(({"seq_len": 2048, "tied": True}, 1, True))
    _, _, context = choose_context(marts, {"seq_len": "2048", "tied": "true"})
    assert context == {"seq_len": "2048", "tied": "True"}


def test_choose_context__unknown_setting__names_those_there_are():
    with pytest.raises(QuestionError, match="--context") as caught:
        choose_context(marts_of((BPE, 1, True)), {"tokeniser": "bpe"})
    assert "tokenizer" in str(caught.value)


def test_choose_context__value_of_runs_without_an_outcome__is_refused():
    marts = marts_of((BPE, 1, True), (BYTE, 1, False))
    with pytest.raises(QuestionError, match="no run with an outcome"):
        choose_context(marts, {"tokenizer": "byte"})


def test_choose_context__what_it_says_to_type__can_be_asked():
    """Of the contexts left out, one that has an outcome is told, else none."""
    marts = marts_of(
        (BPE, 1, True), (BPE, 2, True), ({"tokenizer": "a"}, 1, False)
    )
    _, notes, _ = choose_context(marts, {})
    assert "--context" not in text_of(notes)
    more = marts_of(
        (BPE, 1, True),
        (BPE, 2, True),
        ({"tokenizer": "a"}, 1, False),
        (BYTE, 1, True),
    )
    _, notes, _ = choose_context(more, {})
    assert "--context tokenizer=byte" in text_of(notes)
    _, _, context = choose_context(more, {"tokenizer": "byte"})
    assert context == BYTE


@pytest.mark.parametrize("nothing", [None, {}])
def test_choose_context__others_without_the_setting__no_empty_words(nothing):
    marts = marts_of((BPE, 1, True), (BPE, 2, True), (nothing, 1, True))
    _, notes, context = choose_context(marts, {})
    assert context == BPE
    assert "1 other context" in text_of(notes)
    assert "--context  " not in text_of(notes)


def test_choose_context__one_a_size__is_confounded():
    marts = marts_of((BPE, 1, True), (BYTE, 2, True))
    _, notes, _ = choose_context(marts, {})
    assert "tokenizer changes with scale" in text_of(
        notes, "confounded-context"
    )


def test_choose_context__one_size_of_both__is_not_confounded():
    marts = marts_of((BPE, 1, True), (BYTE, 1, True), (BYTE, 2, True))
    _, notes, _ = choose_context(marts, {})
    assert text_of(notes, "confounded-context") == ""


def test_choose_context__one_a_size__names_only_what_changes():
    same = {"data": "v1"}
    marts = marts_of((BPE | same, 1, True), (BYTE | same, 2, True))
    _, notes, _ = choose_context(marts, {})
    told = text_of(notes, "confounded-context")
    assert told.startswith("tokenizer changes")
    assert "data changes" not in told and "data and" not in told


def test_choose_context__other_one_has_no_outcome__is_not_confounded():
    marts = marts_of((BPE, 1, True), (BPE, 2, True), (BYTE, 3, False))
    _, notes, _ = choose_context(marts, {})
    assert text_of(notes, "confounded-context") == ""


def test_choose_context__one_a_size_as_often__the_largest_counts():
    marts = marts_of((BPE, 8, True), (BYTE, 2, True))
    assert choose_context(marts, {})[2] == BPE
    marts = marts_of((BPE, 2, True), (BYTE, 8, True))
    assert choose_context(marts, {})[2] == BYTE
