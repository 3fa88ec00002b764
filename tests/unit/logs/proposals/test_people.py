"""Tables as people write them by hand, from which one thing is hard to tell: what the
proposal must make of it. The outcome is made by a known function.
"""

import itertools
import math
import random

import pytest

from autollm.core.errors import MappingError
from tests.unit.logs.proposals.tables import (
    RATES,
    codes,
    knobs,
    loss,
    proposed,
    renamed,
    roles,
    sweep,
)


def fidelity(found):
    """Name to column of the proposed fidelity."""
    return {entry.name: entry.column for entry in found.mapping.fidelity}


def with_cells(name, cells):
    """The sweep with other cells in some rows of a column."""
    rows = sweep()
    for row, cell in cells.items():
        rows[row][name] = cell
    return rows


@pytest.mark.parametrize(
    ("cell", "status"),
    [("diverged", "diverged"), ("OOM", "failed"), ("(killed)", "killed")],
)
def test_propose__word_in_the_outcome__is_how_the_run_ended(
    tmp_path, cell, status
):
    found = proposed(tmp_path, with_cells("val_loss", {3: cell, 9: cell}))
    assert found.summary.statuses == {"finished": 25, status: 2}
    assert "odd-cells" not in codes(found)


def test_propose__words_that_say_no_end__are_odd_cells(tmp_path):
    found = proposed(tmp_path, with_cells("val_loss", {3: "see notes"}))
    assert "odd-cells" in codes(found) and found.n_quarantined == 1


@pytest.mark.parametrize(
    ("yes", "no"), [("yes", "no"), ("Y", "N"), ("✓", "✗"), ("1", "0")]
)
def test_propose__flag_in_words__is_a_status_rule(tmp_path, yes, no):
    rows = sweep(diverged=lambda i: yes if i in (3, 9) else no)
    found = proposed(tmp_path, rows)
    assert found.summary.statuses == {"finished": 25, "diverged": 2}


def test_propose__marks_around_a_state__say_nothing_more(tmp_path):
    rows = sweep(status=lambda i: "✗ failed" if i < 2 else "✓ done")
    found = proposed(tmp_path, rows)
    assert found.summary.statuses == {"finished": 25, "failed": 2}


@pytest.mark.parametrize("filler", [999, 99.99, 1e9])
def test_propose__number_far_beyond__is_no_outcome(tmp_path, filler):
    found = proposed(tmp_path, with_cells("val_loss", {3: filler, 9: filler}))
    assert "sentinel" in codes(found)
    assert found.summary.statuses == {"finished": 25, "failed": 2}


def test_propose__high_loss__is_a_loss(tmp_path):
    found = proposed(tmp_path, with_cells("val_loss", {3: 11.08, 9: 9.0}))
    assert found.summary.statuses == {"finished": 27}


@pytest.mark.parametrize(
    "name", ["Verlust", "损失", "refusal_rate", "FinalObjectiveValue"]
)
def test_propose__outcome_of_unknown_name__is_found_and_asked_for(
    tmp_path, name
):
    found = proposed(tmp_path, renamed(sweep(), val_loss=name))
    assert roles(found)[name] == "objective" and found.mapping is None
    assert [q.code for q in found.questions] == ["direction-unknown"]
    said = proposed(
        tmp_path, renamed(sweep(), val_loss=name), objective=f"{name}:min"
    )
    assert set(knobs(said)) == {"lr", "batch_size"} and said.n_land == 27


def test_propose__two_outcomes_of_unknown_names__is_an_error(tmp_path):
    rows = renamed(sweep(zork=lambda i: 1.37 * i), val_loss="blub")
    with pytest.raises(MappingError, match="likeliest is 'zork'"):
        proposed(tmp_path, rows)


def test_propose__hparam_metric__is_the_outcome(tmp_path):
    rows = renamed(sweep(), val_loss="hparam/val_loss")
    found = proposed(tmp_path, rows)
    assert roles(found)["hparam/val_loss"] == "objective"


def test_propose__reward_beside_losses_and_kl__a_benchmark_then_reward(
    tmp_path,
):
    more = {
        "kl": lambda i: 0.0131 * (i + 1),
        "policy_loss": lambda i: 0.017 * i - 0.2,
        "reward_mean": lambda i: 0.013 * i,
    }
    rows = renamed(sweep(**more), val_loss="pass@1")
    found = proposed(tmp_path, rows)
    assert roles(found)["pass@1"] == "objective"
    assert set(knobs(found)) == {"lr", "batch_size"}
    for row in rows:
        del row["pass@1"]
    assert roles(proposed(tmp_path, rows))["reward_mean"] == "objective"


