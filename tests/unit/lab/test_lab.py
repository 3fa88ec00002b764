"""The lab trains for real here, on a family of two tiny levels and a made-up corpus."""

import dataclasses
import json

import numpy as np
import pytest

from autollm.cli.lab import seconds
from autollm.core.errors import CorpusError, RecordError, UnknownNameError
from autollm.core.records import (
    RunEnd,
    RunHeader,
    RunStep,
    content_hash,
    parse_record,
    to_line,
)
from autollm.lab import archive, corpus, families, runner, summary, verify
from autollm.lab.corpus import Corpus
from autollm.lab.families.pretraining import PRETRAINING
from autollm.lab.launchers import SubmititLauncher
from autollm.lab.spec import Level, Run
from autollm.lab.trainers import pretraining
from autollm.lab.trainers.pretraining import train

CELLS = [
    {"learning_rate": 2.0**r, "batch_tokens": 2**b}
    for r in (-8.0, -7.0, -6.0)
    for b in (6, 7)
]
TINY = dataclasses.replace(
    PRETRAINING,
    version=1,
    design=lambda _: CELLS,
    levels=(
        Level(
            "t1",
            "train",
            {"width": 16, "layers": 1, "tokens": 2**11},
            extra_seeds=(1,),
        ),
    ),
)


PINNED = {
    "pretraining-t1-2bd00707f83f": 5.02491,
    "pretraining-t1-d0a46ee2dc4f": 4.23256,
    "pretraining-t1-8c3bdd4287d1": 3.67656,
}
"""Validation losses of the tiny family (torch 2.13, x86-64): on equal hardware they are
equal to the last digit.
"""


@pytest.fixture(scope="module")
def text():
    tokens = np.random.default_rng(0).integers(0, 32, 60_000).astype(np.int16)
    return Corpus(tokens[:20_000], tokens[20_000:], "made-up")


@pytest.fixture
def tiny(monkeypatch, text):
    """The tiny family in place of the real ones, trained in this process."""
    monkeypatch.setitem(families.FAMILIES, "pretraining", TINY)
    monkeypatch.setattr(pretraining, "load", lambda *_: text)


def write(runs, text, folder):
    folder.mkdir(exist_ok=True)
    for run_id, records in train(runs, text).items():
        (folder / f"{run_id}.jsonl").write_text(
            "".join(to_line(r) + "\n" for r in records)
        )


def final(records):
    return next(r for r in records if isinstance(r, RunEnd)).final["val_loss"]


def test_training__stacked_runs__equal_single_runs(text):
    runs = [
        r for r in TINY.runs(TINY.levels[0]) if r.config["batch_tokens"] == 64
    ]
    together = train(runs, text)
    for run in runs[:2]:
        assert final(train([run], text)[run.run_id]) == pytest.approx(
            final(together[run.run_id]), rel=1e-4
        )


def test_training__same_run_twice__same_loss_and_other_seed_another(text):
    run = TINY.runs(TINY.levels[0])[0]
    other = dataclasses.replace(run, seed=7)
    losses = [final(train([r], text)[r.run_id]) for r in (run, run, other)]
    assert losses[0] == losses[1] != losses[2]


def test_training__diverging_run__is_recorded_and_leaves_its_neighbour_alone(
    text,
):
    level = TINY.levels[0]
    calm, wild = (
        Run(
            "pretraining", level, {"learning_rate": rate, "batch_tokens": 64}, 0
        )
        for rate in (2.0**-8, 2.0**60)
    )
    both = train([calm, wild], text)
    assert both[wild.run_id][-1].status == "diverged"
    assert final(both[calm.run_id]) == pytest.approx(
        final(train([calm], text)[calm.run_id]), rel=1e-4
    )


def test_training__records__are_a_valid_raw_log(text):
    run = TINY.runs(TINY.levels[0])[0]
    records = train([run], text)[run.run_id]
    assert isinstance(records[0], RunHeader) and records[0].data == {
        "sha256": "made-up"
    }
    assert (
        all(isinstance(r, RunStep) for r in records[1:-1])
        and records[-1].cost["flops"]
        == 6 * records[0].fidelity["params"] * 2**11
    )


