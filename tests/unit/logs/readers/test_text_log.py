import math

import pytest

from autollm.core.errors import RecordError
from autollm.logs.proposals import propose
from autollm.logs.readers.texts.text_log import TextLogReader
from autollm.logs.readers.texts.text_patterns import (
    format_of,
    own_formats,
    parse_format,
    shipped_formats,
)
from tests.unit.logs.readers.opened import (
    FIXTURES,
    Opened,
    curve_of,
    read_file,
    runs_of,
)

LOGS = FIXTURES / "text_logs"
OWN = """
schema = "autollm.text_log/1"
format = "ours"
recognize = ["[train] at {step}"]
[[points]]
line = "[train] at {step} after {wall_time_ms}ms: nll={nll} ({tokens} tokens)"
"""


def test_megatron__arguments_and_intervals__are_a_run_with_its_restart():
    relation = read_file(TextLogReader(), LOGS / "megatron.log")
    (row,) = relation.runs.to_pylist()
    assert (row["args.hidden_size"], row["args.lr"]) == ("1024", "0.00015")
    assert row["args.tokenizer_model"] == "None"
    assert "args.using" not in row
    losses = curve_of(relation, "megatron", "lm loss")
    assert [step for step, _ in losses] == [100, 200, 200, 300]
    assert losses[0][1] == 6.412345 and math.isnan(losses[-1][1])
    assert curve_of(relation, "megatron", "validation lm loss value") == [
        (100, 6.398765),
        (200, 4.987654),
    ]
    assert relation.roles["metrics.lm loss"] == "result"
    assert relation.roles["metrics.learning rate"] == "measured"
    assert relation.n_lines == 26 and not relation.bad


def test_nanochat__steps_and_results__are_read():
    relation = read_file(TextLogReader(), LOGS / "nanochat.log")
    (row,) = relation.runs.to_pylist()
    assert (row["args.depth"], row["args.n_params"]) == ("20", 560_988_160)
    assert row["metrics.min_val/bpb"] == 1.1234
    assert curve_of(relation, "nanochat", "loss")[1] == (10, 9.812345)


@pytest.mark.parametrize(
    "line, metric, value",
    [
        (
            "step:125/1390 val_loss:3.7722 train_time:17500ms",
            "val_loss",
            3.7722,
        ),
        ("s:250 tel:3.9981", "val_loss", 3.9981),
        (
            "[titan] step: 10  loss:  8.2125  grad_norm:  1.5  memory: 30.1GiB(38%)",
            "loss",
            8.2125,
        ),
    ],
)
def test_shipped_formats__one_line_of_each__is_recognized(line, metric, value):
    (relation,) = TextLogReader().read(Opened("train.log", line.encode()))
    assert curve_of(relation, "train", metric)[0][1] == value


def test_own_format__a_file_in_the_home__goes_before_the_shipped_ones(tmp_path):
    (tmp_path / "ours.toml").write_text(OWN)
    reader = TextLogReader(own_formats(tmp_path))
    line = b"12:01 [train] at 1,000 after 2500ms: nll=2.5 (1,048,576 tokens)\n"
    assert reader.matches("x.txt", line)
    (relation,) = reader.read(Opened("x.txt", line))
    (point,) = [p for p in relation.points.to_pylist() if p["metric"] == "nll"]
    assert (point["step"], point["tokens"]) == (1000, 1_048_576.0)
    assert (point["value"], point["wall_time_s"]) == (2.5, 2.5)


@pytest.mark.parametrize(
    "change, said",
    [
        ("schema =", "not TOML"),
        ('format = "Ours!"', "format"),
        ("recognize = []", "recognize"),
        ('colour = "red"', "colour"),
    ],
)
def test_own_format__a_wrong_file__is_an_error_that_names_the_field(
    change, said
):
    name = change.split(" =")[0]
    lines = [
        line for line in OWN.splitlines() if not line.startswith(f"{name} =")
    ]
    text = "\n".join([change, *lines])
    with pytest.raises(RecordError, match=said):
        parse_format(text.encode(), "ours.toml")


def test_formats__prose__is_none_of_them():
    text = b"We trained for 1000 steps: train loss was 2.3 and fell.\nIn step 5 it rose.\n"
    assert format_of(text, shipped_formats()) is None


