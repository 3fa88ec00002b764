"""Kinds of tables that people have, one small one each: what a proposal makes of it."""

import itertools
import json
import tomllib

import pytest

from autollm.core.errors import MappingError
from autollm.logs.proposals import TableOptions, propose
from tests.unit.logs.proposals.tables import (
    RATES,
    SIZES,
    codes,
    knobs,
    loss,
    proposed,
    renamed,
    roles,
    sweep,
)
from tests.unit.logs.raw_logs import json_lines, write


def test_propose__states_of_a_tool__runs_that_did_not_finish_are_no_outcomes(
    tmp_path,
):
    words = ["COMPLETED", "OOM", "Timed Out", "pruned", "running"]
    rows = sweep(**{"how it went": lambda i: words[i % 5]})
    for i, row in enumerate(rows):
        row["_step"] = 5000 if i % 5 == 0 else 40 + i
        row["val_loss"] = row["val_loss"] if i % 5 == 0 else 0.9
    found = proposed(tmp_path, rows)
    assert found.mapping.state.column == "how it went"
    assert set(found.summary.statuses) == {
        "finished",
        "failed",
        "killed",
        "pruned",
        "running",
    }
    assert found.summary.best["value"] > 2 and set(knobs(found)) == {
        "lr",
        "batch_size",
    }
    assert (
        "not-finished" in codes(found) and roles(found)["_step"] == "measured"
    )


def test_propose__unknown_word_of_a_state__is_named_and_its_rows_set_aside(
    tmp_path,
):
    found = proposed(
        tmp_path, sweep(status=lambda i: "weird" if i % 9 == 0 else "ok")
    )
    assert "status-words" in codes(found) and (
        found.n_land,
        found.n_quarantined,
    ) == (
        24,
        3,
    )
    many = proposed(
        tmp_path, sweep(status=lambda i: "ok" if i % 3 == 0 else "weird")
    )
    assert roles(many)["status"] != "status"  # most of its words say no status


@pytest.mark.parametrize(
    ("name", "cells", "status"),
    [
        ("diverged", (True, False), "diverged"),
        ("done", (False, True), "running"),
        ("exit_code", (1, 0), "failed"),
        ("oom", (1, 0), "failed"),
    ],
)
def test_propose__flag__is_a_status_rule(tmp_path, name, cells, status):
    found = proposed(
        tmp_path, sweep(**{name: lambda i: cells[0 if i % 9 == 1 else 1]})
    )
    assert found.summary.statuses == {"finished": 24, status: 3}


@pytest.mark.parametrize(("value", "name"), [(0, "val_loss"), (-1, "accuracy")])
def test_propose__sentinel_of_a_crash__lands_as_failed(tmp_path, value, name):
    rows = sweep()
    for i, row in enumerate(rows):
        row[name] = value if i % 9 == 0 else 0.4 + row["val_loss"] / 10
    found = proposed(tmp_path, rows, objective=name)
    assert "sentinel" in codes(found) and found.summary.statuses["failed"] == 3
    assert found.summary.best["value"] > 0


PREFIXES = [
    ("config.", "summary."), ("params.", "metrics."), ("config/", "metrics/"), ("hparam/", "metric/"), ("hparams.", "results."),
    ("args.", "final."), ("optimizer.", "eval/"),
]  # fmt: skip


@pytest.mark.parametrize(("setting", "result"), PREFIXES)
def test_propose__prefixes__change_no_role(tmp_path, setting, result):
    names = {
        n: setting + n for n in ("params", "tokens", "lr", "batch_size", "seed")
    }
    rows = renamed(
        sweep(seed=lambda i: i % 2), val_loss=result + "val_loss", **names
    )
    plain = proposed(tmp_path, sweep(seed=lambda i: i % 2))
    found = proposed(tmp_path, rows)
    expected = {
        names.get(n, n if n == "run" else result + n): r
        for n, r in roles(plain).items()
    }
    assert roles(found) == expected
    assert found.mapping.cost.flops.text == "6 * params * tokens"
    assert [q.column for q in found.mapping.fidelity] == [
        names["params"],
        names["tokens"],
    ]


