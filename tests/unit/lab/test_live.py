"""Live plays: proposals are trained on tiny levels, logged, found again, and judged
against recorded rows.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from autollm.core.errors import BusyError, EpisodeError, SetupError
from autollm.core.ids import Origin
from autollm.core.places import PROJECT
from autollm.core.records import RunEnd, RunHeader, parse_record
from autollm.gym.environments.scalar import LLMConfigEnv
from autollm.gym.environments.text import TextEnv
from autollm.gym.tasks.episode import start
from autollm.gym.tasks.task import Constraint
from autollm.lab import families, start_models
from autollm.lab.families import FAMILIES
from autollm.lab.families.architecture import shape_of
from autollm.lab.live import SEEDS_FROM, LiveLab, level_of, trainable
from autollm.lab.spec import Run
from autollm.lab.trainers import architecture, data_mixture, pretraining
from tests.unit.gym.tables import make_table, make_task
from tests.unit.lab import live_tables
from tests.unit.lab.live_tables import (
    LEVELS,
    TINY,
    Inline,
    evaluate_live,
    lab_in,
    table_of,
    task_of,
)
from tests.unit.logs.landed import land_bytes

OFF = {"learning_rate": 2.0**-6, "batch_tokens": 64}
"""Declared, and not among the recorded cells."""


@pytest.fixture
def tiny(monkeypatch):
    """The tiny families in place of the real ones, on made-up text."""
    for name, family in TINY.items():
        monkeypatch.setitem(families.FAMILIES, name, family)
    for module in (pretraining, architecture):
        monkeypatch.setattr(module, "load", lambda *_: live_tables.text())
    monkeypatch.setattr(data_mixture, "load", lambda *_: live_tables.domains())


def played(
    folder, name="pretraining", launcher=None, seed=0, lab=None, **changes
):
    table = table_of(name)
    live = table.with_outcomes_from(lab or lab_in(folder, launcher or Inline()))
    return start(task_of(live, **changes), live, seed)


def records(folder, run):
    return [
        parse_record(line)
        for line in (folder / "inbox" / f"{run.run_id}.jsonl")
        .read_text()
        .splitlines()
    ]


def landed(path):
    found = land_bytes(path.name, path.read_bytes())
    assert not found.bad
    return found.runs[0]


def test_live__proposal_off_the_recorded_rows__is_trained_logged_and_can_be_landed(
    tiny, tmp_path
):
    launcher = Inline()
    episode = played(tmp_path, launcher=launcher, seed=2)
    trial = episode.run(OFF)
    reference, run = launcher.asked
    assert (run.config, run.seed, run.level) == (
        OFF,
        SEEDS_FROM + 2,
        LEVELS["pretraining"],
    )
    assert (
        isinstance(run.config["batch_tokens"], int)
        and run.run_id not in TINY["pretraining"].known()
    )
    assert reference.config == TINY["pretraining"].design(run.level)[0]
    head, *_, end = records(tmp_path, run)
    assert (trial.status, trial.distance, trial.loss, trial.configuration) == (
        "ok",
        0.0,
        end.final["val_loss"],
        OFF,
    )
    assert (
        isinstance(head, RunHeader)
        and head.source == "lab-pretraining"
        and episode.ledger.cost_flops == end.cost["flops"]
    )
    row = landed(tmp_path / "inbox" / f"{run.run_id}.jsonl")
    assert (
        row["objective_value"] == trial.loss
        and json.loads(row["config_json"]) == pytest.approx(OFF)
        and row["seed"] == SEEDS_FROM + 2
    )


def test_live__regret__is_the_difference_to_the_best_recorded_configuration_under_the_same_seed(
    tiny, tmp_path
):
    launcher = Inline()
    episode = played(tmp_path, launcher=launcher)
    found = episode.run({"learning_rate": 2.0**-9, "batch_tokens": 256})
    best = records(tmp_path, launcher.asked[0])[-1].final["val_loss"]
    unit = np.median(episode.losses) - 3.0
    assert episode.comparable_loss(found) == pytest.approx(
        3.0 + found.loss - best
    )
    assert (
        episode.regret_curve()[0]
        == pytest.approx(np.clip((found.loss - best) / unit, 0, 1))
        and found.loss > best
    )
    episode.run_candidate(0)
    assert (
        episode.run(launcher.asked[0].config).loss == best
        and episode.regret_curve()[-1] == 0.0
    )


def test_live__better_than_every_recorded_row__regret_is_zero_and_the_gap_negative(
    tiny, tmp_path
):
    from autollm.evaluation.protocol import Player, result_of

    episode = played(tmp_path)
    found = episode.run({"learning_rate": 2.0**-5, "batch_tokens": 64})
    result = result_of(episode, Player("someone"))
    assert (
        result.regret[0]
        == result.latent_regret[0]
        == result.inference_regret
        == 0.0
    )
    assert (
        result.raw_gap[0] == pytest.approx(episode.comparable_loss(found) - 3.0)
        and result.raw_gap[0] < 0
        and result.rank[0] == 1
    )
    assert result.live and result.table_id == "tiny"


def test_live__submitted_without_a_trial__is_trained_to_be_judged(
    tiny, tmp_path
):
    launcher = Inline()
    episode = played(tmp_path, launcher=launcher)
    episode.submit(OFF)
    assert episode.inference_regret() == pytest.approx(
        np.clip(
            (
                episode.comparable_loss(
                    dataclasses.replace(
                        start_trial(launcher, tmp_path), row=episode.submitted
                    )
                )
                - 3.0
            )
            / (np.median(episode.losses) - 3.0),
            0,
            1,
        )
    )
    assert [r.config for r in launcher.asked][
        -1
    ] == OFF and episode.ledger.cost_flops == 0.0


def start_trial(launcher, folder):
    """A trial that found what the last run that was asked for ended with."""
    from autollm.gym.tasks.episode import Trial

    return Trial(
        1,
        "ok",
        None,
        loss=records(folder, launcher.asked[-1])[-1].final["val_loss"],
    )


def test_live__same_proposal_and_seed__recorded_run_is_used_again(
    tiny, tmp_path
):
    first = played(tmp_path).run(OFF)
    idle, fresh = Inline(), Inline()
    again = played(tmp_path, launcher=idle)
    assert again.run(OFF) == first and not idle.asked
    assert again.run(OFF).status == "repeated"
    assert (
        played(tmp_path, launcher=fresh, seed=1).run(OFF).loss != first.loss
        and len(fresh.asked) == 2
    )


def test_live__between_declared_values__nearest_is_trained_and_the_snap_said(
    tiny, tmp_path
):
    near, far = (
        played(tmp_path).run({"learning_rate": 2.0**r, "batch_tokens": 64})
        for r in (-6.1, -1.0)
    )
    assert (
        near.configuration == OFF
        and near.distance == pytest.approx(0.1)
        and near.status == "ok"
    )
    assert (
        far.configuration["learning_rate"] == pytest.approx(2.0**-4.5)
        and far.distance == pytest.approx(3.5)
        and far.status == "off_table"
    )


def test_live__text_view_and_masked_task__play_the_same_runs(tiny, tmp_path):
    env = TextEnv(lambda: played(tmp_path, seed=1, masked=True))
    env.reset()
    trial = env.episode.run(
        env.episode.drawn.view.space.decode(
            TINY["pretraining"].space.encode(OFF)
        )
    )
    assert trial.loss == played(tmp_path, seed=1).run(OFF).loss


@pytest.mark.parametrize("name", ["architecture", "data_mixture"])
def test_live__other_families__are_trained_at_their_own_level(
    tiny, tmp_path, name
):
    launcher = Inline()
    episode = played(tmp_path, name, launcher)
    proposal = {
        "architecture": {
            "depth": 2,
            "width": 16,
            "heads": 1,
            "mlp_ratio": 1,
            "tied": True,
            "rate_multiplier": 2.0,
        },
        "data_mixture": {
            "mixture": dict(
                zip(
                    live_tables.data_mixture.DOMAINS,
                    (0.1, 0.15, 0.2, 0.25, 0.3, 0.0),
                    strict=True,
                )
            )
        },
    }[name]
    trial = episode.run(proposal)
    run = launcher.asked[-1]
    assert (
        trial.status == "ok"
        and run.level.name == "t1"
        and trial.loss
        == records(tmp_path, run)[-1].final[TINY[name].objective.name]
    )
    assert (
        landed(tmp_path / "inbox" / f"{run.run_id}.jsonl")["status"]
        == "finished"
    )
    assert run.config == proposal or run.config["mixture"] == pytest.approx(
        proposal["mixture"]
    )
    other = (
        played(tmp_path, name, launcher, objective="coder_loss")
        if name == "data_mixture"
        else played(tmp_path, name, launcher)
    )
    assert (other.run(proposal).loss == trial.loss) is (
        name == "architecture"
    ) and len(launcher.asked) == 2


def test_live__grpo__is_trained_from_its_start_model_and_maximized(
    tiny, tmp_path, monkeypatch
):
    from autollm.lab.trainers import rl_tuning

    recipe = {
        **start_models.RECIPE,
        "band": [0.0, 1.0],
        "retained_success": 0.0,
        "batch": 16,
        "check_every": 2,
        "max_steps": 2,
    }
    monkeypatch.setattr(start_models, "RECIPE", recipe)
    monkeypatch.setattr(start_models, "PROMPTS", 64)
    monkeypatch.setattr(
        rl_tuning, "N_SCORED", {"in_task": 40, "shifted": 20, "retained": 20}
    )
    monkeypatch.setattr(rl_tuning, "N_SAMPLED", 20)
    launcher = Inline()
    trial = played(tmp_path, "rl_tuning", launcher).run(
        {
            "learning_rate": 2.0**-9,
            "kl_weight": 0.04,
            "group_size": 8,
            "clip_range": 0.125,
            "temperature": 1.0,
        }
    )
    end = records(tmp_path, launcher.asked[-1])[-1]
    assert end.status == "finished" and (trial.objective, trial.loss) == (
        end.final["score"],
        -end.final["score"],
    )
    row = landed(tmp_path / "inbox" / f"{launcher.asked[-1].run_id}.jsonl")
    assert (
        row["source"] == "lab-rl_tuning"
        and row["objective_value"] == trial.objective
    )


def test_live__diverging_runs__are_recorded_outcomes(
    tiny, tmp_path, monkeypatch
):
    reference = Inline()
    played(tmp_path, launcher=reference).run(
        TINY["pretraining"].design(LEVELS["pretraining"])[0]
    )
    monkeypatch.setattr(pretraining, "DIVERGED_ABOVE", 0.0)
    launcher = Inline()
    finite = played(tmp_path, launcher=launcher).run(OFF)
    assert (
        finite.diverged
        and finite.loss
        == records(tmp_path, launcher.asked[-1])[-1].final["val_loss"]
        and len(launcher.asked) == 1
    )
    monkeypatch.setattr(
        pretraining, "validate", lambda model, *_: np.full(model.runs, np.nan)
    )
    episode = played(tmp_path, launcher=launcher)
    broken = episode.run({**OFF, "batch_tokens": 128})
    assert (
        broken.diverged
        and np.isnan(broken.objective)
        and broken.loss == 3.0 + 0.1 * 7
    )
    assert (
        landed(tmp_path / "inbox" / f"{launcher.asked[-1].run_id}.jsonl")[
            "status"
        ]
        == "diverged"
    )


@pytest.mark.parametrize("name", list(TINY))
def test_live__trainer_that_raises__is_a_failed_run_and_the_episode_goes_on(
    tiny, tmp_path, monkeypatch, name
):
    from autollm.lab.spec import trainer

    module, family = trainer(name), TINY[name]
    cells = family.design(LEVELS[name])
    if name == "rl_tuning":
        monkeypatch.setattr(
            module,
            "train",
            lambda runs, *_: {r.run_id: fake(family, r) for r in runs},
        )
    good = module.train

    def train(runs, *rest):
        if trainable(family, runs[0].level, runs[0].config) == cells[1]:
            raise RuntimeError("out of\nmemory")
        return good(runs, *rest)

    monkeypatch.setattr(module, "train", train)
    launcher = Inline()
    episode = played(tmp_path, name, launcher)
    trial = episode.run(cells[1])
    _, end = records(tmp_path, launcher.asked[-1])
    assert (
        (end.status, end.reason) == ("failed", "RuntimeError: out of\nmemory")
        and trial.diverged
        and trial.loss == max(episode.losses)
    )
    assert (
        landed(tmp_path / "inbox" / f"{launcher.asked[-1].run_id}.jsonl")[
            "status"
        ]
        == "failed"
    )
    assert np.isfinite(episode.run(cells[0]).objective)


def fake(family, run):
    from autollm.lab.recording import header

    head = header(
        family,
        run,
        model=run.level.settings,
        sha256="",
        packages=(),
        started="",
    )
    return [
        head,
        RunEnd(
            "finished",
            {family.objective.name: 0.5},
            {"flops": 1.0, "device_hours": 0.0},
        ),
    ]


def test_live__process_that_dies__is_a_failed_run_and_another_one_trains_the_next(
    tiny, tmp_path
):
    class Dying(Inline):
        def result(self, ticket):
            if self.asked[-1].config == OFF:
                raise BrokenProcessPool("killed")
            ticket()

    launcher, made = Dying(), []
    lab = lab_in(tmp_path, launcher)
    lab.make_launcher = lambda: made.append(1) or launcher
    episode = played(tmp_path, lab=lab)
    assert (
        episode.run(OFF).diverged
        and episode.run({**OFF, "batch_tokens": 128}).status == "ok"
    )
    end = parse_record(
        (tmp_path / "inbox" / f"{launcher.asked[1].run_id}.jsonl")
        .read_text()
        .splitlines()[-1]
    )
    assert end.reason == "the process that trained it died" and len(made) == 2


def test_live__reference_out_of_time__nothing_can_be_judged_and_the_remedy_is_said(
    tiny, tmp_path
):
    launcher = Inline()
    episode = played(tmp_path, lab=lab_in(tmp_path, launcher, max_seconds=0.0))
    with pytest.raises(
        SetupError, match=r"time limit.*Fix: delete .*jsonl.*--max-seconds"
    ):
        episode.run(OFF)
    (log,) = (tmp_path / "inbox").glob("*.jsonl")
    assert landed(log)["status"] == "failed"


def test_live__run_that_breaks_a_constraint__costs_its_trial(tiny, tmp_path):
    episode = played(
        tmp_path,
        "architecture",
        constraints=(Constraint("latency_ms", least=3.0),),
    )
    shapes = [
        {
            "depth": 1,
            "width": w,
            "heads": 1,
            "mlp_ratio": 1,
            "tied": True,
            "rate_multiplier": 1.0,
        }
        for w in (8, 16)
    ]
    slow = dataclasses.replace(
        episode.drawn.task,
        constraints=(Constraint("total_params", most=5000.0),),
    )
    episode.source.drawn = dataclasses.replace(episode.drawn, task=slow)
    small, large = (episode.run(shape) for shape in shapes)
    assert (
        shape_of(shapes[0]).total_params
        <= 5000
        < shape_of(shapes[1]).total_params
    )
    assert (
        small.status == "ok"
        and (large.status, large.row) == ("infeasible", -1)
        and np.isnan(large.loss)
        and episode.ledger.trials_left == 1
    )


def test_live__evaluated_twice__trains_once(tiny, tmp_path):
    launcher, idle = Inline(), Inline()
    first = evaluate_live(tmp_path, tmp_path / "a", launcher)
    assert len({r.run_id for r in launcher.asked}) == len(launcher.asked) and {
        r.live for r in first
    } == {True}
    again = evaluate_live(tmp_path, tmp_path / "b", idle)
    assert again == first and not idle.asked


def process(folder, out):
    """The same evaluation as a user has it: it trains in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.unit.lab.live_tables",
            str(folder),
            str(out),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        cwd=PROJECT,
    )