def test_propose__outcomes_that_disagree__say_so(tmp_path):
    rows = sweep(val_acc=lambda i: 0.3 + i / 100)
    assert "objective-guessed" in codes(proposed(tmp_path, rows))
    rows = sweep()
    for row in rows:
        row["val_ppl"] = round(math.exp(row["val_loss"]), 3)
    assert "objective-guessed" not in codes(proposed(tmp_path, rows))


def test_propose__tokens_a_parameter__make_tokens(tmp_path):
    rows = []
    for params, ratio, rate in itertools.product(
        ("50M", "150M", "500M"), (5, 20, 80), RATES
    ):
        size = 1e6 * float(params[:-1])
        outcome = loss(size * ratio / 20, rate)
        row = {"size": params, "tokens/param": ratio, "lr": rate}
        rows.append(row | {"val_loss": outcome})
    found = proposed(tmp_path, rows)
    assert set(fidelity(found)) == {"params", "tokens"}
    assert found.summary.n_experiments == 9 and set(knobs(found)) == {"lr"}
    assert {"params": 5e7, "tokens": 1e9} in [
        entry["fidelity"] for entry in found.summary.ladder
    ]


def test_propose__texts_that_state_sizes__are_a_ladder_by_any_name(tmp_path):
    sizes = {50_000_000: "pythia-50m", 125_000_000: "pythia-125m"}
    rows = [r for r in sweep() if r["params"] in sizes]
    for row in rows:
        row["policy"] = sizes[row.pop("params")]
        del row["tokens"]
    found = proposed(tmp_path, rows)
    assert [entry["fidelity"]["params"] for entry in found.summary.ladder] == [
        5e7,
        1.25e8,
    ]
    assert set(knobs(found)) == {"lr", "batch_size"}


def test_propose__compute__is_no_knob_beside_parameters_and_tokens(tmp_path):
    rows = sweep()
    for row in rows:
        row["C"] = f"{6 * row['params'] * row['tokens']:.2e}"
    found = proposed(tmp_path, rows)
    assert roles(found)["C"] == "cost"
    assert set(knobs(found)) == {"lr", "batch_size"}


def test_propose__width_at_all_rates__is_the_ladder(tmp_path):
    rows = []
    for kind, width, rate in itertools.product(
        ("SP", "muP"), (128, 256, 512, 1024), (-10, -9, -8, -7)
    ):
        outcome = 3 + 50 / width + 0.05 * (rate + 8.3) ** 2
        row = {"param": kind, "width": width, "log2lr": rate}
        rows.append(row | {"train_loss": round(outcome, 4)})
    found = proposed(tmp_path, rows)
    assert fidelity(found) == {"width": "width"}
    assert (
        set(knobs(found)) == {"log2lr"} and roles(found)["param"] == "context"
    )


def test_propose__mixture_of_experts__is_laddered_by_active_parameters(
    tmp_path,
):
    rows = []
    for active, experts, rate in itertools.product(
        (10**8, 3 * 10**8), (8, 16, 32), RATES
    ):
        row = {"n_active_params": active, "n_experts": experts, "lr": rate}
        row["n_total_params"] = int(active * experts * 0.6)
        rows.append(row | {"val_loss": loss(active * experts**0.2, rate)})
    found = proposed(tmp_path, rows)
    assert fidelity(found) == {"params": "n_active_params"}
    assert set(knobs(found)) == {"n_experts", "lr"}


def test_propose__shapes_swept_freely__parameters_are_their_consequence(
    tmp_path,
):
    rows = []
    for layers, width, ratio in itertools.product(
        (6, 8, 12), (256, 512, 768), (2, 4)
    ):
        params = layers * (4 + 2 * ratio) * width**2
        row = {"n_layer": layers, "d_model": width, "mlp_ratio": ratio}
        row["params_M"] = round(params / 1e6, 2)
        rows.append(row | {"val_ppl": round(60 - 8 * math.log10(params), 3)})
    found = proposed(tmp_path, rows)
    assert set(knobs(found)) == {"n_layer", "d_model", "mlp_ratio"}
    assert found.summary.n_experiments == 1


