"""Marts of sources that the gym cannot represent stay out of the snapshot, and the
candidate says why.
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autollm.snapshots import playable
from autollm.snapshots.playable import left_out, playable_marts


@pytest.fixture
def marts(tmp_path):
    """Two sources: `law` with a log knob, `art` with a knob of a scale that no gym
    knows.
    """
    spaces = [
        {
            "source": source,
            "space_id": space,
            "ladder_id": "l",
            "space_json": json.dumps(
                {"knobs": [{"name": "k", "scale": scale}]}
            ),
        }
        for source, space, scale in (
            ("law", "s1", "log"),
            ("art", "s2", "colour"),
        )
    ]
    experiments = [
        {"experiment_id": e, "source": s}
        for e, s in (("law:1", "law"), ("art:1", "art"))
    ]
    tables = {
        "dim_spaces": spaces,
        "dim_experiments": experiments,
        "mart_gym__outcomes": [{**e, "config_id": "c"} for e in experiments],
        "fct_outcomes": [
            {"experiment_id": e["experiment_id"], "config_id": "c"}
            for e in experiments
        ],
        "dim_configs": [
            {"space_id": "s1", "config_id": "c"},
            {"space_id": "s2", "config_id": "c"},
        ],
        "fct_learning_curves": [
            {"source": "art", "run_id": "r", "metric": "m", "line": 1}
        ],
    }
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    return tmp_path


def test_playable_marts__space_of_an_unknown_scale__leaves_the_source_out_of_every_mart(
    marts, tmp_path
):
    folder, out = playable_marts(marts, tmp_path / "playable")
    assert (
        list(out) == ["art"]
        and "no knobs like k (colour). Known scales: log" in out["art"]
    )
    rows = {
        name: pq.read_table(folder / f"{name}.parquet").to_pylist()
        for name in playable.MARTS
    }
    assert [r["source"] for r in rows["mart_gym__outcomes"]] == ["law"] and [
        r["source"] for r in rows["dim_spaces"]
    ] == ["law"]
    assert [r["experiment_id"] for r in rows["fct_outcomes"]] == ["law:1"] and [
        r["space_id"] for r in rows["dim_configs"]
    ] == ["s1"]
    assert rows["fct_learning_curves"] == []


def test_playable_marts__every_space_known__are_the_marts_themselves(
    marts, tmp_path, monkeypatch
):
    monkeypatch.setattr(playable, "SCALES", ("log", "colour"))
    assert (
        playable_marts(marts, tmp_path / "playable") == (marts, {})
        and not (tmp_path / "playable").exists()
    )
    assert left_out(tmp_path / "nowhere") == {}
