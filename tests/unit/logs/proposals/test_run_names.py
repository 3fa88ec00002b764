"""Tables whose settings stand in the names of their runs alone."""

import csv
import io
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import MappingError
from autollm.core.mappings.mapping import parse_mapping
from autollm.logs.proposals import propose
from autollm.logs.readers.rows import RelationBuilder
from tests.unit.logs.landed import land_bytes
from tests.unit.logs.proposals.tables import codes, knobs, loss, proposed, roles
from tests.unit.logs.proposals.test_without_knobs import csv_of

RATES = ("3e-4", "1e-3", "3e-3")
BATCHES = (32, 64, 128)


def named(pattern, column="run_name", **axes):
    """A run for each combination of `axes`, named by a pattern over them."""
    rows = []
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        rate = float(str(chosen.get("lr", "1e-3")))
        batch = float(chosen.get("bs", 64))
        # seeds differ a little
        value = loss(1e8, rate, batch) + chosen.get("seed", 0) / 1000
        rows.append({column: pattern.format(**chosen), "val_loss": value})
    return rows


@pytest.mark.parametrize(
    "pattern",
    [
        "lr{lr}_bs{bs}",
        "lr={lr},bs={bs}",
        "bs{bs}-lr{lr}",
        "sweep_lr_{lr}_batch_size_{bs}",
        "gpt2-lr{lr}-b{bs}-bs{bs}",
        "exp/LR:{lr}/BS:{bs}",
        "learning_rate={lr} batch_size={bs}",
    ],
)
@pytest.mark.parametrize(
    "column", ["run_name", "name", "experiment", "Run", "config"]
)
def test_propose__settings_in_names__are_knobs(tmp_path, pattern, column):
    found = proposed(tmp_path, named(pattern, column, lr=RATES, bs=BATCHES))
    assert {"lr", "batch_size"} <= knobs(found).keys()
    assert (knobs(found)["lr"].scale, knobs(found)["lr"].role) == (
        "log",
        "rate",
    )
    assert found.summary.knobs["lr"] == [0.0003, 0.001, 0.003]
    assert found.summary.knobs["batch_size"] == [32, 64, 128]
    assert "name-parts" in codes(found)
    assert found.summary.best["configuration"]["lr"] == 0.001


def test_propose__seed_in_names__tells_replicas_apart(tmp_path):
    rows = named("lr{lr}-seed{seed}", lr=RATES, seed=(1, 2, 3))
    found = proposed(tmp_path, rows)
    assert found.mapping.replica.column == "seed"
    assert knobs(found).keys() == {"lr"} and found.n_land == 9


def test_propose__size_in_names__is_the_ladder(tmp_path):
    rows = named(
        "llama-{size}-lr={lr}", size=("125M", "350M", "1.3B"), lr=RATES
    )
    found = proposed(tmp_path, rows)
    assert [(q.name, q.column) for q in found.mapping.fidelity] == [
        ("params", "params")
    ]
    sizes = [entry["fidelity"]["params"] for entry in found.summary.ladder]
    assert sizes == [1.25e8, 3.5e8, 1.3e9]
    assert knobs(found).keys() == {"lr"}


def test_propose__size_and_tokens_in_names__make_the_cost(tmp_path):
    rows = named(
        "{size}-{tokens}tokens-lr{lr}",
        size=("125M", "350M"),
        tokens=("2.5B", "7B"),
        lr=RATES,
    )
    found = proposed(tmp_path, rows)
    assert found.mapping.cost.flops.text == "6 * params * tokens"
    assert found.summary.n_experiments == 4


BY_SIZE = {"125M": ("2.5B", 768, 12), "350M": ("7B", 1024, 24)}


@pytest.mark.parametrize(
    "pattern",
    [
        "lr{lr}_n{size}_tok{tokens}",
        "N{size}_D{tokens}_LR{lr}",
        "n-{size}_d-{tokens}_lr-{lr}",
        "{size}-{tokens}T_lr{lr}",
        "{size}_{tokens}_lr{lr}",
        "{size}x{tokens}_lr{lr}_seed1",
        "llama_{size}_{tokens}tok_lr{lr}_bs512",
        "{tokens}tok-{size}-lr{lr}-wd0.1",
        "{size}param-{tokens}token-lr{lr}",
        "model_{size}_data_{tokens}_lr_{lr}",
        "size{size}_ntokens{tokens}_lr{lr}",
        "lr{lr}.bs256.n{size}.t{tokens}",
        "pythia-{size}-{tokens}-tokens-lr{lr}",
    ],
)
def test_propose__sizes_in_names__are_parameters_and_tokens(tmp_path, pattern):
    rows = []
    for size, (tokens, *_) in BY_SIZE.items():
        plain = pattern.replace("{tokens}", tokens).replace("{size}", size)
        rows += named(plain, lr=RATES)
    found = proposed(tmp_path, rows)
    sizes = [entry["fidelity"] for entry in found.summary.ladder]
    assert sizes == [
        {"params": 1.25e8, "tokens": 2.5e9},
        {"params": 3.5e8, "tokens": 7e9},
    ]
    assert knobs(found).keys() == {"lr"}
    assert found.mapping.cost.flops.text == "6 * params * tokens"


