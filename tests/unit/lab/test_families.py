"""Every declared family, and what is particular to mixtures and architectures; training
on tiny levels and made-up text.
"""

import dataclasses
import json

import numpy as np
import pytest
import torch

from autollm.agent.profiles import TRAIN_SUITES
from autollm.core.errors import CorpusError
from autollm.core.ids import Origin, experiment_id
from autollm.core.records import RunEnd, RunHeader, RunStep, to_line
from autollm.gym.tasks.suites import load_suite
from autollm.lab import domains, summary
from autollm.lab.archive import read_runs, shipped
from autollm.lab.corpus import Corpus
from autollm.lab.domains import Domains
from autollm.lab.families import FAMILIES, architecture, data_mixture
from autollm.lab.families.architecture import ARCHITECTURE
from autollm.lab.families.data_mixture import DATA_MIXTURE, TARGETS
from autollm.lab.families.optimizer import OPTIMIZER, RATES
from autollm.lab.families.rl_tuning import RL_TUNING
from autollm.lab.model import StackedDecoder
from autollm.lab.pilot import pilot_runs
from autollm.lab.shapes import Shape
from autollm.lab.spec import Level, Run, trainer
from autollm.lab.stack import DIVERGED_ABOVE
from autollm.lab.trainers import architecture as train_architecture
from autollm.lab.trainers import data_mixture as train_mixture
from autollm.lab.trainers import optimizer as train_optimizer
from autollm.lab.verify import seed_spread
from tests.unit.logs.landed import land_bytes

MIX = Level(
    "t1",
    "train",
    {"width": 16, "layers": 1, "tokens": 2**11, "rate_log2": -6.0},
    extra_seeds=(1,),
)
SHAPES = Level(
    "t1",
    "train",
    {"param_budget": 20_000, "flop_budget": 2e8, "batch_tokens": 256},
)


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)

    def tokens(n):
        return {
            name: rng.integers(20 * i, 20 * (i + 1), n).astype(np.int16)
            for i, name in enumerate(data_mixture.DOMAINS)
        }

    return Domains(tokens(700), tokens(16_500))


@pytest.fixture(scope="module")
def text():
    tokens = np.random.default_rng(0).integers(0, 32, 60_000).astype(np.int16)
    return Corpus(tokens[:20_000], tokens[20_000:], "made-up")


def landed(records):
    """A run's log as the reader of logs sees it."""
    return land_bytes(
        "r.jsonl", "".join(to_line(r) + "\n" for r in records).encode()
    )


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_family__ladder_and_design__are_what_a_sweep_needs(family):
    flops = [family.flops(lv) for lv in family.levels]
    assert len(family.levels) >= 4 and max(flops) / min(flops) >= (
        25 if family.name == "rl_tuning" else 50
    )
    cost = {
        split: [
            f
            for f, lv in zip(flops, family.levels, strict=True)
            if lv.split == split
        ]
        for split in ("train", "validation", "test")
    }
    assert max(cost["train"]) < min(cost["test"]) and max(
        cost["validation"]
    ) < max(cost["test"])
    for level in family.levels:
        points = [family.space.encode(c) for c in family.design(level)]
        assert all(family.space.inside(p) for p in points) and len(
            np.unique(points, axis=0)
        ) == len(points)
        assert len(points) >= (32 if level.split == "test" else 30)
        assert level.split != "test" or level.n_seeds_near_best >= 3
    assert len(family.known()) == len(
        {r.run_id for r in family.known().values()}
    )
    assert sum(family.n_runs(lv) for lv in family.levels) >= 150


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_family__trainer__has_both_functions(family):
    module = trainer(family.name)
    assert callable(module.load) and callable(module.train)


