"""The dbt project's digests, what a run up to an asset holds, and how a child process
ends.
"""

from __future__ import annotations

import contextlib
import shutil
from types import SimpleNamespace

import pytest

from autollm.core.errors import SetupError, UnknownNameError
from autollm.core.places import DBT_PROJECT
from pipelines.dbt_project import (
    dbt_executable,
    incremental_digest,
    project_digest,
)
from pipelines.steps import child


@pytest.fixture
def project(tmp_path):
    """A copy of the dbt project that may be changed."""
    folder = tmp_path / "dbt"
    shutil.copytree(DBT_PROJECT, folder)
    return folder


def test_project_digest__copy_elsewhere__is_the_same(project):
    assert project_digest(project) == project_digest(DBT_PROJECT)
    assert len(project_digest(project)) == 16


@pytest.mark.parametrize("suffix", [".sql", ".yml", ".csv"])
def test_project_digest__file_changed_added_or_renamed__is_another(
    project, suffix
):
    before = project_digest(project)
    path = project / "models" / f"more{suffix}"
    path.write_text("select 1")
    added = project_digest(project)
    path.write_text("select 2")
    changed = project_digest(project)
    path.rename(project / "models" / f"other{suffix}")
    renamed = project_digest(project)
    assert len({before, added, changed, renamed}) == 4


@pytest.mark.parametrize("place", ["target/run.sql", "logs/x.yml", "README.md"])
def test_project_digest__what_a_build_leaves_or_nobody_reads__changes_nothing(
    project, place
):
    before = project_digest(project)
    path = project / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("changed")
    assert project_digest(project) == before


def incremental_models(project):
    found = []
    for path in sorted((project / "models").rglob("*.sql")):
        if "materialized='incremental'" in path.read_text():
            found.append(path)
    return found


def test_incremental_digest__model_that_keeps_rows__counts_with_its_contract(
    project,
):
    model = incremental_models(project)[0]
    before = incremental_digest(project)
    model.write_text(model.read_text() + "\n-- more")
    after = incremental_digest(project)
    contract = model.with_suffix(".yml")
    contract.write_text(contract.read_text() + "\n# more")
    assert len({before, after, incremental_digest(project)}) == 3


def test_incremental_digest__model_that_is_made_anew__does_not_count(project):
    kept = set(incremental_models(project))
    before = incremental_digest(project)
    for path in (project / "models").rglob("*.sql"):
        if path not in kept:
            path.write_text(path.read_text() + "\n-- more")
    assert incremental_digest(project) == before


def test_dbt_executable__this_environment__is_a_program_of_that_name():
    assert dbt_executable().rsplit("/", 1)[-1] == "dbt"


@pytest.fixture(scope="module")
def graph():
    from pipelines.definitions import defs

    return defs.resolve_asset_graph()


def names(keys):
    return {key.to_user_string() for key in keys}


def test_until__an_early_asset__leaves_out_what_comes_later(graph):
    from pipelines.run import until

    found = names(until("published_snapshot", graph))
    assert {"snapshot", "published_snapshot", "mart_gym__outcomes"} <= found
    assert not {"report", "champion", "held_out_scores"} & found


def test_until__marts_of_other_branches__are_built_as_a_whole(graph):
    """Tests of the warehouse compare models of different branches."""
    from pipelines.run import until

    few = names(until("stg_runs", graph))
    assert "fct_learning_curves" in few and "snapshot" not in few


def test_until__last_asset__holds_everything_before_it(graph):
    from pipelines.run import until

    assert names(until("snapshot", graph)) < names(until("report", graph))


def test_until__no_such_asset__names_the_nearest(graph):
    from pipelines.run import until

    with pytest.raises(UnknownNameError, match="Did you mean 'snapshot'"):
        until("snapshat", graph)


class Pipes:
    """What a child says to the asset that started it."""

    def __init__(self, **settings):
        self.extras = {"settings": settings}
        self.run_id = "r"
        self.errors = []
        self.log = SimpleNamespace(error=self.errors.append)


@pytest.fixture
def begun(monkeypatch, tmp_path):
    """A child process that is this one, with a home of its own."""
    pipes = Pipes()
    monkeypatch.setattr(child, "die_with_parent", lambda: None)
    monkeypatch.setattr(
        child, "open_dagster_pipes", lambda: contextlib.nullcontext(pipes)
    )
    monkeypatch.setenv("AUTOLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(child.CHATTER, raising=False)
    return pipes


def test_run_step__work_that_ends__has_places_and_settings(begun, tmp_path):
    seen = []
    child.run_step(lambda *given: seen.append(given))
    ((places, settings, pipes),) = seen
    assert places.home == str(tmp_path / "home")
    assert settings.profile == "tiny" and pipes is begun
    assert begun.errors == []


def test_run_step__error_of_the_house__is_one_line_and_code_1(begun, capsys):
    def step(places, settings, pipes):
        raise SetupError("it is so. Fix: do that.")

    with pytest.raises(SystemExit) as caught:
        child.run_step(step)
    assert caught.value.code == 1
    assert begun.errors == ["it is so. Fix: do that."]
    assert "error: it is so. Fix: do that." in capsys.readouterr().err


def test_run_step__disk_that_is_full__is_a_sentence(begun):
    def step(places, settings, pipes):
        raise OSError(28, "No space left on device", "/x/y")

    with pytest.raises(SystemExit):
        child.run_step(step)
    (said,) = begun.errors
    assert "/x/y" in said and "Errno" not in said


def test_run_step__foreign_error__is_not_hidden(begun):
    def step(places, settings, pipes):
        raise ZeroDivisionError("bug")

    with pytest.raises(ZeroDivisionError):
        child.run_step(step)


def test_run_step__what_others_print__goes_to_the_named_file(
    begun, monkeypatch, tmp_path, capsys
):
    path = tmp_path / "console.log"
    monkeypatch.setenv(child.CHATTER, str(path))
    child.run_step(lambda *_: print("{'loss': 1.0}"))
    child.run_step(lambda *_: print("{'loss': 0.5}"))
    assert path.read_text() == "{'loss': 1.0}\n{'loss': 0.5}\n"
    assert capsys.readouterr().out == ""