def test_propose__results_by_prefix__are_outcomes_whatever_their_names(
    tmp_path,
):
    rows = sweep(
        **{
            "metrics.zork": lambda i: i / 7,
            "params.alpha_mix": lambda i: i // 2 % 3,
        }
    )
    for row in rows:
        row.pop("val_loss")
    found = proposed(tmp_path, rows)
    assert roles(found)["metrics.zork"] == "objective" and found.questions
    assert roles(found)["params.alpha_mix"] == "knob"


def test_propose__optuna__is_recognized_and_asks_only_for_the_direction(
    tmp_path,
):
    rows = []
    for i, (rate, drop) in enumerate(
        itertools.product((1e-4, 3e-4, 1e-3, 3e-3), (0, 0.1))
    ):
        row = {"": i, "number": i, "value": 60 + i / 3, "params_lr": rate}
        row |= {
            "params_dropout": drop,
            "system_attrs_grid_id": i,
            "state": "COMPLETE",
        }
        row |= {
            "datetime_start": f"2025-11-22 02:30:1{i}.42",
            "duration": f"0 days 00:01:5{i}.8",
        }
        rows.append(row)
    found = proposed(tmp_path, rows)
    assert [q.code for q in found.questions] == ["direction-unknown"]
    answered = proposed(tmp_path, rows, objective="value:min")
    assert set(knobs(answered)) == {"params_lr", "params_dropout"}
    assert (
        answered.mapping.run_key.columns == ("number",) and answered.n_land == 8
    )
    assert answered.mapping.secondary == ()


def test_propose__things_measured_and_labels__are_no_knobs(tmp_path):
    words = """train_min tokens_per_sec grad_norm mfu peak_mem_gb step_ms wallclock_s power_w host git_commit log_path started_at notes run_name trainable_params"""
    names = words.split()
    more = {
        n: (lambda i, k=k: 17.31 + 1.37 * i + k)
        for k, n in enumerate(names[:8])
    }
    more |= {
        "host": lambda i: f"node{i % 3}",
        "git_commit": lambda i: f"c{i % 4}",
    }
    more |= {
        "log_path": lambda i: f"logs/{i % 5}.log",
        "notes": lambda i: f"n{i % 2}",
    }
    more |= {"started_at": lambda i: f"2025-01-0{1 + i % 9} 10:00:00"}
    more |= {
        "run_name": lambda i: f"x{i % 9}",
        "trainable_params": lambda i: 1000 + i % 3,
    }
    found = proposed(tmp_path, sweep(**more))
    assert set(knobs(found)) == {"lr", "batch_size"}


def test_propose__unnamed_numbers_of_a_small_table__are_doubted(tmp_path):
    rows = [
        {"lr": rate, "wd": wd, "zork": zork, "val_loss": 3 + rate}
        for (rate, wd), zork in zip(
            itertools.product((0.001, 0.002, 0.004), (0, 0.1)),
            (20.13, 24.31, 20.27, 24.43, 20.14, 24.26),
            strict=True,
        )
    ]
    found = proposed(tmp_path, rows)
    assert set(knobs(found)) == {"lr", "wd"} and "measured-or-chosen" in codes(
        found
    )
    said = proposed(tmp_path, rows, knobs="lr,zork")
    assert set(knobs(said)) == {"lr", "zork"}


def test_propose__columns_changed_together__are_one_knob(tmp_path):
    rows = sweep(
        lora_alpha=lambda i: 2 * (8, 16, 64)[i % 3],
        r=lambda i: (8, 16, 64)[i % 3],
    )
    for row in rows:
        row.pop("batch_size")
    found = proposed(tmp_path, rows)
    assert (
        set(knobs(found)) == {"lr", "lora_alpha"}
        and roles(found)["r"] == "fixed"
    )
    assert "changed-together" in codes(found)