def test_live__killed_half_way__goes_on_and_ends_as_if_it_had_not_been(
    tiny, tmp_path
):
    whole_launcher = Inline()
    whole = evaluate_live(
        tmp_path / "whole", tmp_path / "whole" / "out", whole_launcher
    )
    child = process(tmp_path / "cut", tmp_path / "cut" / "out")
    n_seen = 0
    for line in child.stderr:
        n_seen += ": trained in" in line
        if n_seen == 4:
            child.send_signal(signal.SIGKILL)
            break
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    done = {p.stem for p in (tmp_path / "cut" / "inbox").glob("*.jsonl")}
    launcher = Inline()
    again = evaluate_live(tmp_path / "cut", tmp_path / "cut" / "out", launcher)
    wanted = {r.run_id for r in whole_launcher.asked}
    assert (
        4 <= len(done) < len(wanted)
        and {r.run_id for r in launcher.asked} == wanted - done
    )
    assert [r.regret for r in again] == [r.regret for r in whole] and [
        r.trials_json for r in again
    ] == [r.trials_json for r in whole]


def test_live__two_evaluations_at_once__share_their_runs(tiny, tmp_path):
    children = [process(tmp_path, tmp_path / f"out{i}") for i in range(2)]
    said = [child.communicate(timeout=600) for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    one, other = (json.loads(out) for out, _ in said)
    assert one["regret"] == other["regret"] and one["trials"] == other["trials"]
    trained = [
        line.split()[1]
        for _, err in said
        for line in err.splitlines()
        if ": trained in" in line
    ]
    assert len(trained) == len(set(trained)) and set(trained) == {
        f"{p.stem}:" for p in (tmp_path / "inbox").glob("*.jsonl")
    }


def test_live__run_that_another_evaluation_holds__is_waited_for_and_then_refused(
    tiny, tmp_path, monkeypatch
):
    lab = lab_in(tmp_path, Inline(), max_seconds=-300.0)
    run = Run("pretraining", LEVELS["pretraining"], OFF, SEEDS_FROM)
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _HOLD,
            str(lab.locks_dir / f"{run.run_id}.lock"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    try:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=run.run_id):
            lab.outcome_of(run)
    finally:
        child.kill()
        child.communicate()


_HOLD = """
import sys, time
from pathlib import Path
from autollm.core.locks import hold
with hold(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_live__array_environment__is_refused(tiny, tmp_path):
    live = table_of("pretraining").with_outcomes_from(
        lab_in(tmp_path, Inline())
    )
    with pytest.raises(EpisodeError, match="played live"):
        LLMConfigEnv(task_of(live), live).reset(seed=0)


def test_live__target_that_is_no_lab_level__says_so(tmp_path):
    table = make_table()
    live = table.with_outcomes_from(lab_in(tmp_path, Inline()))
    with pytest.raises(
        EpisodeError,
        match=r"toy 3 .*no level of the lab.*Fix: leave --live out",
    ):
        start(make_task(live), live, 0)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_level_of__every_declared_level__is_found_by_its_experiment(name):
    family = FAMILIES[name]
    for level in family.levels:
        group = level.settings["task"] if name == "rl_tuning" else ""
        origin = Origin(f"lab-{name}", group)
        found = dataclasses.replace(
            table_of(name).experiments[0],
            source=origin.source,
            group=origin.group,
            fidelity=family.fidelity(level),
            experiment_id=live_tables.experiment_id(
                origin, family.fidelity(level)
            ),
        )
        assert level_of(found, "t") == (family, level)
        assert all(family.allows(level, c) for c in family.design(level))
    assert all(trainable(family, level, c) == c for c in family.design(level))


def test_trainable__shape_beyond_the_budget__is_the_nearest_within_it():
    family = FAMILIES["architecture"]
    for level in (family.level("a1"), family.level("d3")):
        found = trainable(
            family,
            level,
            {
                "depth": 6,
                "width": 96,
                "heads": 4,
                "mlp_ratio": 4,
                "tied": False,
                "rate_multiplier": 1.0,
            },
        )
        assert (
            shape_of(found).total_params <= level.settings["param_budget"]
            and isinstance(found["width"], int)
            and isinstance(found["tied"], bool)
        )


def test_live_lab__sent_to_a_worker__leaves_its_launcher_behind(tmp_path):
    import pickle

    lab = LiveLab(tmp_path, tmp_path, tmp_path)
    lab._launcher = object()
    assert pickle.loads(pickle.dumps(lab)) == LiveLab(
        tmp_path, tmp_path, tmp_path
    )
