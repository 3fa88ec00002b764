"""Who gives a second opinion: the shipped agent really plays, and what cannot be asked is
said.
"""

import pytest

from autollm.core.errors import SetupError, UnknownNameError
from autollm.core.places import resolve
from autollm.stages.players import opinions_where_possible, second_opinion
from tests.unit.advisor.studies import study_of


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return study_of(tmp_path_factory.mktemp("players"))


@pytest.fixture
def places(tmp_path):
    return resolve(str(tmp_path / "home")).prepare()


def test_second_opinion__shipped_agent__plays_and_proposes(places, found):
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    said = second_opinion(places, found, "agent-tiny-base")
    assert set(said["configuration"]) == {"lr", "batch_size"}
    calls = [turn["call"] for turn in said["transcript"] if turn["call"]]
    assert calls[0].startswith("run_experiment")
    assert 0 < said["numbers_traced"] <= said["numbers"]


def test_second_opinion__nobody_of_that_name__names_who_there_is(places, found):
    with pytest.raises(UnknownNameError, match="agent-tiny-base"):
        second_opinion(places, found, "agent-tiny-bass")
    with pytest.raises(SetupError, match="chat:MODEL@URL"):
        second_opinion(places, found, "chat:no-address")


def test_opinions_where_possible__one_that_cannot_be_asked__says_why(
    places, found
):
    (said,) = opinions_where_possible(places, found, ["agent-none"])
    assert said["configuration"] is None and "agent-none" in said["problem"]


def test_opinions_where_possible__home_without_a_training__asks_nobody(
    places, found
):
    assert opinions_where_possible(places, found, None) == ()