@pytest.mark.parametrize("suite_id", TRAIN_SUITES)
def test_lab_suite__experiments__are_the_family_s_levels_in_their_splits(
    suite_id,
):
    suite, family = (
        load_suite(suite_id),
        FAMILIES[suite_id.removeprefix("lab-").rpartition("-")[0]],
    )
    levels = {
        experiment_id(
            Origin(suite.source, lv.settings.get("task", "")),
            family.fidelity(lv),
        ): lv
        for lv in family.levels
    }
    cheapest = min(map(family.flops, family.levels))
    assert {t.target for t in suite.tasks} == {
        e for e, lv in levels.items() if family.flops(lv) > cheapest
    }
    assert {t.objective for t in suite.tasks} <= {
        "",
        family.objective.name,
        *(m.name for m in family.secondary if m.direction),
    }
    for task in suite.tasks:
        target, most_expensive = (
            levels[task.target],
            max(family.flops(levels[e]) for e in task.evidence),
        )
        assert task.split == target.split and family.flops(
            target
        ) >= most_expensive * (8 if task.split == "test" else 1)
        assert all(levels[e].split != "test" for e in task.evidence)
        assert (
            len(
                {
                    lv.settings.get("task")
                    for lv in (target, *map(levels.get, task.evidence))
                }
            )
            == 1
        ), "a ladder of its own"


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_recorded_runs__noise_of_every_level__is_a_tenth_of_what_there_is_to_find(
    family,
):
    levels = summary.summarize(family, read_runs(shipped(family.name)).values())
    assert {s.level for s in levels} == {level.name for level in family.levels}
    assert {
        s.level: round(s.noise_share, 3)
        for s in levels
        if s.noise_share is None or s.noise_share > 0.1
    } == {}


def test_recorded_mixtures__whole_sweep__is_there_and_repetition_moves_the_optimum():
    runs = read_runs(shipped("data_mixture"))
    assert set(runs) <= set(DATA_MIXTURE.known()) and len(runs) == sum(
        map(DATA_MIXTURE.n_runs, DATA_MIXTURE.levels)
    )
    assert {r[0].data["sha256"] for r in runs.values()} == {
        domains.DOMAINS_SHA256
    }
    assert {r[-1].status for r in runs.values()} == {"finished"}
    for name in TARGETS:
        levels = {
            s.level: s
            for s in summary.summarize(
                DATA_MIXTURE, runs.values(), f"{name}_loss"
            )
        }
        assert (
            levels["d1"].best != levels["a1"].best
            and levels["d1"].n_cells >= 32
            and levels["d1"].noise_share < 0.11
        )
        assert (
            levels["d1"].flops >= 50 * levels["a1"].flops
            and levels["d1"].flops >= 8 * levels["c1"].flops
        )
    best = {
        level: sorted(cells, key=cells.__getitem__)[:3]
        for level, cells in summary.level_means(
            DATA_MIXTURE, runs.values(), "prose_loss"
        ).items()
    }
    cheap, expensive = (
        np.mean([json.loads(key)["mixture"]["prose"] for key in best[level]])
        for level in ("c1", "d1")
    )
    assert cheap > expensive + 0.2


def test_recorded_shapes__whole_sweep__is_there_and_the_best_shape_grows_with_the_budget():
    runs = read_runs(shipped("architecture"))
    assert set(runs) <= set(ARCHITECTURE.known()) and len(runs) == sum(
        map(ARCHITECTURE.n_runs, ARCHITECTURE.levels)
    )
    levels = {
        s.level: s for s in summary.summarize(ARCHITECTURE, runs.values())
    }
    assert all(
        levels[name].n_cells >= 32 and levels[name].noise_share < 0.1
        for name in ("b3", "c3", "d3")
    )
    assert max(s.flops for s in levels.values()) >= 50 * min(
        s.flops for s in levels.values()
    )
    best = {
        name: json.loads(min(cells, key=cells.__getitem__))
        for name, cells in summary.level_means(
            ARCHITECTURE, runs.values()
        ).items()
    }
    sizes = [
        architecture.shape_of(best[name]).total_params
        for name in ("a1", "c2", "d3")
    ]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] / 2
    assert 1 < best["d3"]["depth"] < max(architecture.DEPTHS) and min(
        architecture.WIDTHS
    ) < best["d3"]["width"] < max(architecture.WIDTHS)


def test_recorded_grpo__whole_sweep__is_there_with_three_tasks_whose_optimum_is_told_from_noise():
    runs = read_runs(shipped("rl_tuning"))
    assert set(runs) <= set(RL_TUNING.known()) and len(runs) == sum(
        map(RL_TUNING.n_runs, RL_TUNING.levels)
    )
    assert {r[-1].status for r in runs.values()} <= {"finished", "diverged"}
    assert {
        json.dumps(r[0].versions, sort_keys=True) for r in runs.values()
    } == {json.dumps(next(iter(runs.values()))[0].versions, sort_keys=True)}
    levels = {s.level: s for s in summary.summarize(RL_TUNING, runs.values())}
    assert len(levels) == 12 and all(
        levels[f"{task}4"].n_cells >= 32 for task in "sac"
    )
    assert not any(
        {"learning_rate", "temperature"} & set(levels[f"{task}4"].edges)
        for task in "sac"
    )
    assert max(s.flops for s in levels.values()) >= 25 * min(
        s.flops for s in levels.values()
    )
    for records in runs.values():
        final = records[-1].final
        assert final["score"] == pytest.approx(
            0.5 * final["in_task"]
            + 0.25 * final["shifted"]
            + 0.25 * final["retained"],
            abs=1e-5,
        )


