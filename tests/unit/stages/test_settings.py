"""The typed configuration, in files, in code and in Dagster; places."""

import pytest

from autollm.core.errors import SetupError, UnknownNameError
from autollm.core.places import TELEMETRY_OFF, resolve
from autollm.stages.settings import Settings, load_settings


def test_load_settings__file_and_changes__changes_win(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("n_seeds = 3\n[training.sft]\nsteps = 7\n")
    loaded = load_settings(path, n_seeds=5)
    assert loaded.n_seeds == 5 and loaded.training == {"sft": {"steps": 7}}


def test_load_settings__named_by_environment__is_read(tmp_path, monkeypatch):
    path = tmp_path / "s.toml"
    path.write_text("n_seeds = 3\n")
    monkeypatch.setenv("AUTOLLM_SETTINGS", str(path))
    assert load_settings().n_seeds == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n_sedes = 3", "n_sedes"),
        ("n_seeds = 0", "n_seeds"),
        ("n_seeds = [", "cannot be read"),
    ],
)
def test_load_settings__wrong_file__one_clear_line(tmp_path, text, words):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(SetupError, match=words):
        load_settings(path)


def test_load_settings__no_such_file__one_clear_line(tmp_path):
    with pytest.raises(SetupError, match="cannot be read"):
        load_settings(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test_suites": ["steplaw-dense-tpo-v1"]}, "steplaw-dense-top-v1"),
        ({"policies": ["randm"]}, "random"),
        ({"stages": ["sftrl"]}, "sft-rl"),
    ],
)
def test_load_settings__unknown_name__did_you_mean(changes, words):
    with pytest.raises(UnknownNameError, match=f"Did you mean '{words}'"):
        load_settings(**changes)


def test_job_settings__defaults__are_those_of_the_command_line():
    from pipelines.resources import JobSettings

    assert JobSettings().load() == Settings()


def test_job_settings__every_field__is_taken_over():
    from pipelines.resources import JobSettings

    assert set(Settings.model_fields) <= set(JobSettings.model_fields)


def test_resolve__home_on_memory__local_parts_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOLLM_LOCAL_HOME", str(tmp_path))
    places = resolve("memory://lake")
    assert (
        places.snapshots == "memory://lake/snapshots"
        and places.warehouse == tmp_path / "warehouse.duckdb"
    )


def test_environment__child_processes__same_home_and_no_telemetry(tmp_path):
    environment = resolve(tmp_path).environment()
    assert environment["AUTOLLM_HOME"] == str(tmp_path) and environment[
        "AUTOLLM_BRONZE"
    ] == str(tmp_path / "bronze")
    assert TELEMETRY_OFF.items() <= environment.items()
