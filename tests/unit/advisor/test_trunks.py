from __future__ import annotations

from dataclasses import replace

from autollm.advisor.evidence.evidence import LogOptions, read_evidence
from autollm.advisor.evidence.trunks import clusters_of
from autollm.advisor.statistics.noise_test import pooled_noise
from tests.unit.advisor.sweeps import LEVELS, rows_of, write_csv


def evidence_of(folder, trunk_of):
    """Evidence whose runs stem from the trunk that `trunk_of` says of their level."""
    path = write_csv(folder / "runs.csv", rows_of(LEVELS[:4], seeds=2))
    evidence = read_evidence([path], LogOptions("val_loss:min"))
    number = {
        e.experiment_id: n for n, e in enumerate(evidence.table.experiments)
    }
    runs = []
    for run in evidence.runs:
        trunk = trunk_of(number[run["experiment_id"]], run)
        runs.append(run | {"trunk_id": trunk})
    return replace(evidence, runs=tuple(runs))


def test_clusters__levels_of_one_trunk__are_one(tmp_path):
    trunks = {0: "", 1: "a", 2: "a", 3: "b"}
    evidence = evidence_of(tmp_path, lambda level, run: trunks[level])
    found = clusters_of(evidence, range(4))
    assert found[1] == found[2]
    assert len({found[0], found[1], found[3]}) == 3


def test_clusters__no_trunks__each_stands_alone(tmp_path):
    evidence = evidence_of(tmp_path, lambda level, run: "")
    assert clusters_of(evidence, range(4)).tolist() == [0, 1, 2, 3]


def test_pooled_noise__runs_of_one_trunk__are_no_repeats(tmp_path):
    free = evidence_of(tmp_path, lambda level, run: "")
    tied = evidence_of(tmp_path, lambda level, run: run["config_id"])
    assert pooled_noise(free)[1] > 100
    assert pooled_noise(tied) == (None, 0)
