"""Tables drawn at random of known meaning: the proposal finds what was put in."""

import csv
import io
import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autollm.core.statuses import STATUS_OF_WORD
from autollm.logs.proposals import propose
from autollm.logs.proposals.names import direction_of
from tests.unit.logs.proposals.tables import loss, roles
from tests.unit.logs.raw_logs import write

LEVELS = {
    "lr": (0.0003, 0.001, 0.003),
    "weight_decay": (0.0, 0.01, 0.1),
    "batch_size": (32, 64, 128),
    "dropout": (0.0, 0.1, 0.2),
    "warmup_steps": (100, 500, 1000),
    "n_heads": (4, 8, 16),
    "activation": ("gelu", "relu", "swiglu"),
    "use_bias": ("True", "False"),
    "zeta_mix": (0.25, 0.5, 0.75),
}
METRICS = (
    "val_loss",
    "eval/ppl",
    "test_bpb",
    "val_acc",
    "eval.f1",
    "valid-rougeL",
)
MEASURED = {
    "tokens_per_sec": lambda i: 48_123 + 137 * i,
    "grad_norm": lambda i: 0.83 + 0.0173 * i,
    "runtime_s": lambda i: 1203.4 + 1.7 * i,
    "gpu_mem_gb": lambda i: 20.1 + 0.137 * i,
    "host": lambda i: f"node{i % 4}",
    "created_at": lambda i: f"2025-01-{1 + i % 28:02d}T10:00:00Z",
    "notes": lambda i: "a, b" if i % 2 else "c",
    "_step": lambda i: 5000 + i,
}
PREFIXES = ("", "config.", "params/", "config/optimizer.")
SEPARATORS = (",", ";", "\t", "|")
WORDS = sorted(
    w for w, s in STATUS_OF_WORD.items() if s in ("failed", "killed", "pruned")
)


def short(number: float) -> str:
    """50000000 as 50M."""
    for letter, factor in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= factor:
            return f"{number / factor:g}{letter}"
    return f"{number:g}"


@st.composite
def drawn_tables(draw):
    """(rows, separator, what was swept, coordinates, metric, rows that finished)."""
    chosen = draw(st.lists(st.sampled_from(sorted(LEVELS)), min_size=2, max_size=3, unique=True))  # fmt: skip
    metric = draw(st.sampled_from(METRICS))
    extra = draw(
        st.lists(st.sampled_from(sorted(MEASURED)), max_size=4, unique=True)
    )
    prefix = draw(st.sampled_from(PREFIXES))
    spelled = draw(st.sampled_from((str, short, lambda n: f"{n:,}")))
    word = draw(st.sampled_from([None, *WORDS]))
    separator = draw(st.sampled_from(SEPARATORS))
    rows = []
    grid = itertools.product(
        (10**7, 10**8, 10**9), *(LEVELS[name] for name in chosen)
    )
    for i, (size, *values) in enumerate(grid):
        row = {"run_id": f"a{i}", f"{prefix}n_params": spelled(size), f"{prefix}tokens": spelled(20 * size)}  # fmt: skip
        row |= {prefix + n: v for n, v in zip(chosen, values, strict=True)}
        row[metric] = f"{loss(size, 1e-3) + i % 7 / 100:.4f}"
        row |= {name: MEASURED[name](i) for name in extra}
        is_broken = word is not None and i % 8 == 3
        if word is not None:
            row["state"] = word if is_broken else "finished"
        rows.append(row)
    return rows, separator, [prefix + n for n in chosen], prefix, metric, word


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(drawn_tables())
def test_propose__drawn_table__finds_what_was_put_in(tmp_path_factory, drawn):
    rows, separator, chosen, prefix, metric, word = drawn
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    path = write(
        tmp_path_factory.mktemp("drawn"), "t.csv", text.getvalue().encode()
    )
    found = propose(path)
    assert (found.n_land, found.n_quarantined, found.problem) == (
        len(rows),
        0,
        "",
    )
    assert {c for c, role in roles(found).items() if role == "knob"} == set(
        chosen
    )
    fidelity = {q.name: q.column for q in found.mapping.fidelity}
    assert fidelity == {
        "params": f"{prefix}n_params",
        "tokens": f"{prefix}tokens",
    }
    assert found.mapping.cost.flops.text == "6 * params * tokens"
    assert found.mapping.objective.column == metric
    assert found.mapping.objective.direction == direction_of(metric)
    n_broken = sum(row.get("state", "finished") != "finished" for row in rows)
    assert found.summary.statuses.get(STATUS_OF_WORD.get(word), 0) == n_broken
    assert found.summary.n_experiments == 3