def test_propose__weights_in_percent__are_a_mixture(tmp_path):
    draw = random.Random(1)
    rows = []
    for number in range(20):
        web, code = draw.randint(10, 50), draw.randint(10, 40)
        row = {"id": f"m{number}", "params": 10**8 * (1 + number % 2 * 9)}
        row |= {"web %": web, "code %": code, "math %": 100 - web - code}
        rows.append(row | {"avg_loss": 3 + (web - 40) ** 2 / 1e4 + code / 1e3})
    found = proposed(tmp_path, rows)
    (mixture,) = found.mapping.knobs
    assert mixture.total == 100 and found.n_land == 20
    best = found.summary.best["configuration"]["mixture"]
    assert sum(best.values()) == pytest.approx(1)


def random_search(n, **more):
    """A search that draws its settings; `more` get a generator and a row."""
    draw = random.Random(3)
    rows = []
    for _ in range(n):
        row = {"params": draw.choice((10**7, 10**8))}
        row |= {"lr": 10 ** draw.uniform(-4, -2), "wd": draw.uniform(0, 0.3)}
        row["val_loss"] = loss(row["params"], row["lr"])
        for name, value in more.items():
            row[name] = value(draw, row)
        rows.append(row)
    return rows


def test_propose__number_drawn_at_random__is_a_doubtful_knob(tmp_path):
    rows = random_search(60, init_gain=lambda draw, row: draw.uniform(0.5, 2))
    found = proposed(tmp_path, rows)
    assert "init_gain" in knobs(found) and "measured-or-chosen" in codes(found)


@pytest.mark.parametrize(
    "measured",
    [
        lambda draw, row: draw.gauss(70, 3),
        lambda draw, row: row["lr"] * 100 + draw.uniform(0, 0.1),
    ],
)
def test_propose__number_that_clusters_or_follows__is_measured(
    tmp_path, measured
):
    found = proposed(tmp_path, random_search(60, zork=measured))
    assert roles(found)["zork"] == "measured"


def test_propose__last_rate_of_a_schedule__is_no_second_knob(tmp_path):
    rows = renamed(sweep(), lr="learning_rate")
    for number, row in enumerate(rows):
        row["lr"] = 1.37e-5 * (1 + number * 0.917)
    found = proposed(tmp_path, rows)
    assert set(knobs(found)) == {"learning_rate", "batch_size"}


def test_propose__setting_of_one_optimizer_only__needs_no_key_of_its_own(
    tmp_path,
):
    rows = []
    for row in sweep():
        del row["run"]
        rows.append(row | {"opt": "sgd", "momentum": 0.9, "beta2": ""})
        rows.append(row | {"opt": "adam", "momentum": "", "beta2": 0.95})
    for number, row in enumerate(rows):
        row["beta2"] = row["beta2"] and 0.95 + 0.04 * (number % 4 == 1)
    found = proposed(tmp_path, rows)
    assert found.n_land == 54
    assert knobs(found)["beta2"].when.values == ("adam",)


def test_propose__fewer_tokens_than_planned__is_no_finished_run(tmp_path):
    rows = renamed(sweep(), tokens="max_tokens")
    for number, row in enumerate(rows):
        share = 0.31 if number in (3, 9) else 1
        row["tokens_seen"] = int(share * row["max_tokens"])
    found = proposed(tmp_path, rows)
    assert found.summary.statuses == {"finished": 25, "killed": 2}
    assert fidelity(found)["tokens"] == "max_tokens"
    assert set(knobs(found)) == {"lr", "batch_size"}


def test_propose__rate_and_its_multiple__are_one_knob(tmp_path):
    rows = []
    for row in sweep():
        base = 0.002 if row["params"] < 10**8 else 0.0014
        row["lr_mult"] = row["lr"] / 1e-3
        row["lr"] = base * row["lr_mult"]
        rows.append(row)
    found = proposed(tmp_path, rows)
    assert set(knobs(found)) == {"lr", "batch_size"}
    assert "changed-together" in codes(found)