def test_training__time_limit__is_a_failed_row(text):
    run = TINY.runs(TINY.levels[0])[0]
    end = train([run], text, max_seconds=0.0)[run.run_id][-1]
    assert (end.status, end.reason) == ("failed", "time limit")


def test_runner__some_runs_recorded__trains_only_the_others(
    tiny, text, tmp_path
):
    level = TINY.levels[0]
    write(
        [r for r in TINY.runs(level) if r.config["batch_tokens"] == 128],
        text,
        tmp_path / "runs",
    )
    asked = []

    class Inline:
        slots = 1

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def submit(self, work, family, stack, *rest):
            asked.append(stack)
            work(family, stack, *rest)
            return len(asked)

        def wait(self, tickets):
            return tickets

        def result(self, _):
            return None

    report = runner.run_family(
        "pretraining", tmp_path / "runs", launcher=Inline()
    )
    assert {r.config["batch_tokens"] for stack in asked for r in stack} == {64}
    assert report.left == 0 and report.trained == sum(map(len, asked))
    assert runner.status(tmp_path / "runs")["families"]["pretraining"][
        "runs"
    ] == len(TINY.runs(level))


def test_archive__log_of_an_undeclared_run__is_refused_by_name(
    tiny, text, tmp_path
):
    write(
        [
            Run(
                "pretraining",
                TINY.levels[0],
                {"learning_rate": 0.125, "batch_tokens": 64},
                0,
            )
        ],
        text,
        tmp_path / "runs",
    )
    with pytest.raises(
        RecordError, match=r"1 logs .* no run that pretraining v1 declares"
    ):
        archive.pack("pretraining", tmp_path / "runs", tmp_path / "data")


def test_archive__packed_twice__same_bytes_and_same_records(
    tiny, text, tmp_path
):
    runs = TINY.runs(TINY.levels[0])[:2]
    write(
        [r for r in runs if r.config == runs[0].config], text, tmp_path / "runs"
    )
    first = archive.pack(
        "pretraining", tmp_path / "runs", tmp_path / "data"
    ).read_bytes()
    path = archive.pack("pretraining", tmp_path / "runs", tmp_path / "data")
    assert path.read_bytes() == first and list(archive.read_runs(path)) == [
        runs[0].run_id
    ]
    assert (
        json.loads((tmp_path / "data" / "manifest.json").read_text())[
            "archives"
        ][path.name]["runs"]
        == 1
    )


def test_archive__cut_off__clear_error(tmp_path):
    (tmp_path / "a.tar.xz").write_bytes(
        archive.shipped("pretraining").read_bytes()[:1000]
    )
    with pytest.raises(RecordError, match="cannot be read"):
        archive.read_runs(tmp_path / "a.tar.xz")


def test_archive__another_than_was_packed__is_named(tiny, text, tmp_path):
    runs = TINY.runs(TINY.levels[0])[:2]
    write(
        [r for r in runs if r.config == runs[0].config], text, tmp_path / "runs"
    )
    path = archive.pack("pretraining", tmp_path / "runs", tmp_path)
    assert archive.read_runs(path)
    path.write_bytes(path.read_bytes() + bytes(4))  # which xz reads over
    with pytest.raises(RecordError, match=r"tar\.xz was altered.*Fix: restore"):
        archive.read_runs(path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(
        RecordError, match=r"manifest\.json is damaged.*Fix: restore"
    ):
        archive.read_runs(path)


def test_archive__no_logs__says_what_to_run(tmp_path):
    with pytest.raises(RecordError, match="autollm lab run"):
        archive.pack("pretraining", tmp_path, tmp_path)


def test_verify__recorded_runs__agree_and_an_altered_one_does_not(
    tiny, text, tmp_path
):
    for batch in (64, 128):
        write(
            [
                r
                for r in TINY.runs(TINY.levels[0])
                if r.config["batch_tokens"] == batch
            ],
            text,
            tmp_path / "runs",
        )
    path = archive.pack("pretraining", tmp_path / "runs", tmp_path / "data")
    assert all(
        c.agrees for c in verify.verify("pretraining", 2, 60, tmp_path, path)
    )
    for log in (tmp_path / "runs").glob("*.jsonl"):
        log.write_text(log.read_text().replace('"val_loss":', '"val_loss":1'))
    assert not any(
        c.agrees
        for c in verify.verify(
            "pretraining",
            2,
            60,
            tmp_path,
            archive.pack("pretraining", tmp_path / "runs", tmp_path / "d"),
        )
    )


def test_verify__other_corpus__refused(tiny, text, tmp_path, monkeypatch):
    write(
        [
            r
            for r in TINY.runs(TINY.levels[0])
            if r.config["batch_tokens"] == 64
        ],
        text,
        tmp_path / "runs",
    )
    path = archive.pack("pretraining", tmp_path / "runs", tmp_path / "data")
    monkeypatch.setattr(
        pretraining,
        "load",
        lambda *_: dataclasses.replace(text, sha256="another"),
    )
    with pytest.raises(CorpusError, match="another"):
        verify.verify("pretraining", 1, 60, tmp_path, path)


def test_corpus__other_digest__refused_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "PACKAGES", ("mpmath",))
    with pytest.raises(CorpusError, match="pip install"):
        corpus.load(tmp_path)


