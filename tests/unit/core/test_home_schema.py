"""Which version of autollm a home is of."""

from __future__ import annotations

import json

import pytest

from autollm.core.errors import SetupError
from autollm.core.places import HOME_SCHEMA, resolve


def test_prepare__new_or_older_home__is_noted(tmp_path) -> None:
    resolve(tmp_path).prepare()
    assert (
        json.loads((tmp_path / "home.json").read_text())["schema"]
        == HOME_SCHEMA
    )
    resolve(tmp_path).prepare()


def test_resolve__home_of_a_newer_version__is_refused(tmp_path) -> None:
    (tmp_path / "home.json").write_text(json.dumps({"schema": HOME_SCHEMA + 1}))
    with pytest.raises(
        SetupError, match=r"home\.json.*newer autollm.*Fix: pip"
    ):
        resolve(tmp_path)


def test_resolve__damaged_note__says_what_to_do(tmp_path) -> None:
    (tmp_path / "home.json").write_text("")
    with pytest.raises(SetupError, match=r"home\.json is damaged.*Fix: remove"):
        resolve(tmp_path)


def test_prepare__home_in_a_store__is_noted_there(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("AUTOLLM_LOCAL_HOME", str(tmp_path))
    places = resolve("memory://home-schema").prepare()
    assert places.home == "memory://home-schema"
    assert not (tmp_path / "home.json").exists()