def test_propose__steps_of_a_batch_at_equal_tokens__are_no_knob(tmp_path):
    rows = []
    for row in sweep():
        steps = int(row.pop("tokens") / row["batch_size"] / 2048)
        rows.append(row | {"seq_len": 2048, "train_iters": steps})
    found = proposed(tmp_path, rows)
    assert set(knobs(found)) == {"lr", "batch_size"}
    assert set(fidelity(found)) == {"params", "tokens"}
    assert found.summary.n_experiments == 3


def test_propose__average_of_benchmarks__is_the_objective(tmp_path):
    rows = []
    for row in sweep():
        arc, hellaswag = 90 - 10 * row["val_loss"], 70 - 5 * row["lr"]
        del row["val_loss"]
        row |= {"arc_c": arc, "hellaswag": hellaswag}
        rows.append(row | {"downstream_avg": (arc + hellaswag) / 2})
    found = proposed(tmp_path, rows)
    assert found.mapping.objective.column == "downstream_avg"
    assert found.mapping.objective.direction == "max"


def test_propose__outcome_at_several_steps__is_that_of_the_last(tmp_path):
    rows = []
    for row in sweep():
        last = row.pop("val_loss")
        row |= {"val_loss@500": last + 1, "val_loss@10000": last}
        rows.append(row | {"val_loss@2000": last + 0.2})
    found = proposed(tmp_path, rows)
    assert found.mapping.objective.column == "val_loss@10000"


def test_propose__versions_and_models_by_path__are_what_they_are(tmp_path):
    rows = sweep(torch=lambda i: "2.3.0" if i % 2 else "2.4.1+cu121")
    sizes = {50_000_000: "1B", 125_000_000: "3B", 350_000_000: "8B"}
    for row in rows:
        size = sizes[row.pop("params")]
        row["model_name_or_path"] = f"meta-llama/Llama-3-{size}-Instruct"
    found = proposed(tmp_path, rows)
    assert set(knobs(found)) == {"lr", "batch_size"}
    assert set(fidelity(found)) == {"params", "tokens"}


def test_propose__sizes_under_unknown_names__are_told_by_their_letters(
    tmp_path,
):
    rows = renamed(sweep(), params="参数量", tokens="数据量", lr="学习率")
    for row in rows:
        row["参数量"] = f"{row['参数量'] // 10**6}M"
        row["数据量"] = f"{row['数据量'] / 1e9:g}B"
    found = proposed(tmp_path, rows)
    assert fidelity(found) == {"params": "参数量", "tokens": "数据量"}
    assert set(knobs(found)) == {"学习率", "batch_size"}


def test_propose__only_names_of_experiments__stand_for_what_changed(tmp_path):
    words = ["baseline", "+rope", "+swiglu", "no bias", "tied", "wd 0.3"]
    rows = [
        {"experiment": word, "val_loss": 3 + 0.013 * number}
        for number, word in enumerate(words)
    ]
    found = proposed(tmp_path, rows)
    assert set(knobs(found)) == {"experiment"}
    assert "label-as-knob" in codes(found)


def test_propose__rows_that_come_again__are_named_and_land_once(tmp_path):
    rows = sweep()
    found = proposed(tmp_path, rows + rows[:9])
    assert found.mapping.run_key.columns == ("run",)
    assert (found.n_land, found.n_quarantined) == (27, 9)
    assert "repeated-rows" in codes(found)


def test_propose__rates_and_bits_that_trackers_log__are_what_they_are(
    tmp_path,
):
    rows = sweep(bits=lambda i: (2, 3, 4)[i % 3])
    for number, row in enumerate(rows):
        row["lr-AdamW"] = 1.37e-5 * (1 + number * 0.917)
        del row["batch_size"]
    found = proposed(tmp_path, rows)
    assert set(knobs(found)) == {"lr", "bits"}


def test_propose__averages_below_the_table__are_no_run(tmp_path):
    rows = sweep()
    empty = dict.fromkeys(rows[0], "")
    found = proposed(
        tmp_path, [*rows, empty | {"run": "average", "val_loss": 2.9}]
    )
    assert found.n_land == 27 and knobs(found)["lr"].scale == "log"
    assert "rows-set-aside" in codes(found)


def test_propose__batch_in_tokens__is_no_count_of_the_runs_tokens(tmp_path):
    rows = sweep()
    for row in rows:
        row["batch_size"] = f"{row['batch_size']}K tokens"
    assert set(knobs(proposed(tmp_path, rows))) == {"lr", "batch_size"}
    for row in rows:
        del row["tokens"]
    found = proposed(tmp_path, rows)
    assert set(fidelity(found)) == {"params"}