def test_spec__ladder__spans_what_is_declared():
    flops = {lv.name: PRETRAINING.flops(lv) for lv in PRETRAINING.levels}
    targets_alone = {
        lv.name for lv in PRETRAINING.levels if lv.part == "checkerboard"
    }
    assert targets_alone == {"d1", "e1", "j1", "k1"} and {
        lv.name for lv in PRETRAINING.levels if lv.split == "test"
    } == {"d1", "e1"}
    assert max(flops.values()) >= 3e12 and max(flops.values()) >= 100 * min(
        flops.values()
    )
    assert min(flops[name] for name in targets_alone) >= 8 * max(
        v for k, v in flops.items() if k not in targets_alone
    )
    for level in PRETRAINING.levels:
        assert len(PRETRAINING.design(level)) >= (
            32
            if level.split == "test"
            else 30
            if level.name in targets_alone
            else 40
        )


def test_spec__run_ids_of_pretraining__are_those_of_the_recorded_runs():
    first = {
        lv.name: PRETRAINING.runs(lv)[0].run_id for lv in PRETRAINING.levels
    }
    assert (
        first["a1"] == "pretraining-a1-8795f312718c"
        and first["g1"] == "pretraining-g1-e544cde0811d"
        and first["e1"] == "pretraining-e1-fb7c08615fd9"
    )
    every = "".join(
        r.run_id
        for lv in PRETRAINING.levels
        for r in PRETRAINING.runs(lv)
        if lv.name not in ("j1", "k1")
    )
    assert content_hash(every) == "a5c34720cc907658"


def test_training__tiny_runs__lose_what_they_lost_before_the_families_were_split(
    text,
):
    runs = [
        r for r in TINY.runs(TINY.levels[0]) if r.config["batch_tokens"] == 64
    ]
    again = train(runs, text)
    assert {k: final(again[k]) for k in PINNED} == pytest.approx(
        PINNED, rel=1e-4
    )


def test_spec__unknown_family_and_level__did_you_mean():
    with pytest.raises(UnknownNameError, match="'pretraining'"):
        families.load_family("pretrainin")
    with pytest.raises(UnknownNameError, match="level"):
        PRETRAINING.level("z9")


def test_recorded_archive__holds_declared_runs_of_one_corpus():
    runs = archive.read_runs(archive.shipped("pretraining"))
    assert set(runs) <= set(PRETRAINING.known()) and len(runs) == sum(
        map(PRETRAINING.n_runs, PRETRAINING.levels)
    )
    assert {r[0].data["sha256"] for r in runs.values()} == {
        corpus.CORPUS_SHA256
    }
    assert all(
        isinstance(
            parse_record('{"kind":"end","status":"finished"}'), type(r[-1])
        )
        for r in runs.values()
    )


def test_recorded_archive__best_rates_fall_over_the_ladder():
    best = {}
    for name in ("a1", "e1"):
        ends = [
            (
                r[-1].final["val_loss"],
                np.log2(r[0].config["learning_rate"]),
                np.log2(r[0].config["batch_tokens"]),
            )
            for k, r in archive.read_runs(
                archive.shipped("pretraining")
            ).items()
            if f"-{name}-" in k
        ]
        best[name] = min(ends)[1:]
    moved = np.abs(np.array(best["a1"]) - best["e1"]) / (0.5, 1.0)
    assert moved.sum() >= 2