def test_formats__a_line_made_to_backtrack__ends_at_once():
    """A regular expression with nested repeats would take longer than the universe."""
    line = (
        b"step 1: train loss "
        + b"1" * 4000
        + b",111" * 900
        + b"x, val loss 2\n"
    )
    text = line * 5 + b"step 2: train loss 2.0, val loss 2.1\n"
    (relation,) = TextLogReader().read(Opened("t.log", text))
    assert curve_of(relation, "t", "val/loss") == [(2, 2.1)]


def nanogpt_log(rate):
    """What nanoGPT prints with a configuration file."""
    lines = [
        "Overriding config with config/train.py:",
        "# a small one",
        f"learning_rate = {rate} # max learning rate",
        "dataset = 'openwebtext'",
        "tokens per iteration will be: 491,520",
        "number of parameters: 123.59M",
    ]
    for step in range(0, 1001, 250):
        value = 3 + 500 / (step + 100)
        lines.append(
            f"step {step}: train loss {value:.4f}, val loss {value + rate:.4f}"
        )
    return "\n".join(lines).encode() + b"\n"


def test_nanogpt__printed_configuration__is_the_runs_settings():
    (relation,) = TextLogReader().read(Opened("a.txt", nanogpt_log(6e-4)))
    (row,) = relation.runs.to_pylist()
    assert row["args.learning_rate"] == "0.0006"
    assert row["args.dataset"] == "openwebtext"
    assert relation.roles["args.learning_rate"] == "setting"


def test_propose__one_log_a_folder__is_a_run_of_the_folders_name(tmp_path):
    for rate in (3e-4, 6e-4, 1.2e-3):
        folder = tmp_path / f"lr{rate}"
        folder.mkdir()
        (folder / "log.txt").write_bytes(nanogpt_log(rate))
    found = propose(str(tmp_path))
    assert found.n_land == 3 and found.problem == ""
    assert found.summary.knobs["args_learning_rate"] == [3e-4, 6e-4, 1.2e-3]


COMPOSER = """Building model: MPT
global_train_batch_size: 320
optimizer:
  name: decoupled_adamw
  lr: 0.0016
******************************
[batch=50/{planned}]:
\t Train time/epoch: 0
\t Train time/token: 32768000
\t Train loss/train/total: 7.76
\t Train metrics/train/LanguageCrossEntropy: 7.76
[Eval batch=1/1] Eval on eval data:
\t Eval metrics/eval/LanguageCrossEntropy: 7.91
[batch=100/{planned}]:
\t Train time/token: 65536000
\t Train loss/train/total: 6.50
[Eval batch=1/1] Eval on eval data:
\t Eval metrics/eval/LanguageCrossEntropy: 6.71
"""


@pytest.mark.parametrize(
    ("planned", "state"), [(100, "finished"), (1000, "unfinished")]
)
def test_composer__blocks__are_points_and_printed_yaml_the_settings(
    planned, state
):
    text = COMPOSER.format(planned=planned)
    (relation,) = TextLogReader().read(Opened("mpt.log", text.encode()))
    row = runs_of(relation)["mpt"]
    assert row["args.optimizer.lr"] == "0.0016"
    assert row["args.global_train_batch_size"] == "320"
    assert row["metrics.metrics/eval/LanguageCrossEntropy"] == 6.71
    assert row["state"] == state
    curve = curve_of(relation, "mpt", "metrics/eval/LanguageCrossEntropy")
    assert curve == [(50, 7.91), (100, 6.71)]


def test_folder__one_yaml_of_any_name_beside_a_log__is_its_configuration(
    tmp_path,
):
    for at in range(4):
        folder = tmp_path / f"axo_{at}"
        folder.mkdir()
        (folder / "axolotl.yaml").write_text(f"lr: {1e-4 * 2**at:.4f}\n")
        lines = ""
        for step in range(1, 6):
            lines += (
                f"{{'loss': '{3 - step / 5 + at / 9}', 'epoch': '{step}.0'}}\n"
            )
        (folder / "log.txt").write_text(lines)
    found = propose(str(tmp_path))
    assert found.n_land == 4 and found.problem == ""
    assert found.summary.knobs == {"config_lr": [1e-4, 2e-4, 4e-4, 8e-4]}