def test_propose__one_model_by_name__is_the_size_of_all_runs(tmp_path):
    rows = []
    for number, rate in enumerate((1e-4, 2e-4, 4e-4, 8e-4)):
        row = {"base_model": "Qwen/Qwen2.5-1.5B", "learning_rate": rate}
        rows.append(row | {"epochs": 2, "eval_loss": 1.2 + 0.013 * number})
    found = proposed(tmp_path, rows)
    assert found.summary.ladder[0]["fidelity"]["params"] == 1.5e9


def test_propose__minutes__are_no_sizes(tmp_path):
    rows = sweep(**{"time/epoch": lambda i: f"{10 + i % 7}m"})
    for row in rows:
        del row["params"], row["tokens"]
    found = proposed(tmp_path, rows)
    assert roles(found)["time/epoch"] != "fidelity"


def test_propose__weights_named_as_benchmarks_are__are_a_mixture(tmp_path):
    draw = random.Random(2)
    rows = []
    for number in range(24):
        web, code = draw.uniform(0.1, 0.5), draw.uniform(0.1, 0.4)
        row = {"params": 10**8 * (1 + number % 2 * 9)}
        row |= {"w_web": web, "w_humaneval": code, "w_math": 1 - web - code}
        rows.append(row | {"metric_avg": 40 - (web - 0.4) ** 2 + code / 10})
    found = proposed(tmp_path, rows, objective="metric_avg:max")
    (mixture,) = found.mapping.knobs
    assert mixture.scale == "simplex" and found.n_land == 24
    shares = [{"acc": 0.01 * i + 0.3, "lr": 10**-i} for i in range(2, 12)]
    for row in shares:
        row["err"] = 1 - row["acc"]
    found = proposed(tmp_path, shares)
    assert set(knobs(found)) == {"lr"}


def test_propose__rate_that_differs_in_each_row_beside_a_grid__is_measured(
    tmp_path,
):
    found = proposed(
        tmp_path, sweep(drop_rate=lambda i: 0.00137 * (i + 1) ** 0.7)
    )
    assert roles(found)["drop_rate"] == "measured"
    assert "measured-or-chosen" in codes(found)


def test_propose__what_follows_from_a_context__is_no_knob(tmp_path):
    sizes = {"gpt2": 50257, "llama3": 128256, "cl100k": 100277}
    rows = []
    for row in sweep():
        row["tokenizer"] = list(sizes)[len(rows) % 3]
        rows.append(row | {"vocab_size": sizes[row["tokenizer"]]})
    found = proposed(tmp_path, rows)
    assert roles(found)["vocab_size"] == "fixed"
    assert roles(found)["tokenizer"] == "context"


def test_propose__outcome_that_says_nothing__is_a_failed_run(tmp_path):
    found = proposed(tmp_path, with_cells("val_loss", {3: "N/A", 9: "-"}))
    assert found.summary.statuses == {"finished": 25, "failed": 2}


def test_propose__episode_reward_beside_diagnostics__is_the_objective(
    tmp_path,
):
    rows = sweep(explained_variance=lambda i: 0.3 + i / 77)
    for row in rows:
        row["ep_rew_mean"] = 300 - 50 * row.pop("val_loss")
    found = proposed(tmp_path, rows)
    assert found.mapping.objective.column == "ep_rew_mean"
    assert found.mapping.objective.direction == "max"


def test_propose__shapes_of_about_one_size_at_each_of_three_lengths__tokens_are_the_ladder(
    tmp_path,
):
    rows = []
    for tokens, scale in ((6 * 10**8, 1.0), (2 * 10**9, 1.8), (6 * 10**9, 3.2)):
        for depth, width in ((4, 768), (8, 576), (12, 448), (16, 384)):
            width = int(64 * round(width * scale / 64))
            for ratio in (2, 4):
                params = int(12 * depth * width**2 * (0.5 + ratio / 8))
                rows.append(
                    {
                        "n_layer": depth,
                        "d_model": width,
                        "ffn_mult": ratio,
                        "params": params,
                        "train_tokens": tokens,
                        "val_bpb": loss(params, 1e-3) + 0.01 * depth,
                    }
                )
    found = proposed(tmp_path, rows)
    assert fidelity(found) == {"tokens": "train_tokens"}
    assert {knob.column for knob in found.mapping.knobs} == {
        "n_layer",
        "d_model",
        "ffn_mult",
    }