def test_recorded_recipes__whole_sweep__is_there_and_the_optimum_lies_inside():
    runs = read_runs(shipped("optimizer"))
    assert set(runs) == set(OPTIMIZER.known()) & set(runs) and len(runs) == sum(
        map(OPTIMIZER.n_runs, OPTIMIZER.levels)
    )
    levels = {s.level: s for s in summary.summarize(OPTIMIZER, runs.values())}
    assert (
        levels["d1"].n_cells >= 32
        and levels["d1"].noise_share < 0.1
        and levels["d1"].flops >= 50 * levels["a1"].flops
    )
    for level in levels.values():
        assert RATES[0] < level.best["learning_rate"] < RATES[-1]


def test_seed_spread__equal_cells_of_two_tasks__are_no_replicas_of_each_other():
    def cell(task, seed, score):
        head = RunHeader(
            f"rl_tuning-{task}1-{seed}",
            "lab-rl_tuning",
            "rl_tuning",
            {"learning_rate": 0.1},
            {"params": 1.0},
            seed,
            model={"task": task},
        )
        return [head, RunEnd("finished", {"score": score}, {})]

    runs = {
        f"{task}{seed}": cell(task, seed, score + 0.01 * seed)
        for task, score in (("s", 0.2), ("a", 0.9))
        for seed in (0, 1)
    }
    assert seed_spread(runs, "score", "max") == pytest.approx(0.01 / np.sqrt(2))


def test_mixture_suite__objectives__are_the_target_mixes():
    assert {
        t.objective for t in load_suite("lab-data_mixture-v1").split("test")
    } == {f"{name}_loss" for name in TARGETS}


def test_mixture_design__cheap_and_dear_levels__share_their_first_cells():
    cheap, expensive = (
        DATA_MIXTURE.design(DATA_MIXTURE.level(name)) for name in ("a1", "d1")
    )
    assert cheap[: len(expensive)] == expensive and len(cheap) > len(expensive)
    shares = np.array([list(c["mixture"].values()) for c in cheap])
    assert (
        np.allclose(shares.sum(axis=1), 1)
        and shares.max() > 0.6
        and (shares == 0).any()
    )


