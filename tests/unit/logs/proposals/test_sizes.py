"""Sizes that names state."""

import pytest

from autollm.logs.proposals.sizes import size_of, sizes_of
from tests.unit.logs.proposals.tables import proposed, sweep


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("pythia-1.4b", 1.4e9),
        ("Qwen3-30B-A3B", 30e9),
        ("FacebookAI/roberta-base", 125e6),
        ("bert-base-uncased", 110e6),
        ("small", None),
    ],
)
def test_size_of__name__is_what_it_states(text, size):
    assert size_of(text) == size


def test_sizes_of__one_published_family__is_a_ladder():
    found = sizes_of(("bert-base-cased", "bert-large-cased"))
    assert found.sizes == {"bert-base-cased": 110e6, "bert-large-cased": 340e6}


def test_sizes_of__several_published_families__are_no_sizes():
    names = ("bert-base-cased", "distilbert-base-cased", "roberta-base")
    assert sizes_of(names) is None


def fidelity(proposal):
    return {c.name: c.column for c in proposal.mapping.fidelity}


def test_propose__near_sizes_with_the_same_settings__are_levels(tmp_path):
    near = {50_000_000: 100_000_000, 350_000_000: 130_000_000}
    rows = []
    for row in sweep():
        size = near.get(row["params"])
        if size is not None:
            rows.append({**row, "params": size, "tokens": 20 * size})
    found = proposed(tmp_path, rows)
    assert fidelity(found) == {"params": "params", "tokens": "tokens"}


def test_propose__near_sizes_that_follow_from_a_setting__are_one(tmp_path):
    rows = []
    for i, row in enumerate(sweep()):
        is_tied = i % 3 == 0
        params = 100_000_000 if is_tied else 130_000_000
        rows.append({**row, "tied": is_tied, "params": params})
    found = proposed(tmp_path, rows)
    assert [k.name for k in found.mapping.knobs] == ["lr", "batch_size", "tied"]


def budgets():
    """Each of two sizes at two budgets of FLOPs, with the same rates."""
    rows = []
    for row in sweep():
        del row["tokens"]
        for flops in (1e17, 4e17):
            more = {"run": f"{row['run']}-{flops:g}", "flops": flops}
            loss = round(row["val_loss"] - 0.05 * (flops > 1e17), 4)
            rows.append({**row, **more, "val_loss": loss})
    return rows


def test_propose__budget_of_flops_beside_sizes__is_a_coordinate(tmp_path):
    found = proposed(tmp_path, budgets())
    assert fidelity(found) == {"params": "params", "flops": "flops"}
    assert found.mapping.cost.flops.text == "flops"


def test_propose__flops_that_a_setting_decides__are_a_cost(tmp_path):
    rows = [{**r, "flops": r["params"] * r["batch_size"]} for r in budgets()]
    assert list(fidelity(proposed(tmp_path, rows))) == ["params"]


def test_propose__weights_said_to_be_knobs__are_one_mixture(tmp_path):
    parts = [(0.2, 0.8), (0.5, 0.5), (0.7, 0.3)]
    rows = sweep(web=lambda i: parts[i % 3][0], code=lambda i: parts[i % 3][1])
    found = proposed(tmp_path, rows, knobs="lr,web,code")
    scales = {k.name: k.scale for k in found.mapping.knobs}
    assert scales == {"mixture": "simplex", "lr": "log"}
