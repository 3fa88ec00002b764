"""Words for how a run ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.statuses import _WORDS, STATUS_OF_WORD, STATUSES, status_of

WORDS = st.sampled_from(sorted(STATUS_OF_WORD))


def test_statuses__six__are_all_and_each_is_its_own_word():
    assert len(STATUSES) == 6
    for status in STATUSES:
        assert status_of(status) == status


def test_words__none__stands_under_two_statuses():
    assert len(STATUS_OF_WORD) == sum(map(len, _WORDS.values()))


@given(WORDS, st.sampled_from([str.upper, str.lower, str.title, str.swapcase]))
def test_status_of__any_case__is_the_same(word, change):
    assert status_of(change(word)) == STATUS_OF_WORD[word]


@given(WORDS, st.sampled_from([" ", "-", "  ", "_", " - "]))
def test_status_of__any_separator_and_space_around__is_the_same(word, mark):
    text = f"  {word.replace('_', mark)}\t"
    assert status_of(text) == STATUS_OF_WORD[word]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("TrialState.COMPLETE", "finished"),
        ("TrialState.PRUNED", "pruned"),
        ("RunStatus.FINISHED", "finished"),
        ("Status.Failed", "failed"),
        ("CANCELLED by 1000", "killed"),
        ("CANCELLED+", "killed"),
        ("CANCELLED by 10042+", "killed"),
        ("OUT_OF_MEMORY", "failed"),
        ("Timed Out", "killed"),
        ("early-stopped", "pruned"),
        ("NODE_FAIL", "failed"),
        ("In Progress", "running"),
        ("blew up", "diverged"),
    ],
)
def test_status_of__what_tools_write__is_known(text, status):
    assert status_of(text) == status


@pytest.mark.parametrize(
    "cell",
    [
        "",
        " ",
        "finish",
        "finishedd",
        "not finished",
        "unfinished business",
        "0",
        "true",
        None,
        3,
        1.0,
        True,
        ["finished"],
        b"finished",
        "by",
        "_",
        "+",
    ],
    ids=repr,
)
def test_status_of__unknown_word_or_no_word__has_no_status(cell):
    assert status_of(cell) is None


@given(st.text(max_size=30))
def test_status_of__any_text__is_a_status_or_none(text):
    assert status_of(text) in (*STATUSES, None)