def test_propose__ablation_that_moves_the_size_a_little__is_one_experiment(
    tmp_path,
):
    base = {
        "act": "gelu",
        "norm": "ln",
        "block_size": 256,
        "n_params": 10_745_000,
    }
    changes = [{}, {"act": "relu"}, {"norm": "rms", "n_params": 10_646_000}]
    changes += [{"block_size": 512, "n_params": 10_843_000}, {"act": "swiglu", "n_params": 10_900_000}]  # fmt: skip
    rows = []
    for i, (change, seed) in enumerate(itertools.product(changes, (1, 2))):
        name = f"A{i // 2}"
        rows.append(
            {
                "Name": name,
                "seed": seed,
                **base,
                **change,
                "val_loss": 1.5 + i / 100,
            }
        )
    found = proposed(tmp_path, rows)
    assert (
        set(knobs(found)) == {"act", "norm", "block_size"}
        and found.summary.n_experiments == 1
    )
    assert roles(found)["Name"] == "label" and "near-constant-ladder" in codes(
        found
    )


def test_propose__contexts__have_a_role_and_are_said_where_confounded(tmp_path):
    rows = sweep(parametrization=lambda i: ("sp", "mup")[i % 2], tokenizer=lambda i: ("gpt2", "llama")[i >= 9])  # fmt: skip
    found = proposed(tmp_path, rows)
    assert {c.name for c in found.mapping.context} == {
        "parametrization",
        "tokenizer",
    }
    assert {"context", "confounded-context"} <= codes(found)
    by_value = proposed(
        tmp_path, sweep(flavour=lambda i: ("sp", "mup", "completep")[i % 3])
    )
    assert roles(by_value)["flavour"] == "context"


def test_propose__two_optimizers__have_two_rates(tmp_path):
    rows = sweep(optimizer=lambda i: ("adamw", "muon")[i % 2], momentum=lambda i: "" if i % 2 == 0 else (0.9, 0.95)[i % 3 == 0])  # fmt: skip
    found = knobs(proposed(tmp_path, rows))
    assert list(found)[:3] == ["optimizer", "lr_adamw", "lr_muon"]
    assert (
        found["lr_muon"].when.values == ("muon",)
        and found["lr_muon"].column == "lr"
    )
    assert (
        found["momentum"].when.values == ("muon",)
        and found["momentum"].missing is None
    )


