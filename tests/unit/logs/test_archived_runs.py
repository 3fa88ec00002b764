"""Run folders in archives are read as they are in folders, tool by tool."""

import io
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from autollm.logs.opening import archive_units
from tests.unit.logs.readers.opened import FIXTURES
from tests.unit.logs.test_other_shapes import guessed_and_landed

SHOWN = ("run_id", "config_json", "objective_value", "status", "n_points")


def sweep_of(folder, n_runs=8):
    """Hydra jobs, whose settings are in a hidden folder."""
    for number in range(n_runs):
        rate = 10 ** -(2 + number / 4)
        job = folder / "sweep" / str(number)
        (job / ".hydra").mkdir(parents=True)
        size = f"n_params: {10**6 * 4 ** (number % 2)}"
        (job / ".hydra" / "config.yaml").write_text(f"lr: {rate:.6g}\n{size}\n")
        loss = 2 + (number - 3) ** 2 / 50
        (job / "metrics.csv").write_text(f"step,val_loss\n1,9\n2,{loss}\n")
    return folder / "sweep"


def packed(folder: Path, target: Path):
    """All files below a folder, out of order, under the folder's name."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    random.Random(3).shuffle(files)
    names = [f"{folder.name}/{p.relative_to(folder).as_posix()}" for p in files]
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w") as archive:
            for path, name in zip(files, names, strict=True):
                archive.writestr(name, path.read_bytes())
            archive.writestr("__MACOSX/._x.csv", b"litter")
        return target
    with tarfile.open(target, "w:gz") as archive:
        for path, name in zip(files, names, strict=True):
            info = tarfile.TarInfo(name)
            info.size = path.stat().st_size
            archive.addfile(info, io.BytesIO(path.read_bytes()))
    return target


def landed(path, home):
    guesses, report, runs = guessed_and_landed(path, home)
    told = [str([run[name] for name in SHOWN]) for run in runs]  # NaN too
    return guesses, report, sorted(told)


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
@pytest.mark.parametrize(
    "place",
    ["lightning/sweep", "ray/sweep", "transformers", "wandb", "tensorboard", "mlflow/mlruns"],
)  # fmt: skip
def test_ingest__run_folders_of_a_tool_in_an_archive__land_as_from_a_folder(
    tmp_path, place, suffix
):
    folder = FIXTURES / place
    archive = packed(folder, tmp_path / f"packed{suffix}")
    *_, expected = landed(folder, tmp_path / "one")
    _, report, found = landed(archive, tmp_path / "other")
    assert found == expected and len(found) > 0
    assert not report.n_lines_quarantined or report.n_lines_read


@pytest.mark.parametrize("held_bytes", [2**26, 100])
def test_ingest__hydra_jobs_in_an_archive__have_their_settings(
    tmp_path, monkeypatch, held_bytes
):
    monkeypatch.setattr(archive_units, "HELD_BYTES", held_bytes)
    folder = sweep_of(tmp_path)
    archive = packed(folder, tmp_path / "a.tar.gz")
    home = tmp_path / "home"
    (guess,), report, found = landed(archive, home)
    assert guess.mapping.source == "sweep"
    assert guess.mapping.files == ("sweep/*",)
    assert [k.name for k in guess.mapping.knobs] == ["config_lr"]
    assert len(found) == 8 and report.n_lines_quarantined == 0
    _, again, _ = landed(archive, home)
    assert again.batch_id is None and again.n_files_skipped == 8
    _, unpacked, _ = landed(folder, home)  # the same bytes in the same folder
    assert unpacked.batch_id is None and unpacked.n_files_skipped == 8
    *_, plain = landed(folder, tmp_path / "other")
    assert plain == found


def test_ingest__archive_of_run_folders_read_anew__needs_no_archive(tmp_path):
    from autollm.logs.landing import ingest

    archive = packed(sweep_of(tmp_path), tmp_path / "a.zip")
    home = tmp_path / "home"
    landed(archive, home)
    archive.unlink()
    report = ingest([], str(home), again=["sweep"])
    assert report.n_runs == 8 and report.n_files_again == 8
    assert not report.warnings or "runs had landed" not in report.warnings[0]
