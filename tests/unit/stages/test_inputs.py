"""Settings of the main job, and the fingerprint of what it could land."""

from __future__ import annotations

import os

import pytest

from autollm.core.errors import SealedError, SetupError, UnknownNameError
from autollm.stages.landing import files_below, fingerprint
from autollm.stages.settings import Settings, load_settings


def written(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_load_settings__nothing_named__are_the_defaults(monkeypatch):
    monkeypatch.delenv("AUTOLLM_SETTINGS", raising=False)
    assert load_settings() == Settings()


def test_load_settings__file__is_under_what_is_said_in_code(
    tmp_path, monkeypatch
):
    path = written(
        tmp_path, "n_seeds = 3\njobs = 1\n[training.sft]\nsteps = 9\n"
    )
    found = load_settings(path, jobs=4)
    assert (found.n_seeds, found.jobs) == (3, 4)
    assert found.training == {"sft": {"steps": 9}}
    monkeypatch.setenv("AUTOLLM_SETTINGS", str(path))
    assert load_settings().n_seeds == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff\xfe", "cannot be read"),
        (b"n_seeds = \xe9", "cannot be read"),
        ("n_seeds", "cannot be read"),
        ("n_seeds = 1\nn_seeds = 2", "cannot be read"),
        ("n_seed = 1", "n_seed: Extra inputs"),
        ("n_seeds = 0", "n_seeds: "),
        ('n_seeds = "many"', "n_seeds: "),
        ("jobs = -1", "jobs: "),
        ('setting = "blind"', "setting: "),
        ("policies = 3", "policies: "),
        ('policies = "random"', "policies: "),
        ("training = 3", "training: "),
    ],
)
def test_load_settings__wrong_file__says_the_file_and_what_is_wrong(
    tmp_path, text, said
):
    path = written(tmp_path, text)
    with pytest.raises(SetupError) as refused:
        load_settings(path)
    assert str(path) in str(refused.value) and said in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"policies": ["randm"]}, "Did you mean 'random'"),
        ({"stages": ["sftrl"]}, "unknown stage 'sftrl'"),
        ({"test_suites": ["lab-pretrainin-v2"]}, "Did you mean"),
        ({"train_suites": [""]}, "unknown suite ''"),
    ],
)
def test_load_settings__unknown_name__suggests_the_near_one(changes, said):
    with pytest.raises(UnknownNameError, match=said):
        load_settings(**changes)


def test_load_settings__sealed_suite__is_refused():
    with pytest.raises(SealedError):
        load_settings(test_suites=["lab-pretraining-fresh-v1"])


def test_load_settings__file_that_is_a_folder_or_absent__is_said(tmp_path):
    for path in (tmp_path, tmp_path / "absent.toml"):
        with pytest.raises(SetupError, match="cannot be read"):
            load_settings(path)


@pytest.fixture
def inbox(tmp_path):
    folder = tmp_path / "inbox"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "b.jsonl").write_text("b")
    (folder / "a.jsonl").write_text("a")
    (folder / "deep" / "er" / "c.csv").write_text("c")
    (folder / ".hidden").write_text("h")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("h")
    return folder


def test_files_below__visible_ones__sorted_at_any_depth(inbox):
    names = [p.relative_to(inbox).as_posix() for p in files_below(inbox)]
    assert names == ["a.jsonl", "b.jsonl", "deep/er/c.csv"]
    assert files_below(inbox / "a.jsonl") == []
    assert files_below(inbox / "absent") == []


def changed(inbox, change):
    """Whether a change of the folder changes its fingerprint."""
    before = fingerprint([inbox])
    assert fingerprint([inbox]) == before
    change()
    return fingerprint([inbox]) != before


def test_fingerprint__whatever_landing_could_see__changes_it(inbox):
    assert changed(inbox, lambda: (inbox / "a.jsonl").write_text("longer"))
    assert changed(inbox, lambda: (inbox / "new.csv").write_text(""))
    assert changed(inbox, lambda: (inbox / "b.jsonl").unlink())
    assert changed(inbox, lambda: os.utime(inbox / "a.jsonl", (1, 1)))
    assert changed(inbox, lambda: (inbox / "a.jsonl").rename(inbox / "z.jsonl"))


def test_fingerprint__hidden_files_and_empty_folders__change_nothing(inbox):
    assert not changed(inbox, lambda: (inbox / ".part").write_text("x"))
    assert not changed(inbox, lambda: (inbox / "empty").mkdir())


@pytest.mark.parametrize(
    "name", [b"caf\xe9.jsonl", b"\xff\xfe", "日本.csv".encode(), b"a\nb.csv"]
)
def test_fingerprint__name_of_any_bytes__is_no_foreign_error(inbox, name):
    """A name that is no UTF-8 lies in many an old folder of logs."""
    path = os.path.join(os.fsencode(inbox), name)

    def drop():
        with open(path, "wb") as file:
            file.write(b"x")

    assert changed(inbox, drop)


def test_fingerprint__files_named_one_by_one__are_as_good_as_their_folder(
    inbox,
):
    assert fingerprint([]) == fingerprint([])
    one = fingerprint([inbox / "a.jsonl"])
    assert one != fingerprint([inbox / "b.jsonl"])
    assert fingerprint([inbox]) == fingerprint(files_below(inbox))