@pytest.mark.parametrize(
    "pattern",
    [
        "L{layers}H{width}_lr{lr}",
        "d_model-{width}_n_layer-{layers}_lr-{lr}",
        "lr{lr}_w{width}_d{layers}",
        "dim{width}-depth{layers}-heads8-lr{lr}",
        "lr{lr}_h{width}_l{layers}",
    ],
)
def test_propose__shapes_in_names__make_the_parameters(tmp_path, pattern):
    rows = []
    for _, width, layers in BY_SIZE.values():
        plain = pattern.replace("{width}", str(width))
        rows += named(plain.replace("{layers}", str(layers)), lr=RATES)
    found = proposed(tmp_path, rows)
    sizes = [entry["fidelity"]["params"] for entry in found.summary.ladder]
    expected = [12 * 12 * 768**2, 12 * 24 * 1024**2]
    assert sizes == pytest.approx(expected, rel=1e-5)
    assert knobs(found).keys() == {"lr"}


def test_propose__names_that_come_again__are_replicas(tmp_path):
    rows = named("{size}_lr{lr}", size=("125M", "350M"), lr=RATES)
    again = [{**row, "val_loss": row["val_loss"] + 0.001} for row in rows]
    found = proposed(tmp_path, rows + again)
    assert found.n_land == 12 and found.mapping.has_replicas


def test_propose__tokens_written_as_sizes__are_no_parameters(tmp_path):
    rows = []
    for width, tokens in ((256, "0.5B"), (512, "1.2B"), (1024, "2.5B")):
        for rate in RATES:
            row = {"d_model": width, "n_layer": 12, "tokens": tokens}
            rows.append(
                row | {"lr": rate, "val_loss": loss(width**2, float(rate))}
            )
    found = proposed(tmp_path, rows)
    columns = {q.name: q.column for q in found.mapping.fidelity}
    assert columns == {"params": "params_of_run", "tokens": "tokens"}


def test_propose__variants_in_names__are_a_knob(tmp_path):
    rows = named("{v}_lr{lr}", v=("baseline", "rope", "swiglu"), lr=RATES)
    found = proposed(tmp_path, rows)
    assert knobs(found).keys() == {"lr", "rest_of_name"}
    assert found.summary.knobs["rest_of_name"] == ["baseline", "rope", "swiglu"]


def test_propose__words_of_ones_own_between_blanks__are_knobs(tmp_path):
    rows = named("net zeta={zeta} lr={lr}", zeta=(1, 2, 4), lr=RATES)
    found = proposed(tmp_path, rows)
    assert knobs(found).keys() == {"zeta", "lr"}
    assert found.summary.knobs["zeta"] == [1, 2, 4]


def test_propose__optimizer_in_names__its_rates_are_two_knobs(tmp_path):
    rows = named("opt={opt}_lr={lr}", opt=("adamw", "muon"), lr=RATES)
    found = proposed(tmp_path, rows)
    assert knobs(found).keys() == {"optimizer", "lr_adamw", "lr_muon"}


def test_propose__setting_in_some_names__is_none_in_the_others(tmp_path):
    rows = named("lr{lr}", lr=RATES) + named("lr{lr}_dropout0.1", lr=RATES)
    found = proposed(tmp_path, rows)
    assert knobs(found)["dropout"].missing == "none"
    assert found.n_land == 6


def test_propose__column_that_says_it_too__is_read_instead(tmp_path):
    rows = named("lr{lr}_bs{bs}", lr=RATES, bs=BATCHES)
    for row, (rate, _) in zip(
        rows, itertools.product(RATES, BATCHES), strict=True
    ):
        row["learning_rate"] = float(rate)
    found = proposed(tmp_path, rows)
    assert knobs(found).keys() == {"learning_rate", "batch_size"}
    assert found.mapping.name_parts_of.keys() >= {"batch_size"}


def test_propose__all_settings_in_columns__names_stay_names(tmp_path):
    rows = named("lr{lr}_bs{bs}", lr=RATES, bs=BATCHES)
    for row, (rate, batch) in zip(
        rows, itertools.product(RATES, BATCHES), strict=True
    ):
        row |= {"lr": float(rate), "bs": batch}
    found = proposed(tmp_path, rows)
    assert "name-parts" not in codes(found) and not found.mapping.name_parts
    assert roles(found)["run_name"] == "key"


