"""What the main job lands, and that a gym which has learnt new spaces rebuilds."""

import json

import pytest

from autollm.core.errors import SnapshotError
from autollm.core.files import join, write_atomic
from autollm.core.places import resolve
from autollm.logs.sources import public_tables
from autollm.stages import snapshots
from autollm.stages.landing import sources
from autollm.stages.settings import Settings
from tests.unit.logs.raw_logs import write


def test_sources__mirror_fetched_and_inbox__are_landed_in_this_order(
    tmp_path, monkeypatch
):
    places = resolve(tmp_path / "home").prepare()
    monkeypatch.delenv("AUTOLLM_DATA_DIR", raising=False)
    assert (
        public_tables() == []
        and sources(places, Settings(embedded=False)) == []
    )
    mirror = [write(tmp_path / "mirror" / folder, name, b"x") for folder, name in (
        ("steplaw", "dense_lr_bs_loss.csv"), ("admire", "admire_ift_runs.csv"), ("hwgpt", "hwgpt_s_surrogate.parquet"))]  # fmt: skip
    write(
        tmp_path / "mirror" / "steplaw",
        "1004_fitted_lr_bs_scaling_model_parameters.csv",
        b"no table of the catalogue",
    )
    fetched = write(places.sources / "tinker", "tinker_sft_sweep.csv", b"x")
    write(places.sources / "regmix", "test_mixture_1B.csv.part", b"half")
    write(places.inbox, "r.jsonl", b"x")
    monkeypatch.setenv("AUTOLLM_DATA_DIR", str(tmp_path / "mirror"))
    assert [str(p) for p in sources(places, Settings(embedded=False))] == [
        *mirror,
        fetched,
        str(places.inbox),
    ]
    assert sources(places, Settings(embedded=False, public=False)) == [
        places.inbox
    ]


def test_is_current__source_left_out_before_and_not_now__asks_for_a_rebuild(
    tmp_path, monkeypatch
):
    places = resolve(tmp_path / "home").prepare()
    settings = Settings(embedded=False, public=False)
    monkeypatch.setattr(snapshots.snapshot, "published_id", lambda home: "t")
    monkeypatch.setattr(
        snapshots, "left_out", lambda marts: {"art": "no knobs like colour"}
    )
    write_atomic(
        join(places.snapshots, "candidate.json"),
        json.dumps({"table_id": "t", "left_out": {"art": "why"}}).encode(),
    )
    snapshots.publish_candidate(places, built_by="p")
    note = json.loads(
        (tmp_path / "home" / "snapshots" / snapshots.ORIGIN).read_text()
    )
    assert note["left_out"] == ["art"] and snapshots.left_out_of_candidate(
        places
    ) == {"art": "why"}
    monkeypatch.setattr(
        snapshots, "landed_fingerprint", lambda places: note["inputs"]
    )
    monkeypatch.setattr(snapshots, "fingerprint", lambda paths: note["inputs"])
    assert snapshots.is_current(places, settings, built_by="p")
    monkeypatch.setattr(snapshots, "left_out", lambda marts: {})
    assert not snapshots.is_current(places, settings, built_by="p")


def test_build_candidate__no_marts__names_the_one_that_is_missing(tmp_path):
    with pytest.raises(
        SnapshotError, match="mart mart_gym__outcomes is missing"
    ):
        snapshots.build_candidate(resolve(tmp_path / "home").prepare())