@pytest.mark.parametrize("nothing", ["", "None", "null", "NA", "n/a"])
def test_propose__setting_that_is_not_there__is_a_value(tmp_path, nothing):
    rows = sweep(grad_clip=lambda i: (nothing, 1.0)[i % 2], ema=lambda i: (nothing, 0.9, 0.99)[i // 2 % 3], mode=lambda i: (nothing, "x")[i // 4 % 2])  # fmt: skip
    found = proposed(tmp_path, rows)
    assert (found.n_land, found.n_quarantined) == (27, 0)
    assert knobs(found)["ema"].values == ("none", 0.9, 0.99)
    assert (
        knobs(found)["grad_clip"].missing
        == knobs(found)["mode"].missing
        == "none"
    )
    assert sorted(map(str, found.summary.knobs["grad_clip"])) == ["1", "none"]


def test_propose__numbers_as_people_write_them__are_numbers(tmp_path):
    rows = sweep()
    texts = {50_000_000: ("50M", "1B"), 125_000_000: ("125M", "2.5B"), 350_000_000: ("0.35B", "7B")}  # fmt: skip
    for row in rows:
        row["params"], row["tokens"] = texts[row["params"]]
        row["batch_size"] = {32: "32,768", 64: "65,536", 128: "131,072"}[
            row["batch_size"]
        ]
        row["warmup"] = "2 %" if row["lr"] == 0.001 else "1 %"
        row["val_loss"] = str(row["val_loss"])
    found = proposed(tmp_path, rows)
    assert found.summary.knobs["batch_size"] == [32768, 65536, 131072]
    assert [e["fidelity"]["params"] for e in found.summary.ladder] == [
        5e7,
        1.25e8,
        3.5e8,
    ]
    assert found.mapping.cost.flops.text == "6 * params * tokens"


def test_propose__sizes_from_settings__show_their_formula(tmp_path):
    shapes = ((256, 4, 1000), (512, 8, 4000), (1024, 12, 16000))
    rows = [
        {"name": f"w{w}-{rate}", "d_model": w, "n_layer": n, "vocab_size": 50257, "lr": rate,
         "batch_size": 64, "seq_len": 1024, "max_steps": steps, "eval_loss": loss(12 * n * w * w, rate)}
        for (w, n, steps), rate in itertools.product(shapes, RATES)
    ]  # fmt: skip
    found = proposed(tmp_path, rows)
    assert set(knobs(found)) == {"lr"} and "computed" in codes(found)
    sizes = [entry["fidelity"] for entry in found.summary.ladder]
    assert sizes[0]["params"] == pytest.approx(
        12 * 4 * 256**2 + 50257 * 256, rel=1e-5
    )
    assert sizes[0]["tokens"] == pytest.approx(64 * 1024 * 1000, rel=1e-5)


def test_propose__batch_swept_at_equal_steps__stays_one_experiment(tmp_path):
    rows = [
        {"run": f"{b}-{rate}", "batch_size": b, "seq_len": 128, "max_steps": 500, "lr": rate, "val_loss": loss(1e7, rate, b)}
        for b, rate in itertools.product((32, 64, 128), RATES)
    ]  # fmt: skip
    found = proposed(tmp_path, rows)
    assert (
        set(knobs(found)) == {"lr", "batch_size"}
        and found.summary.n_experiments == 1
    )


def test_propose__size_that_goes_with_the_compute__is_the_fidelity(tmp_path):
    rows = sweep()
    for row in rows:
        active = row["params"]
        row["total_params"] = active * (8 if active > 10**8 else 2)
        row["flops"] = 6 * active * row["tokens"]
        row["active_params"] = row.pop("params")
    found = proposed(tmp_path, rows)
    assert found.mapping.fidelity[0].column == "active_params"
    assert found.mapping.cost.flops.text == "flops"


@pytest.mark.parametrize(
    "order", [("model_size", "n_params"), ("n_params", "model_size")]
)
def test_propose__numbers_win_over_words(tmp_path, order):
    words = {SIZES[0][0]: "small", SIZES[1][0]: "medium", SIZES[2][0]: "large"}
    rows = []
    for row in sweep():
        sizes = {
            "n_params": row["params"],
            "model_size": words[row.pop("params")],
        }
        rows.append({**{name: sizes[name] for name in order}, **row})
    found = proposed(tmp_path, rows)
    assert (
        found.mapping.fidelity[0].column == "n_params"
        and found.mapping.lookup == ()
    )
    assert roles(found)["model_size"] == "fixed"


def test_propose__sizes_as_words_alone__are_in_order_and_marked(tmp_path):
    words = {SIZES[0][0]: "medium", SIZES[1][0]: "small", SIZES[2][0]: "large"}
    rows = sweep()
    for row in rows:
        row["model_size"] = words[row.pop("params")]
        row.pop("tokens")
    found = proposed(tmp_path, rows)
    assert list(found.mapping.lookup[0].rows) == ["small", "medium", "large"]
    assert found.toml.count("CORRECT THIS: no size in the name") == 3


@pytest.mark.parametrize("name", ["num_epochs", "max_steps", "data_fraction", "train_examples"])  # fmt: skip
def test_propose__lengths_where_tokens_are_unknown__are_the_ladder(
    tmp_path, name
):
    rows = sweep(**{name: lambda i: (0.25, 0.5, 1.0)[i // 9] if "fraction" in name else (1, 3, 9)[i // 9]})  # fmt: skip
    for row in rows:
        row.pop("params")
        row.pop("tokens")
    found = proposed(tmp_path, rows)
    assert found.mapping.fidelity[0].column == name and "cost-guessed" in codes(
        found
    )


def test_propose__constant_size_beside_a_ladder__is_a_coordinate_that_a_target_may_move(
    tmp_path,
):
    rows = sweep(tokens=10**9)
    found = proposed(tmp_path, rows)
    assert [q.name for q in found.mapping.fidelity] == ["params", "tokens"]
    assert found.mapping.cost.flops.text == "6 * params * tokens"


def test_propose__most_rows_do_not_fit__is_an_error_with_the_first_reasons(
    tmp_path,
):
    path = write(tmp_path, "t.ndjson", json_lines(sweep()) + b"{broken\n" * 40)
    found = propose(path)
    assert found.mapping is None and "only 27 of 67 rows land" in found.problem
    assert "t.ndjson line 28" in found.problem


def test_propose__what_was_said__is_never_guessed_over(tmp_path):
    rows = sweep(
        train_loss=lambda i: 2 + i / 9, depth=lambda i: (4, 8, 16)[i // 9]
    )
    found = proposed(tmp_path, rows, objective="train_loss:max", knobs="lr", fidelity="layers=depth")  # fmt: skip
    assert (found.mapping.objective.column, found.mapping.objective.direction) == ("train_loss", "max")  # fmt: skip
    assert set(knobs(found)) == {"lr"}
    assert [(q.name, q.column) for q in found.mapping.fidelity] == [
        ("layers", "depth")
    ]
    for wrong in (
        {"knobs": "lrr"},
        {"fidelity": "params=nope"},
        {"fidelity": "params"},
    ):
        with pytest.raises(MappingError, match="expected"):
            proposed(tmp_path, rows, **wrong)
    tried = propose(tmp_path / "table.csv", TableOptions(mapping=found.mapping))
    assert tried.mapping == found.mapping and tried.n_land == 27


def test_propose__folder_of_tables__is_one_table(tmp_path):
    rows = sweep()
    for i in range(3):
        write(
            tmp_path / "logs",
            f"part{i}.ndjson",
            json_lines(rows[9 * i : 9 * i + 9]),
        )
    found = propose(tmp_path / "logs")
    assert found.n_land == 27 and found.mapping.source == "logs"
    parts = ("part0.ndjson", "part1.ndjson", "part2.ndjson")
    assert found.mapping.files == parts


def scores(sign):
    rows = []
    for row in sweep():
        score = 10 + sign * row.pop("val_loss")
        rows.append({**row, "eval/score": score})
    return rows


def test_propose__score_that_falls_with_size__asks_what_is_better(tmp_path):
    found = proposed(tmp_path, scores(sign=1))
    (question,) = found.questions
    assert question.column == "eval/score" and found.mapping is None
    assert "By its name higher is better, but" in question.text
    assert not proposed(tmp_path, scores(sign=-1)).questions
    said = proposed(tmp_path, scores(sign=1), objective="eval/score:min")
    assert said.mapping.objective.direction == "min"


def knobs_of(found):
    return {knob["name"]: knob for knob in tomllib.loads(found.toml)["knobs"]}


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("lr", "rate"),
        ("optim.max_lr", "rate"),
        ("muon_lr", "rate"),
        ("global_batch_size", "size"),
        ("weight_decay", None),
        ("warmup_frac", None),
        ("beta2", None),
        ("dropout_rate", None),
        ("lora_rank", None),
        ("min_lr_ratio", None),
    ],
)
def test_propose__role__is_of_learning_rates_and_batches_alone(
    tmp_path, name, role
):
    """Roles say how an optimum moves with scale: a dropout falls with no size."""
    rows = [
        {"params": p, "tokens": 20 * p, name: v, "val_loss": 3 + v / 10}
        for p in (10**8, 4 * 10**8)
        for v in (0.1, 0.2, 0.4)
    ]
    (knob,) = knobs_of(proposed(tmp_path, rows)).values()
    assert knob.get("role") == role


def test_propose__one_empty_rate__sets_its_row_aside_and_stays_a_number(
    tmp_path,
):
    rows = sweep()
    rows[4]["lr"] = ""
    found = proposed(tmp_path, rows)
    lr = knobs_of(found)["lr"]
    assert lr["scale"] == "log" and "missing" not in lr
    assert "missing-values" in codes(found)


@pytest.mark.parametrize(
    "name",
    ["actor_lr", "lr_critic", "head_learning_rate", "muon_lr", "embed_lr"],
)
def test_propose__rate_drawn_at_random_beside_a_grid__is_a_rate(tmp_path, name):
    rows = sweep(kl_coef=lambda i: [0.01, 0.04][i % 2])
    for i, row in enumerate(rows):
        del row["lr"]
        row[name] = 10 ** (-6 + (i * 0.618) % 2)
    found = proposed(tmp_path, rows)
    assert knobs(found)[name].scale == "log"
    assert knobs(found)[name].role == "rate"


def test_propose__rate_under_the_peak_beside_it__is_what_its_schedule_ended_at(
    tmp_path,
):
    rows = sweep()
    for row in rows:
        row["optim.max_lr"] = row["lr"]
        row["lr"] /= 10
    found = proposed(tmp_path, rows)
    assert roles(found)["lr"] == "measured"
    assert roles(found)["optim.max_lr"] == "knob"


@pytest.mark.parametrize(
    "word", ["collapsed", "exploded", "blew up", "unstable", "loss spike"]
)
def test_propose__words_of_a_blow_up__diverged(tmp_path, word):
    rows = sweep(outcome=lambda i: word if i % 4 == 0 else "ok")
    n_diverged = len(rows[::4])
    found = proposed(tmp_path, rows)
    assert found.summary.statuses["diverged"] == n_diverged
    assert found.n_land == len(rows)


def test_propose__rollouts_the_same_in_every_row__are_no_ladder(tmp_path):
    rows = []
    for i, rate in enumerate(RATES * 4):
        row = {"lr": rate, "rollouts": 8, "gpu_hours": 3 + i % 5}
        rows.append(row | {"mean_reward": 0.4 + i / 100})
    found = proposed(tmp_path, rows)
    assert roles(found)["rollouts"] == "constant"
    assert "no-fidelity" in codes(found)


def test_propose__mixture_in_percent__is_told_in_percent(tmp_path):
    rows = []
    for web in range(40, 71, 5):
        for code in (5, 15, 30):
            row = {"params": 10**8, "web %": web, "code %": code}
            row["math %"] = 100 - web - code
            row["loss"] = 3 + (web - 55) ** 2 / 1e3 + code / 1e3
            rows.append(row)
    text = proposed(tmp_path, rows).summary.text
    assert (
        "mixture: code % 5 to 30, math % 0 to 55, web % 40 to 70 (21)" in text
    )
    assert "(code %=5, math %=40, web %=55)" in text


def test_propose__number_that_some_rows_lack__declares_the_values_that_land(
    tmp_path,
):
    rows = sweep(
        dropout=lambda i: 0.3 * (i % 11 * 0.6180339) % 1 if i % 4 else ""
    )
    found = proposed(tmp_path, rows)
    space = json.loads(found.mapping.space_json)["knobs"]
    (declared,) = [k["values"] for k in space if k["name"] == "dropout"]
    assert set(found.summary.knobs["dropout"]) == set(declared)
    assert 0.18541 in declared and "none" in declared