@pytest.mark.parametrize(
    "names",
    [
        ("dainty-sun-1", "brave-moon-2", "odd-star-3", "calm-sea-4"),
        ("gpt2-v1", "gpt2-v2", "gpt2-v3", "gpt2-v4"),
        ("run01", "run02", "run03", "run04"),
        ("L0_0", "L1_0", "L0_1", "L1_1"),
        ("s1", "s2", "s3", "s4"),
        ("2026-11-01_fp16", "2026-11-02_fp16", "2026-11-03_bf16", "x"),
        (
            "epoch=1-val_loss=3.2",
            "epoch=2-val_loss=3.1",
            "epoch=3-val_loss=3",
            "l",
        ),
        ("see http://host:80/1", "see http://host:80/2", "a:b", "time=12:30"),
    ],
)
def test_propose__names_without_settings__are_labels(tmp_path, names):
    rows = []
    for i, name in enumerate(names):
        rows.append({"name": name, "lr": RATES[i % 3], "val_loss": 3 + i / 10})
    found = proposed(tmp_path, rows)
    assert "name-parts" not in codes(found)
    assert roles(found)["name"] == "key"


def test_propose__what_was_said__leaves_names_alone(tmp_path):
    rows = named("lr{lr}_bs{bs}", lr=RATES, bs=BATCHES)
    found = proposed(tmp_path, rows, knobs="run_name")
    assert knobs(found).keys() == {"run_name"}


def test_land__settings_in_names__have_their_values():
    rows = named("lr{lr}_bs{bs}-seed{seed}", lr=RATES, bs=BATCHES, seed=(0, 1))
    data = csv_of(rows)
    mapping = parse_mapping(
        """
schema = "autollm.mapping/1"
source = "t"
family = "pretraining"
format = "csv"
files = ["t.csv"]
[run_key]
columns = ["run_name"]
[replica]
column = "seed"
[[name_parts]]
column = "run_name"
words = { lr = ["lr"], bs = ["bs"], seed = ["seed"] }
[[derived]]
name = "one"
value = "1"
[[knobs]]
name = "lr"
column = "lr"
scale = "log"
[[knobs]]
name = "bs"
column = "bs"
scale = "log"
[[fidelity]]
name = "one"
column = "one"
[objective]
name = "val_loss"
direction = "min"
[cost]
flops = "bs"
""",
        "t",
    )
    landed = land_bytes("t.csv", data, mapping)
    assert len(landed.runs) == 18 and not landed.bad
    expected = list(itertools.product(RATES, BATCHES, (0, 1)))
    for run, (rate, batch, seed) in zip(landed.runs, expected, strict=True):
        assert json.loads(run["config_json"]) == {
            "lr": float(rate),
            "bs": batch,
        }
        assert run["cost_flops"] == batch
        assert run["seed"] == seed


def test_land__name_without_the_setting__is_set_aside_with_its_line():
    rows = named("lr{lr}", lr=RATES)
    rows.insert(1, {"run_name": "a note", "val_loss": 3})
    text = io.StringIO()
    writer = csv.DictWriter(text, ["run_name", "val_loss"])
    writer.writeheader()
    writer.writerows(rows)
    found = propose_rows(rows)
    landed = land_bytes("table.csv", text.getvalue().encode(), found.mapping)
    assert len(landed.runs) in (3, 4)
    assert len(landed.runs) + len(landed.bad) == 4


def propose_rows(rows):
    """What is proposed for rows that were read already."""
    builder = RelationBuilder("csv")
    for line, row in enumerate(rows, start=2):
        builder.add_run(row, "table.csv", line)
    found = propose([builder.relation()])
    assert found.mapping is not None, found.problem
    return found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'words = { lr = ["lr"], val_loss2 = ["x"] }\n[[derived]]\nname = "lr"\n'
            'value = "1"',
            "the column 'lr' is made twice",
        ),
        ("words = {}", "words"),
    ],
)
def test_mapping__name_parts_that_contradict__is_an_error(text, message):
    rest = """
[[knobs]]
name = "k"
column = "lr"
[[fidelity]]
name = "params"
[objective]
name = "val_loss"
direction = "min"
[cost]
flops = "params"
"""
    head = """
schema = "autollm.mapping/1"
source = "t"
family = "pretraining"
format = "csv"
files = ["t.csv"]
run_key = { columns = ["run_name"] }
[[name_parts]]
column = "run_name"
"""
    with pytest.raises(MappingError, match=message):
        parse_mapping(head + text + rest, "t")


words = st.sampled_from(["lr{}", "wd={}", "warmup_{}", "dropout{}", "bs-{}"])
levels = st.lists(
    st.sampled_from(["0.1", "0.3", "3e-3", "1e-2", "2", "16"]),
    min_size=2,
    max_size=4,
    unique=True,
)


@settings(max_examples=25)
@given(st.dictionaries(words, levels, min_size=1, max_size=3))
def test_propose__names_composed_from_a_grid__give_the_grid_back(axes):
    rows = []
    for i, values in enumerate(itertools.product(*axes.values())):
        parts = [w.format(v) for w, v in zip(axes, values, strict=True)]
        rows.append({"run": "_".join(parts), "val_loss": 3 + (7 * i % 5) / 10})
    if len(rows) < 4:
        return
    found = propose_rows(rows)
    grid = sorted(sorted(map(float, v)) for v in axes.values())
    proposed_grid = []
    for values in found.summary.knobs.values():
        proposed_grid.append(sorted(map(float, values)))
    assert sorted(proposed_grid) == grid
