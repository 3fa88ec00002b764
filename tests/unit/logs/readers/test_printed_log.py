"""Logs of no known format: what a line of names and numbers gives."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.errors import RecordError
from autollm.logs.proposals import propose
from autollm.logs.readers.texts.printed_log import (
    Printed,
    is_printed_log,
)
from autollm.logs.readers.texts.text_log import TextLogReader
from tests.unit.logs.raw_logs import write
from tests.unit.logs.readers.opened import Opened, curve_of, runs_of

LOSSES = [4.2, 3.6, 3.1, 2.9, 2.8]
STYLES = {
    "colon": "Step: {step}, Train Loss: {loss}, LR: 1.00e-04",
    "equals": "2026-11-28 12:00:00,123 INFO step={step} loss={loss} lr=1e-4",
    "printed dict": "{{'loss': {loss}, 'learning_rate': 0.0001, 'step': {step}}}",
    "json in words": 'INFO {{"step": {step}, "loss": {loss}}}',
    "bars": "| step {step} | loss {loss} | 12,345 tok/s |",
    "brackets": "Epoch [1/3], Step [{step}/500], Loss: {loss}",
    "of a whole": "iter {step}/500 - loss: {loss} - acc: 0.5",
    "colours": "\x1b[32mstep {step}\x1b[0m: loss \x1b[1m{loss}\x1b[0m",
    "iso moment": "2026-11-28T12:00:00Z global_step: {step}; loss: {loss}",
    "quoted": "{{'loss': '{loss}', 'grad_norm': '0.31', 'step': '{step}'}}",
    "fairseq": 'INFO | train | {{"epoch": 1, "train_loss": "{loss}", '
    '"x": "102030", "train_num_updates": "{step}"}}',
    "verl": "(TaskRunner pid=411) step:{step} - actor/kl_loss:{loss} - x/mean@1:0.5",
    "hash": "Iteration #{step}  loss = {loss}  ppl = 12.5",
}


def log_of(style, losses=LOSSES, before="", name="run.log"):
    lines = []
    for at, value in enumerate(losses, start=1):
        lines.append(STYLES[style].format(step=100 * at, loss=value))
    return Opened(name, (before + "\n".join(lines) + "\n").encode())


def read(opened):
    reader = TextLogReader()
    assert reader.matches(opened.name, opened.data[: 2**16])
    (relation,) = reader.read(opened)
    return relation


def metric_named(relation, *words):
    (name,) = {
        point["metric"]
        for point in relation.points.to_pylist()
        if point["metric"].lower().split()[-1] in words
    }
    return name


@pytest.mark.parametrize("style", STYLES)
def test_printed_log__each_style__gives_its_losses_at_their_steps(style):
    relation = read(log_of(style))
    name = metric_named(relation, "loss", "train_loss", "actor/kl_loss")
    steps = [100, 200, 300, 400, 500]
    assert curve_of(relation, "run", name) == list(
        zip(steps, LOSSES, strict=True)
    )
    row = runs_of(relation)["run"]
    assert (row[f"metrics.{name}"], row["last_step"]) == (2.8, 500)
    assert relation.n_lines == 5 and not relation.bad


@pytest.mark.parametrize("style", STYLES)
def test_printed_log__other_lines_between__say_nothing(style):
    noise = "Loading data: 12 files\nmodel has 124,000,000 parameters\n"
    relation = read(log_of(style, before=noise))
    assert relation.points.num_rows >= 5
    assert runs_of(relation)["run"]["last_step"] == 500


def test_printed_log__keras__the_epoch_of_the_line_above_counts():
    lines = []
    for at, value in enumerate(LOSSES, start=1):
        bar = " 50/100 [==>...] - ETA: 1s - loss: 9.9\r100/100 [====] - 3s "
        lines += [f"Epoch {at}/5", f"{bar}- loss: {value} - val_loss: {value}"]
    relation = read(Opened("k.log", "\n".join(lines).encode() + b"\n"))
    assert curve_of(relation, "k", "val_loss") == list(
        enumerate(LOSSES, start=1)
    )
    assert curve_of(relation, "k", "loss")[0] == (1, 4.2)


@pytest.mark.parametrize(
    ("n_epochs", "n_batches", "state"),
    [(5, 100, "finished"), (3, 100, "unfinished"), (5, 40, "unfinished")],
)
def test_printed_log__keras__is_finished_after_the_last_batch_of_the_last_epoch(
    n_epochs, n_batches, state
):
    text = ""
    for epoch in range(1, n_epochs + 1):
        at = n_batches if epoch == n_epochs else 100
        text += (
            f"Epoch {epoch}/5\n  1/100 [....] - loss: 0.9\r{at}/100 [====] - "
        )
        text += f"5s 51ms/step - loss: 0.5 - val_loss: {1 / epoch}\n"
    relation = read(Opened("keras.log", text.encode()))
    assert runs_of(relation)["keras"]["state"] == state


def test_printed_log__names_with_an_at__are_metrics():
    relation = read(log_of("verl"))
    assert runs_of(relation)["run"]["metrics.x/mean@1"] == 0.5
    assert "metrics.pid" not in runs_of(relation)["run"]


def test_printed_log__command_with_a_loss_coefficient__is_no_point():
    line = "python3 train.py actor.kl_loss_coef=0.1 trainer.total_epochs=2"
    assert Printed().point(line) is None


def test_printed_log__trainer_prints_epochs__steps_stay_open():
    lines = []
    for at, value in enumerate(LOSSES, start=1):
        epoch = at / 10
        lines.append(f"{{'loss': {value}, 'grad_norm': 1.1, 'epoch': {epoch}}}")
        lines.append(" 12%|█▏ | 12/100 [00:01<00:07,  9.1it/s]")
    relation = read(Opened("t.log", "\n".join(lines).encode() + b"\n"))
    assert curve_of(relation, "t", "loss") == [(None, v) for v in LOSSES]
    assert runs_of(relation)["t"]["last_epoch"] == 0.5


def test_printed_log__splits_in_words_before_the_equals__are_two_metrics():
    lines = [
        f"epoch {i}: train loss={i / 2} val loss={i / 3}" for i in range(1, 5)
    ]
    relation = read(Opened("r.log", "\n".join(lines).encode() + b"\n"))
    assert curve_of(relation, "r", "train loss")[-1] == (4, 2.0)
    assert curve_of(relation, "r", "val loss")[-1] == (4, pytest.approx(4 / 3))


def test_printed_log__not_finite__is_a_value():
    losses = [3.0, 2.5, math.nan, math.inf]
    relation = read(log_of("equals", losses))
    values = [value for _, value in curve_of(relation, "run", "loss")]
    assert math.isnan(values[2]) and values[3] == math.inf


def test_printed_log__restart__both_points_stay_and_the_later_counts():
    opened = log_of("colon")
    again = STYLES["colon"].format(step=300, loss=9.0).encode() + b"\n"
    relation = read(Opened("run.log", opened.data + again))
    at_300 = [v for s, v in curve_of(relation, "run", "Train Loss") if s == 300]
    assert at_300 == [3.1, 9.0]
    assert any("goes back from 500 to 300" in note for note in relation.notes)


def test_printed_log__several_ranks__the_first_one_counts():
    lines = []
    for at, value in enumerate(LOSSES, start=1):
        for rank in (0, 1, 2):
            lines.append(f"[rank{rank}]: step {at}: loss {value + rank}")
    relation = read(Opened("run.log", "\n".join(lines).encode() + b"\n"))
    assert curve_of(relation, "run", "loss") == list(enumerate(LOSSES, start=1))
    assert relation.n_lines == 15


@pytest.mark.parametrize(
    "mark",
    ["[rank{}]: ", "[default{}]:", "rank={} ", "RANK {}: ", "[Worker {}] "],
)
def test_printed_log__marks_of_ranks__are_known(mark):
    lines = []
    for at, value in enumerate(LOSSES, start=1):
        for rank in (3, 1):
            lines.append(f"{mark.format(rank)}step {at}: loss {value + rank}")
    relation = read(Opened("run.log", "\n".join(lines).encode() + b"\n"))
    values = [value for _, value in curve_of(relation, "run", "loss")]
    assert values == [value + 3 for value in LOSSES]


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        (
            "Namespace(lr=0.001, batch_size=32, opt='adamw', betas=[0.9, 0.95])",
            {
                "lr": "0.001",
                "batch_size": "32",
                "opt": "adamw",
                "betas": "[0.9, 0.95]",
            },
        ),
        (
            "+ torchrun train.py --lr 1e-3 --batch-size=32 --fp16 --name x",
            {"lr": "1e-3", "batch_size": "32", "name": "x"},
        ),
        (
            "2026-11-28 12:00:00 INFO config: {'lr': 0.001, 'model': {'depth': 4}}",
            {"lr": 0.001, "model.depth": 4},
        ),
        (
            "+ python3 -m verl.main algo=grpo +actor.optim.lr=2e-06 epochs=2",
            {"algo": "grpo", "actor.optim.lr": "2e-06", "epochs": "2"},
        ),
        ("learning rate: 0.0008", {"learning rate": "0.0008"}),
        ("2026-11-28 12:00:00 INFO batch_size = 32k", {"batch_size": "32k"}),
        ("these settings were read from: a file", {}),
        ("model: /data/models/x", {}),
        ("{broken", {}),
        ("a - b -- c", {}),
    ],
)
def test_printed_log__settings__are_read_where_they_are_printed(line, settings):
    assert Printed().settings(line) == settings


def test_printed_log__yaml_as_it_is_printed__is_nested_by_indentation():
    printed = Printed()
    found = {}
    for line in (
        "model:",
        "  depth: 4",
        "  optimizer:",
        "    name: adamw",
        "    lr: 1.6e-3",
        "  width: 256",
        "batch: 320",
    ):
        found |= printed.settings(line)
    assert found == {
        "model.depth": "4",
        "model.optimizer.name": "adamw",
        "model.optimizer.lr": "1.6e-3",
        "model.width": "256",
        "batch": "320",
    }


def test_printed_log__settings_before_the_first_point__are_the_runs():
    opened = log_of("equals", before="Namespace(lr=0.001, bs=32)\n")
    relation = read(opened)
    row = runs_of(relation)["run"]
    assert (row["args.lr"], row["args.bs"]) == ("0.001", "32")
    assert relation.roles["args.lr"] == "setting"


def test_printed_log__options_after_the_first_point__are_no_settings():
    opened = log_of("equals")
    late = Opened("run.log", opened.data + b"rerun with --lr 5\n")
    assert "args.lr" not in runs_of(read(late))["run"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notes.txt", "step by step: 1, 2, 3\nloss of data: none\n"),
        ("a.log", "step 1\nstep 2\nstep 3\n"),
        ("a.log", "loss: 1\nloss: 2\nloss: 3\n"),
        ("a.csv", "step: 1, loss: 2\n" * 5),
        ("a.log", "step 1: accelerator 3\n" * 5),
        ("a.log", "\x00step 1: loss 3\n" * 5),
        ("a.log", "step: 1, loss: 2\n" * 2),
        ("a.log", ""),
    ],
)
def test_printed_log__other_text__is_none(name, text):
    assert not is_printed_log(name, text.encode())


def test_printed_log__the_finest_count__is_the_step():
    text = b"Epoch [1/3], Step [10/99], Loss: 1\n" * 3
    assert Printed(text).step == "step"
    assert Printed(b"epoch 1: loss 3\n").step == "epoch"
    assert Printed(b"iter 1: loss 3\nepoch 1: loss 3\n").step == "iter"


def test_printed_log__log_that_turns_out_empty__is_an_error():
    with pytest.raises(RecordError, match="no line gives a metric at a step"):
        TextLogReader().read(Opened("a.log", b"nothing\n"))


def test_propose__printed_logs_named_by_settings__have_their_knobs(tmp_path):
    for rate in ("1e-3", "3e-3", "1e-2"):
        losses = [value + float(rate) for value in LOSSES]
        data = log_of("equals", losses).data.replace(b"lr=1e-4", b"")
        write(tmp_path, f"lr{rate}_bs64.log", data)
    found = propose(str(tmp_path))
    assert sorted(found.summary.knobs["lr"]) == [0.001, 0.003, 0.01]
    assert found.summary.best["run"] == "lr1e-3_bs64"


NAMES = st.sampled_from(["loss", "val_loss", "train/loss", "eval_acc", "ppl"])
VALUES = st.floats(0.001, 1e4).map(lambda x: float(f"{x:.6g}"))


@given(
    st.integers(0, 10**7),
    st.dictionaries(NAMES, VALUES, min_size=1),
    st.sampled_from([("=", " "), (": ", ", "), (": ", " | "), ("=", ", ")]),
)
def test_point__pairs_in_any_order__are_read_back(step, values, marks):
    assign, gap = marks
    pairs = [f"step{assign}{step}"]
    pairs += [f"{name}{assign}{value:.6g}" for name, value in values.items()]
    found = Printed().point(gap.join(pairs))
    assert found == {**values, "step": step}


@given(st.text(max_size=200))
def test_point__any_line__is_a_point_or_none(line):
    printed = Printed()
    found = printed.point(line)
    assert found is None or all(
        isinstance(value, (int, float)) for value in found.values()
    )
    assert isinstance(printed.settings(line), dict)
