"""Several studies of one Optuna storage, written by Optuna itself: never pooled unsaid."""

import warnings
from collections import Counter

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from autollm.logs.landing import ingest
from autollm.logs.proposals import propose
from tests.unit.logs.test_other_shapes import guessed_and_landed

SIZES = (10_000_000, 40_000_000, 160_000_000)


@pytest.fixture(params=["sqlite", "journal"])
def storage(request, tmp_path):
    """(what Optuna writes to, where it lies)"""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    path = tmp_path / f"studies.{'db' if request.param == 'sqlite' else 'log'}"
    if request.param == "sqlite":
        return f"sqlite:///{path}", path
    return JournalStorage(JournalFileBackend(str(path))), path


def search(storage, name, sizes=SIZES[:2], direction="minimize", setting="lr"):
    """Six trials at sizes that take turns, the better the larger."""
    sampler = optuna.samplers.RandomSampler(seed=2)
    study = optuna.create_study(
        storage=storage, study_name=name, direction=direction, sampler=sampler
    )

    def objective(trial):
        value = trial.suggest_float(setting, 1e-4, 1e-2, log=True)
        size = sizes[trial.number % len(sizes)]
        trial.set_user_attr("n_params", size)
        loss = 3 + 10 * value - size / 1e9
        return loss if direction == "minimize" else -loss

    study.optimize(objective, n_trials=6)


def codes(found):
    return {note.code for note in found.notes}


def test_studies__of_equal_settings__are_sources_of_their_own(
    storage, tmp_path
):
    backend, path = storage
    search(backend, "warm up 1")
    search(backend, "second")
    search(backend, "first")
    guesses, _, runs = guessed_and_landed(path, tmp_path / "home")
    found = {(run["source"], run["group"]) for run in runs}
    assert found == {("studies", g) for g in ("warm_up_1", "second", "first")}
    assert len(runs) == 18 and "groups" in codes(guesses[0].proposal)
    assert {run["run_id"] for run in runs} >= {"warm up 1/0", "first/5"}
    experiments = {run["experiment_id"].split(":")[0] for run in runs}
    assert len(experiments) == 3


def test_studies__one_a_size__are_one_ladder(storage, tmp_path):
    backend, path = storage
    for size in SIZES:
        search(backend, f"size-{size}", sizes=(size,))
    (guess,), _, runs = guessed_and_landed(path, tmp_path / "home")
    assert {run["group"] for run in runs} == {""} and len(runs) == 18
    assert len({run["fidelity_json"] for run in runs}) == 3
    (note,) = [n for n in guess.proposal.notes if n.code == "groups"]
    assert "they are one ladder" in note.text


def test_studies__of_other_directions__have_outcomes_of_their_own(storage):
    backend, path = storage
    search(backend, "down")
    search(backend, "up", direction="maximize")
    found = propose(path)
    goal = found.mapping.objective
    assert (goal.name, goal.direction) in (
        ("value_min", "min"),
        ("value_max", "max"),
    )
    assert found.summary.statuses == {"finished": 6, "failed": 6}
    assert "disagree on the direction" in str(found.notes)


def test_studies__of_other_settings__are_tables_of_their_own(storage, tmp_path):
    backend, path = storage
    search(backend, "lr sweep")
    search(backend, "decay", setting="wd")
    search(backend, "more rates")
    home = tmp_path / "home"
    guesses, report, runs = guessed_and_landed(path, home)
    knobs = {}
    for guess in guesses:
        knobs[guess.mapping.source] = [k.column for k in guess.mapping.knobs]
    assert knobs == {"lr_sweep": ["params_lr"], "decay": ["params_wd"]}
    found = Counter((run["source"], run["group"]) for run in runs)
    assert found == {
        ("lr_sweep", "lr_sweep"): 6,
        ("lr_sweep", "more_rates"): 6,
        ("decay", ""): 6,
    }
    assert report.n_lines == report.n_lines_read > 0
    again = guessed_and_landed(path, home)[1]
    assert again.batch_id is None and again.n_files_skipped == 2
    anew = ingest([], str(home), again=["decay"])
    assert anew.n_runs == 6 and anew.n_files_again == 1


def test_studies__one_of_several_without_a_trial__changes_nothing(storage):
    backend, path = storage
    search(backend, "only")
    optuna.create_study(storage=backend, study_name="empty")
    found = propose(path)
    assert found.mapping.group is None and "groups" not in codes(found)
    assert found.mapping.run_key.columns == ("number",)