def test_propose__shares_in_percent_beside_other_numbers__are_one_mixture(
    tmp_path,
):
    draw = random.Random(0)
    rows = []
    for size, tokens in (("60M", "1.2"), ("150M", "3.0"), ("300M", "6.0")):
        for i in range(12):
            web = draw.uniform(20, 70)
            code = draw.uniform(5, 30)
            row = {"name": f"mix{i}-{size}", "model": size}
            row |= {"web %": f"{web:.1f}", "code %": f"{code:.1f}"}
            row |= {"books %": f"{100 - web - code:.1f}"}
            row |= {
                "tokens (B)": tokens,
                "val loss": 3 + web / 1e3,
                "seed": i % 2,
            }
            rows.append(row)
    found = proposed(tmp_path, rows)
    (mixture,) = found.mapping.knobs
    assert mixture.scale == "simplex"
    assert list(mixture.columns) == ["web %", "code %", "books %"]


def test_propose__widths_of_a_parametrization__are_the_ladder(tmp_path):
    rows = []
    for width in (128, 256, 512):
        for rate in RATES:
            row = {"width": width, "mup_base": 128, "depth": 6, "lr": rate}
            rows.append(row | {"val_loss": loss(width**2, rate)})
    found = proposed(tmp_path, rows)
    assert fidelity(found) == {"width": "width"}
    assert set(knobs(found)) == {"lr"}


def test_propose__zero_beside_factors__is_an_ordered_level(tmp_path):
    found = proposed(
        tmp_path, sweep(kl_coef=lambda i: (0, 0.001, 0.1)[(i + i // 3) % 3])
    )
    knob = knobs(found)["kl_coef"]
    assert knob.scale == "ordinal" and list(knob.values) == [0, 0.001, 0.1]


def test_propose__zero_beside_even_steps__is_a_number(tmp_path):
    found = proposed(
        tmp_path, sweep(dropout=lambda i: (0, 0.1, 0.2)[(i + i // 3) % 3])
    )
    assert knobs(found)["dropout"].scale == "linear"


def test_propose__names_of_mixes__are_labels(tmp_path):
    found = proposed(tmp_path, sweep(mix_id=lambda i: f"m{i % 5}"))
    assert roles(found)["mix_id"] == "label"


def test_propose__mixture_in_whole_percent_beside_ids__is_one_knob(tmp_path):
    rng = random.Random(3)
    rows = []
    for number in range(24):
        shares = [rng.gammavariate(2, 1) for _ in range(4)]
        total = sum(shares) / 100
        row = {"config_id": number}
        names = ("wiki", "code", "web", "papers")
        row |= {n: round(s / total) for n, s in zip(names, shares, strict=True)}
        rows.append(row | {"val_loss": round(3 + row["web"] / 999, 4)})
    found = proposed(tmp_path, rows)
    assert [k.scale for k in found.mapping.knobs] == ["simplex"]


@pytest.mark.parametrize("name", ["Budget", "Steps"])
def test_propose__budget_of_billions__is_tokens(tmp_path, name):
    found = proposed(tmp_path, renamed(sweep(), tokens=name))
    assert fidelity(found) == {"params": "params", "tokens": name}


def test_propose__eta_that_was_swept__is_a_rate(tmp_path):
    found = proposed(tmp_path, renamed(sweep(), lr="eta"))
    assert knobs(found)["eta"].role == "rate"


def test_propose__eta_of_an_end__is_no_knob(tmp_path):
    rows = sweep(eta=lambda i: f"{i % 5}:{i:02d}:11")
    assert "eta" not in knobs(proposed(tmp_path, rows))


@pytest.mark.parametrize(
    ("params", "tokens"), [("N (M)", "D (B)"), ("Paramètres (M)", "Jetons (B)")]
)
def test_propose__letters_with_units__are_the_ladder(tmp_path, params, tokens):
    rows = sweep()
    for row in rows:
        row |= {"params": row["params"] / 1e6, "tokens": row["tokens"] / 1e9}
    found = proposed(tmp_path, renamed(rows, params=params, tokens=tokens))
    top = found.summary.ladder[-1]["fidelity"]
    assert top == {"params": 350e6, "tokens": 7e9}