def test_sequence_starts__shares__are_exact_and_repeat_only_what_is_short(
    texts,
):
    mixture = dict.fromkeys(data_mixture.DOMAINS, 0.1) | {"code": 0.5}
    starts = train_mixture.sequence_starts(mixture, texts, 40, seed=3)
    domain, within = starts // 700, starts % 700
    assert (
        torch.bincount(domain).tolist() == [4, 20, 4, 4, 4, 4]
        and int(within.max()) + 64 < 700
    )
    counts = {
        d: torch.bincount(within[domain == d] // 64, minlength=10).tolist()
        for d in range(6)
    }
    assert counts[1] == [2] * 10 and all(
        max(counts[d]) == 1 for d in (0, 2, 3, 4, 5)
    )
    assert torch.equal(
        starts, train_mixture.sequence_starts(mixture, texts, 40, seed=3)
    )
    assert not torch.equal(
        starts, train_mixture.sequence_starts(mixture, texts, 40, seed=4)
    )


def test_mixture_training__stack__equals_single_runs_and_scores_every_target(
    texts,
):
    runs = [
        Run("data_mixture", MIX, c, 0) for c in data_mixture.design(MIX)[:3]
    ]
    together = train_mixture.train(runs, texts)
    alone = train_mixture.train(runs[1:2], texts)[runs[1].run_id][-1]
    assert alone.final["broad_loss"] == pytest.approx(
        together[runs[1].run_id][-1].final["broad_loss"], rel=1e-4
    )
    for end in (records[-1] for records in together.values()):
        assert set(end.final) == {DATA_MIXTURE.objective.name} | {
            m.name for m in DATA_MIXTURE.secondary
        }
        for name, parts in TARGETS.items():
            assert end.final[f"{name}_loss"] == pytest.approx(
                sum(w * end.final[f"{d}_loss"] for d, w in parts.items()),
                rel=1e-4,
            )


def test_mixture_training__a_domain_left_out__is_lost_most(texts):
    without = {
        "mixture": dict.fromkeys(data_mixture.DOMAINS, 0.2) | {"code": 0.0}
    }
    end = train_mixture.train([Run("data_mixture", MIX, without, 0)], texts)[
        "data_mixture-t1-" + Run("data_mixture", MIX, without, 0).run_id[-12:]
    ][-1]
    assert (
        max(
            (m for m in end.final if m[:-5] in data_mixture.DOMAINS),
            key=end.final.__getitem__,
        )
        == "code_loss"
    )


def test_mixture_training__targets_left_out__are_worse_than_a_guess_and_the_run_is_finished(
    texts,
):
    level = dataclasses.replace(MIX, settings={**MIX.settings, "tokens": 2**14})
    run = Run(
        "data_mixture",
        level,
        {
            "mixture": dict.fromkeys(data_mixture.DOMAINS, 0.0)
            | {"structured": 1.0}
        },
        0,
    )
    end = train_mixture.train([run], texts)[run.run_id][-1]
    assert (
        end.final["writer_loss"] > DIVERGED_ABOVE > end.final["train_loss"]
        and end.status == "finished"
    )


def test_mixture_log__landed__has_its_simplex(texts):
    run = Run("data_mixture", MIX, data_mixture.design(MIX)[1], 0)
    records = train_mixture.train([run], texts)[run.run_id]
    assert all(isinstance(r, RunStep) for r in records[1:-1])
    read = landed(records)
    (found,) = read.runs
    assert (
        json.loads(found["config_json"])
        == {"mixture": pytest.approx(run.config["mixture"])}
        and not read.bad
    )
    assert found["objective_value"] == records[-1].final["writer_loss"]


def test_domains__docstrings__are_parted_from_code():
    code, prose = domains._parted(
        '"""Says it."""\nx = 1\ndef f():\n    """Does it.\n\n    Well.\n    """\n    '
        'return "kept"\n'
    )
    assert (
        code == 'x = 1\ndef f():\n    return "kept"\n'
        and prose == "Says it.\n\nDoes it.\n\nWell.\n\n"
    )


def test_domains__generated_text__is_right_and_the_same_again():
    sums = [
        line
        for _, text in zip(range(5), domains._arithmetic(), strict=False)
        for line in text.splitlines()
    ]
    for line in sums:
        left, _, right = line.replace(" is ", " = ").partition(" = ")
        assert str(eval(left, {"__builtins__": {}})) == right
    assert next(iter(domains._dialogue())) == next(iter(domains._dialogue()))


def test_domains__other_digest__refused_with_the_remedy(
    tmp_path, texts, monkeypatch
):
    monkeypatch.setattr(domains, "_tokenize", lambda: texts)
    with pytest.raises(CorpusError, match="pip install"):
        domains.load(tmp_path)
    assert domains.load(tmp_path, texts.sha256).sha256 == texts.sha256
    monkeypatch.setattr(domains, "PACKAGES", ("no_such_package",))
    with pytest.raises(CorpusError, match="no_such_package"):
        list(domains._python_files(tests=False))


def test_shapes__budgets__are_kept_and_dear_levels_take_the_first_of_cheap_ones():
    for level in ARCHITECTURE.levels:
        cells = ARCHITECTURE.design(level)
        assert all(
            architecture.shape_of(c).total_params
            <= level.settings["param_budget"]
            for c in cells
        )
        for cell in cells:
            run = Run("architecture", level, cell, 0)
            spent = (
                architecture.n_steps(run)
                * level.settings["batch_tokens"]
                * architecture.shape_of(cell).train_flops_a_token
            )
            assert spent == pytest.approx(
                level.settings["flop_budget"], rel=0.06
            )
    cheap, expensive = (
        ARCHITECTURE.design(ARCHITECTURE.level(name)) for name in ("b1", "b3")
    )
    assert cheap[: len(expensive)] == expensive
    shared = [
        c for c in ARCHITECTURE.design(ARCHITECTURE.level("c1")) if c in cheap
    ]
    assert len(shared) >= 2 * architecture.N_SHARED


def test_architecture_training__stack__equals_single_runs_and_budget_is_spent(
    text,
):
    cells = architecture.design(SHAPES)[:2]
    runs = [Run("architecture", SHAPES, c, 0) for c in cells]
    assert len(ARCHITECTURE.stacks(runs)) == 1
    together = train_architecture.train(runs, text)
    alone = train_architecture.train(runs[1:], text)[runs[1].run_id][-1]
    end = together[runs[1].run_id][-1]
    assert (
        alone.final["val_loss"]
        == pytest.approx(end.final["val_loss"], rel=1e-4)
        != together[runs[0].run_id][-1].final["val_loss"]
    )
    (found,) = landed(together[runs[0].run_id]).runs
    assert (
        json.loads(found["config_json"]) == cells[0]
        and found["cost_flops"] == 2e8
        and found["status"] == "finished"
    )
    assert end.cost["flops"] == pytest.approx(2e8, rel=0.5) and set(
        end.final
    ) == {"val_loss"} | {m.name for m in ARCHITECTURE.secondary}


def test_epochs__more_than_the_text__every_sequence_again_in_another_order():
    starts = (
        train_architecture.epochs(n_tokens=1000, n_sequences=40, seed=1) // 64
    )
    once, again = starts[:15].tolist(), starts[15:30].tolist()
    assert (
        sorted(once) == sorted(again) == list(range(15))
        and once != again
        and len(starts) == 40
    )


def test_costs__deeper_and_wider__take_more_memory_and_a_tied_head_fewer_parameters(
    text,
):
    batch = tuple(
        torch.from_numpy(text.train[None, i : i + 512].astype(np.int64))
        for i in (0, 1)
    )
    small, deep, wide = (
        train_architecture.costs(s, batch)
        for s in (
            Shape(16, 1, heads=1),
            Shape(16, 3, heads=1),
            Shape(32, 1, heads=1),
        )
    )
    assert small["train_memory_bytes"] < min(
        deep["train_memory_bytes"], wide["train_memory_bytes"]
    )
    assert all(c["latency_ms"] > 0 for c in (small, deep, wide))
    assert (
        Shape(16, 1).total_params - Shape(16, 1, tied=True).total_params
        == 512 * 16
    )
    assert (
        Shape(16, 1).train_flops_a_token
        == Shape(16, 1, tied=True).train_flops_a_token
    )


def test_model__heads_and_tying__change_what_is_computed(text):
    batch = tuple(
        torch.from_numpy(text.train[None, i : i + 64].astype(np.int64))
        for i in (0, 1)
    )
    losses = [
        StackedDecoder(Shape(32, 1, heads=h, tied=t), [0]).losses(*batch).item()
        for h, t in ((0, False), (2, False), (4, False), (2, True))
    ]
    assert losses[0] == losses[1] and len(set(losses)) == 3


def test_optimizer_training__stack__equals_single_runs_and_every_knob_counts(
    text,
):
    plain = {
        "learning_rate": 2.0**-6,
        "batch_tokens": 256,
        "weight_decay": 0.0625,
        "warmup_share": 0.05,
        "beta2": 0.95,
    }
    changes = (
        {},
        {"weight_decay": 1.0},
        {"warmup_share": 0.2},
        {"beta2": 0.999},
        {"learning_rate": 2.0**-5},
    )
    level = Level("t1", "train", {"width": 16, "layers": 1, "tokens": 2**14})
    runs = [Run("optimizer", level, plain | change, 0) for change in changes]
    together = train_optimizer.train(runs, text)
    for run in runs[:3]:
        alone = train_optimizer.train([run], text)[run.run_id]
        assert together[run.run_id][-1].final["val_loss"] == pytest.approx(
            alone[-1].final["val_loss"], rel=1e-4
        )
    assert len(
        {records[-1].final["val_loss"] for records in together.values()}
    ) == len(changes)
    read = landed(together[runs[0].run_id])
    assert (
        not read.bad
        and read.runs[0]["source"] == "lab-optimizer"
        and read.runs[0]["family"] == "pretraining"
    )


def test_pilot__second_seed__goes_to_the_best_cells_once_the_first_is_there():
    level = DATA_MIXTURE.levels[0]
    first = pilot_runs(DATA_MIXTURE, level, 8, {})
    assert len(first) == 8 and {r.seed for r in first} == {0}
    losses = {r.run_id: -i for i, r in enumerate(first)}
    assert [
        r.config for r in pilot_runs(DATA_MIXTURE, level, 8, losses)[8:]
    ] == [r.config for r in first[:3:-1]]


def test_summary__maximized_objective__best_is_the_highest():
    family = dataclasses.replace(
        DATA_MIXTURE,
        objective=dataclasses.replace(DATA_MIXTURE.objective, direction="max"),
    )
    assert family.loss({"writer_loss": 2.0}) == -2.0
    assert (
        summary.shown(
            {"mixture": {"code": 0.25, "prose": 0.0}, "rate": 2.0**-6}
        )
        == "mixture code=25%, rate 0.015625"
    )
