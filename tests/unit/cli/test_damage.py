"""What a person sees of damaged data: one line, exit code 1."""

from __future__ import annotations

import pytest

from autollm.cli.main import build
from autollm.snapshots import building
from tests.unit.snapshots.test_building import flipped, write_marts


def said(capsys, *arguments: str) -> tuple[int, str]:
    """Exit code of a command, and what it said on stderr."""
    with pytest.raises(SystemExit) as ended:
        build()(list(arguments))
    return ended.value.code, capsys.readouterr().err


EVALUATE = ("evaluate", "--suite", "lab-optimizer-v1", "--policies", "random")


@pytest.mark.parametrize("name", ["arrays/objective.npy", "experiments.json"])
def test_evaluate__bits_flipped_in_the_snapshot__is_an_error(
    tmp_path, capsys, name
) -> None:
    home = str(tmp_path / "home")
    table_id = building.build(write_marts(tmp_path / "marts"), home)
    building.publish(home, table_id)
    path = tmp_path / "home" / "snapshots" / table_id / name
    path.write_bytes(flipped(path.read_bytes()))
    code, error = said(capsys, *EVALUATE, "--home", home)
    assert code == 1 and error.count("\n") == 1
    assert f"{name} was altered" in error and "Fix: autollm run" in error


@pytest.mark.parametrize("data", [b"", b"\0" * 40])
def test_evaluate__pointer_damaged__is_an_error(tmp_path, capsys, data) -> None:
    home = tmp_path / "home"
    building.publish(
        str(home), building.build(write_marts(tmp_path / "marts"), str(home))
    )
    (home / "snapshots" / "current.json").write_bytes(data)
    code, error = said(capsys, *EVALUATE, "--home", str(home))
    assert code == 1 and "current.json is damaged" in error


def test_report__leaderboard_damaged__is_an_error(tmp_path, capsys) -> None:
    folder = tmp_path / "reports" / "x"
    folder.mkdir(parents=True)
    (folder / "leaderboard.json").write_text("{")
    code, error = said(capsys, "report", "x", "--home", str(tmp_path))
    assert code == 1 and "leaderboard.json is damaged" in error