def test_cell_noise__seeds_that_shift_all_cells_alike__count_for_nothing():
    rng = np.random.default_rng(0)
    cells, shift = rng.normal(0, 1, 400), np.array([0.0, 5.0])
    losses = [
        {0: c + shift[0] + e[0], 1: c + shift[1] + e[1]}
        for c, e in zip(cells, rng.normal(0, 0.1, (400, 2)), strict=True)
    ]
    assert summary.cell_noise(losses, n_seeds=1) == pytest.approx(0.1, rel=0.1)
    assert summary.cell_noise(losses, n_seeds=2) == pytest.approx(
        0.1 / 2**0.5, rel=0.1
    )
    assert summary.cell_noise([{0: 1.0}, {0: 2.0}], n_seeds=1) is None


def test_summarize__embedded_runs__every_level_moves_and_stays_inside():
    runs = archive.read_runs(archive.shipped("pretraining"))
    levels = {s.level: s for s in summary.summarize(PRETRAINING, runs.values())}
    assert set(levels) == {run_id.split("-")[1] for run_id in runs}
    first, last = (
        np.log2(
            [levels[name].best[k] for k in ("learning_rate", "batch_tokens")]
        )
        for name in ("a1", "e1")
    )
    assert abs(first - last)[0] / 0.5 >= 2 and abs(first - last)[1] >= 2
    assert {s.level: s.edges for s in levels.values() if s.edge} == {
        "a2": ("learning_rate",)
    }, "by .004 nats, at the smallest model that sees most"
    assert (
        levels["e1"].flops >= 100 * levels["a1"].flops
        and levels["e1"].flops >= 3e12
    )
    evidence = max(s.flops for s in levels.values() if s.n_cells == 60)
    for s in (s for s in levels.values() if s.split == "test"):
        assert (
            s.flops >= 8 * evidence
            and s.n_cells >= 32
            and s.n_runs >= 2 * s.n_cells
        )


def test_runs__best_third__is_replicated_once_the_first_seed_is_complete():
    level = dataclasses.replace(
        TINY.levels[0], extra_seeds=(), best_third_seeds=(1, 2)
    )
    family = dataclasses.replace(TINY, levels=(level,))
    first = family.runs(level)
    losses = {r.run_id: float(i) for i, r in enumerate(first)}
    late = family.runs(level, losses)[len(first) :]
    assert [(r.config, r.seed) for r in late] == [
        (CELLS[i], s) for i in (0, 1) for s in (1, 2)
    ]
    del losses[first[-1].run_id]
    assert family.runs(level, losses) == first
    assert family.n_runs(level) == 10 and {r.run_id for r in late} < set(
        family.known()
    )


def test_rank_correlations__reversed_cells__are_minus_one():
    levels = {level.name: level for level in PRETRAINING.levels}
    records = []
    for name, sign in (("a1", 1.0), ("a2", -1.0)):
        for i, config in enumerate(CELLS):
            run = Run("pretraining", levels[name], config, 0)
            header = RunHeader(run.run_id, "s", "pretraining", config, {}, 0)
            records.append(
                [header, RunEnd("finished", {"val_loss": sign * i}, {})]
            )
    assert summary.rank_correlations(PRETRAINING, records) == {
        ("a1", "a2"): (pytest.approx(-1.0), len(CELLS))
    }


def test_submitit__local_and_debug_executors__train_what_is_missing(
    tiny, text, tmp_path
):
    pytest.importorskip("submitit", reason="extra slurm is not installed")
    launcher = SubmititLauncher(tmp_path / "jobs", "debug", poll_s=0.01)
    report = runner.run_family(
        "pretraining", tmp_path / "runs", launcher=launcher
    )
    assert (report.trained, report.left) == (len(TINY.runs(TINY.levels[0])), 0)
    local = SubmititLauncher(tmp_path / "jobs", "local", poll_s=0.2)
    ticket = local.submit(print, "a job of its own")
    assert local.wait([ticket]) == [ticket] and local.result(ticket) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2h", 7200.0), ("30m", 1800.0), ("45s", 45.0), ("600", 600.0)],
)
def test_budget__duration__in_seconds(text, expected):
    assert seconds(text) == expected
