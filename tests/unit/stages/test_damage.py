"""Damaged notes, weights and pointers: named, and mended by the next run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from autollm.agent.checkpoint_files import (
    check_files,
    read_metadata,
    write_metadata,
)
from autollm.agent.trajectories import load_trajectories
from autollm.core.errors import CheckpointError, SetupError
from autollm.core.identity import checkpoint_digest
from autollm.core.places import resolve
from autollm.stages import agents
from autollm.stages.agents import Agent, Done, Work
from autollm.stages.settings import Settings


@pytest.fixture()
def work(tmp_path) -> Work:
    """Finished work with a checkpoint of a few files, pointed to as profile tiny's."""
    places = resolve(tmp_path).prepare()
    out = places.checkpoints / "sft-abc"
    work = Work("sft", "abc", agents.config_of(Settings()), "t", "base", out)
    write_checkpoint(work)
    return work


def write_checkpoint(work: Work) -> None:
    work.final.mkdir(parents=True)
    (work.final / "config.json").write_text("{}")
    (work.final / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (work.final / "chat_template.jinja").write_text("{{ messages }}")
    write_metadata(work.final, {"stage": "sft", "table_id": "t"})
    places = resolve(work.out.parents[1])
    done = Done(
        "sft",
        "abc",
        agents.relative(places, work.final),
        checkpoint_digest(work.final),
        "run",
        "1",
        1.0,
        {"loss": 0.5},
    )
    agents.record_done(work, done)
    agents.point_to(places, Settings(), done)


def alter(path, n_bytes: int = 2000) -> None:
    data = bytearray(path.read_bytes())
    for i in range(min(n_bytes, len(data))):
        data[-1 - i] ^= 0x41
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_check_files__weights_or_settings_altered__are_named(
    work, name
) -> None:
    check_files(work.final, checkpoint_digest(work.final))
    alter(work.final / name)
    with pytest.raises(
        CheckpointError, match=rf"{name} was altered.*Fix: restore"
    ):
        check_files(work.final)


def test_check_files__chat_template_gone__is_named(work) -> None:
    (work.final / "chat_template.jinja").unlink()
    with pytest.raises(
        CheckpointError, match=r"chat_template\.jinja is missing"
    ):
        check_files(work.final)


def test_check_files__another_checkpoint_in_its_place__is_named(work) -> None:
    recorded = checkpoint_digest(work.final)
    (work.final / "model.safetensors").write_bytes(b"others")
    write_metadata(work.final, {"stage": "sft"})
    check_files(work.final)
    with pytest.raises(CheckpointError, match=f"recorded is {recorded}"):
        check_files(work.final, recorded)


@pytest.mark.parametrize("data", [b"", b"{", b'{"schema": 1, "stage": "rl"'])
def test_read_metadata__damaged__is_named(work, data) -> None:
    (work.final / "autollm.json").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"autollm\.json is damaged"):
        read_metadata(work.final)


def test_done_of__whole__is_done_and_left_alone(work) -> None:
    agents.discard_damaged(work)
    assert agents.done_of(work).metrics == {"loss": 0.5}


@pytest.mark.parametrize("name", ["done.json", "final/model.safetensors"])
def test_done_of__damaged__is_to_do_again_from_nothing(
    work, name, caplog
) -> None:
    alter(work.out / name)
    assert agents.done_of(work) is None
    agents.discard_damaged(work)
    assert not work.out.exists() and "It is trained again" in caplog.text


def test_done_of__killed_before_it_was_noted__keeps_its_checkpoint(
    work,
) -> None:
    (work.out / "done.json").unlink()
    agents.discard_damaged(work)
    assert agents.done_of(work) is None and work.final.exists()


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b'{"stages": []}'])
def test_pointer__damaged__is_named_and_written_anew(
    work, data, tmp_path
) -> None:
    places = resolve(tmp_path)
    pointer = places.checkpoints / "agents-tiny.json"
    pointer.write_bytes(data)
    with pytest.raises(
        CheckpointError, match=r"agents-tiny\.json is damaged.*Fix"
    ):
        agents.current_agents(places, Settings())
    agents.point_to(places, Settings(), agents.done_of(work))
    found = agents.current_agents(places, Settings())
    assert [a.stage for a in found] == ["base", "sft"]


def test_pointer__of_a_newer_version__is_refused(work, tmp_path) -> None:
    places = resolve(tmp_path)
    pointer = places.checkpoints / "agents-tiny.json"
    pointer.write_text(json.dumps({"schema": 9, "stages": {}}))
    with pytest.raises(CheckpointError, match="a newer autollm wrote it"):
        agents.current_agents(places, Settings())


def test_contender__altered_weights__are_not_played(work) -> None:
    from autollm.stages.evaluation_players import contender

    agent = Agent(
        "agent-tiny-sft", "sft", work.final, checkpoint_digest(work.final)
    )
    alter(work.final / "model.safetensors")
    made = contender(agent, work.config).make_agent
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors was altered"
    ):
        made()


def test_contender__recorded_digest__is_what_answers_are_stored_under(
    work,
) -> None:
    from autollm.stages.evaluation_players import contender

    agent = Agent(
        "agent-tiny-sft", "sft", work.final, checkpoint_digest(work.final)
    )
    before = contender(agent, work.config).player
    alter(work.final / "model.safetensors")
    other = replace(agent, digest=checkpoint_digest(work.final))
    assert contender(other, work.config).player.identity != before.identity
    assert contender(agent, work.config).player == before


@pytest.mark.parametrize(
    "text", ["", "{", "[]\n", '{"metadata": {}}\n{"target"']
)
def test_load_trajectories__damaged__is_named(tmp_path, text) -> None:
    (tmp_path / "trajectories.jsonl").write_text(text)
    with pytest.raises(
        CheckpointError, match=r"trajectories\.jsonl is damaged.*Fix"
    ):
        load_trajectories(tmp_path)


def test_tracker__damaged_store__is_named(tmp_path) -> None:
    from autollm.tracking import Tracker

    places = resolve(tmp_path)
    Tracker(places)
    database = places.mlflow / "mlflow.db"
    data = database.read_bytes()
    database.write_bytes(b"x" * 100 + data[100:])
    with pytest.raises(
        SetupError, match=r"mlflow\.db is damaged.*Fix: move it away"
    ):
        Tracker(places)


def test_tracker__empty_store__is_made(tmp_path) -> None:
    from autollm.tracking import Tracker

    places = resolve(tmp_path).prepare()
    (places.mlflow / "mlflow.db").write_bytes(b"")
    assert Tracker(places).experiment("training")
