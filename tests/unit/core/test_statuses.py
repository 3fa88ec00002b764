import pytest

from autollm.core.statuses import _WORDS, STATUS_OF_WORD, STATUSES, status_of


@pytest.mark.parametrize(
    "word, status",
    [
        ("FINISHED", "finished"),
        ("COMPLETE", "finished"),
        ("TrialState.PRUNED", "pruned"),
        ("TERMINATED", "finished"),
        ("crashed", "failed"),
        ("Out Of Memory", "failed"),
        (" timed-out ", "killed"),
        ("CANCELLED by 1000", "killed"),
        ("CANCELLED+", "killed"),
        ("SCHEDULED", "running"),
        ("discard", "finished"),
    ],
)
def test_status_of__words_that_tools_write__is_their_status(word, status):
    assert status_of(word) == status


@pytest.mark.parametrize("word", ["", "great", "0", 0, None, True, "finished?"])
def test_status_of__anything_else__is_not_guessed(word):
    assert status_of(word) is None


def test_words__no_two_statuses__share_one():
    assert len(STATUS_OF_WORD) == sum(len(words) for words in _WORDS.values())
    assert set(STATUS_OF_WORD.values()) == set(STATUSES)
