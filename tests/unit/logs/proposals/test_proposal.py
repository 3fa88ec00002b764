"""`sources inspect`: a proposal parses, reads its table, and says what it took each
column for.
"""

import gzip
import itertools
import json
import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.core.errors import MappingError
from autollm.core.mappings.mapping import parse_mapping
from autollm.logs.landing import ingest
from autollm.logs.proposals import Proposal, TableOptions, propose
from autollm.logs.proposals import columns as columns_module
from autollm.logs.proposals.columns import Column, Sampler, columns_of
from autollm.logs.proposals.structure import (
    determines,
    simplex_groups,
    two_clusters,
)
from autollm.logs.relation import Relation
from tests.public_tables import public_table
from tests.unit.logs.raw_logs import csv_bytes, json_lines, parquet_bytes, write

SPELLINGS = {
    0.5: ["0.0004883", "0.00049", "0.000488"],
    1.0: ["0.00098", "0.000977"],
    2.0: ["0.00195", "0.001953"],
}


def sweep() -> list[dict]:
    """12 settings at 3 sizes, twice each: rates in many spellings, columns that follow
    from others, a constant.
    """
    rows = []
    for i, (size, rate, batch, seed) in enumerate(
        itertools.product((1, 2, 3), SPELLINGS, (32, 64, 96), (0, 1))
    ):
        spelling = SPELLINGS[rate][i % len(SPELLINGS[rate])]
        loss = (
            3 / size + (math.log2(float(spelling)) + 10) ** 2 / 10 + 0.01 * seed
        )
        rows.append({"Run Name": f"run {i}", "N": size * 10**6, "layers": 4 * size, "tokens": size * 10**7, "lr": spelling,
                     "batch size": batch, "steps": size * 10**7 // batch, "optimizer": ["adam", "muon"][i % 2], "seed": seed,
                     "val/loss": f"{loss:.5f}", "train_loss": f"{loss - 0.1:.5f}", "gpu_hours": f"{0.1 * size + 0.001 * i:.4f}",
                     "host": "node7", "git commit": f"c{i % 5}"})  # fmt: skip
    return rows


def proposal(
    tmp_path,
    data: bytes,
    name: str = "my sweep.csv",
    objective: str | None = None,
) -> Proposal:
    return propose(write(tmp_path, name, data), TableOptions.parse(objective))


def role(found: Proposal, column: str) -> tuple[str, str]:
    entry = next(c for c in found.columns if c["name"] == column)
    return entry["role"], entry["why"]


def test_propose__sweep__is_a_mapping_that_lands_it_whole(tmp_path):
    path = write(tmp_path, "my sweep.csv", csv_bytes(sweep()))
    found = propose(path)
    mapping = parse_mapping(found.toml, "p")
    assert [(k.name, k.scale, k.step) for k in mapping.knobs] == [
        ("optimizer", "categorical", None), ("lr_adam", "log", 1.0), ("lr_muon", "log", 1.0), ("batch_size", "log", None)]  # fmt: skip
    assert [(q.name, q.column) for q in mapping.fidelity] == [
        ("params", "N"),
        ("tokens", "tokens"),
    ]
    assert (
        mapping.objective.name,
        mapping.objective.column,
        mapping.objective.direction,
    ) == ("val_loss", "val/loss", "min")
    assert (
        [q.column for q in mapping.secondary] == ["train_loss"]
        and mapping.run_key.columns == ("Run Name",)
        and mapping.replica.column == "seed"
    )
    assert (
        mapping.cost.device_hours is not None
        and mapping.cost.flops.text == "6 * params * tokens"
    )
    assert (found.n_land, found.n_quarantined) == (54, 0)
    report = ingest([path], str(tmp_path / "lake"), mapping)
    assert report.n_runs == 54 and report.warnings == ()


def test_propose__sweep__says_for_each_column_what_it_was_taken_for(tmp_path):
    found = proposal(tmp_path, csv_bytes(sweep()))
    assert role(found, "layers") == ("fixed", "one value for each N and tokens")
    assert role(found, "steps") == (
        "fixed",
        "goes with batch size at each size",
    )
    assert (
        role(found, "host") == ("constant", "'node7' in every row")
        and role(found, "git commit")[0] == "ignored"
    )
    assert (
        "# left out: 'host', 'node7' in every row" in found.toml
        and "spellings of 3 steps" in found.toml
    )
    assert json.loads(json.dumps(found.as_dict()))["n_rows"] == 54


def test_propose__weights__are_a_simplex_with_the_tolerance_that_they_need(
    tmp_path,
):
    rows = [{"id": f"r{i}", "w_web": f"{i / 20:.3f}", "w_code": f"{0.7 - i / 20:.3f}", "w_math": "0.303", "w": i % 3, "tokens": 10 ** (6 + i % 3),
             "accuracy": i / 30} for i in range(12)]  # fmt: skip
    found = proposal(tmp_path, csv_bytes(rows))
    (mixture, *_) = parse_mapping(found.toml, "p").knobs
    assert (
        mixture.name,
        mixture.columns,
        mixture.prefix,
        mixture.tolerance,
    ) == (
        "mixture",
        ("w_*",),
        "w_",
        0.004,
    )
    assert (
        found.n_land == 12
        and 'direction = "max"' in found.toml
        and 'family = "data_mixture"' in found.toml
    )


def test_propose__models_by_name__get_sizes_from_their_names(tmp_path):
    rows = [
        {"model": m, "rank": r, "lr": lr, "Test NLL": 1 + r * lr}
        for m in ("Qwen2.5-0.5B", "big-30B-A3B", "Kimi")
        for r in (1, 8, 64)
        for lr in (1e-4, 1e-3)
    ]
    found = proposal(tmp_path, csv_bytes(rows))
    mapping = parse_mapping(found.toml, "p")
    assert mapping.lookup[0].rows == {
        "Qwen2.5-0.5B": {"params_of": 5e8},
        "big-30B-A3B": {"params_of": 3e10},
    }
    assert "CORRECT THIS: 'Kimi' has no row in [lookup.rows]" in found.toml
    assert any(
        "no size stands in the name of Kimi" in note.text
        for note in found.notes
    )
    assert (
        mapping.run_key.columns == ("model", "rank", "lr")
        and mapping.run_key.repeated == "quarantine"
        and (found.n_land, found.n_quarantined) == (12, 6)
    )


@pytest.mark.parametrize(("name", "pack"), [("t.ndjson", json_lines), ("t.jsonl", json_lines), ("t.parquet", parquet_bytes),
                                            ("t.csv.gz", lambda rows: gzip.compress(csv_bytes(rows)))])  # fmt: skip
def test_propose__other_formats__are_read_too(tmp_path, name, pack):
    rows = [
        {
            "run": f"r{i}",
            "lr": 10.0 ** -(i % 4),
            "n_params": 10.0 ** (6 + i % 2),
            "loss": 3.0 + i,
        }
        for i in range(12)
    ]
    found = proposal(tmp_path, pack(rows), name)
    assert found.n_land == 12 and found.n_quarantined == 0
    assert [k.scale for k in parse_mapping(found.toml, "p").knobs] == ["log"]


def test_propose__nested_json_and_lists__become_dotted_columns_and_lists(
    tmp_path,
):
    rows = [
        {
            "id": i,
            "config": {"lr": 2.0**-i, "heads": [1 + i // 2 % 2, 2]},
            "summary": {"val_loss": 1 / (1 + i)},
            "params": 1000 * (1 + i % 2),
        }
        for i in range(8)
    ]
    found = proposal(tmp_path, json_lines(rows), "t.ndjson")
    knobs = parse_mapping(found.toml, "p").knobs
    assert [(k.name, k.column, k.scale) for k in knobs] == [
        ("config_lr", "config.lr", "log"),
        ("config_heads", "config.heads", "list"),
    ]
    assert found.n_land == 8


def test_propose__mixed_units__are_named_with_file_line_column_and_value(
    tmp_path,
):
    rows = [{"id": f"r{i}", "lr": 0.1 * (1 + i % 3), "tokens": "lots" if i == 4 else 2 * 10 ** (8 + i % 2), "loss": 3.0 + i,
             "step_seconds": (1 + i / 20) * (1000 if i % 3 == 0 else 1)} for i in range(12)]  # fmt: skip
    found = proposal(tmp_path, csv_bytes(rows))
    assert any(
        "my_sweep.csv line 6: tokens='lots' among numbers. Mixed units? Fix:"
        in note.text
        for note in found.notes
    )
    assert any(
        "step_seconds: values lie in two groups a factor of about 1000 apart. Mixed "
        "units?" in note.text
        for note in found.notes
    )


def test_propose__no_fidelity__is_one_experiment_and_a_note(tmp_path):
    rows = [
        {"id": f"r{i}", "width": 8 * 2 ** (i % 4), "loss": 3.0 + i}
        for i in range(8)
    ]
    found = proposal(tmp_path, csv_bytes(rows))
    assert found.n_land == 8 and any(
        "no column looks like a fidelity" in note.text for note in found.notes
    )
    constant = proposal(
        tmp_path, csv_bytes([{**row, "n_params": 1e6} for row in rows])
    )
    assert parse_mapping(constant.toml, "p").fidelity[0].column == "n_params"


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"a,b\n", "t.csv", "t.csv has no row that can be read"),
        (b"", "t.csv", "t.csv has no row that can be read"),
        (b"id,lr\n1,2\n2,3\n", "t.csv", "no column looks like an outcome"),
        (
            b"id,l\x81ss\n1,2\n",
            "t.csv",
            "not UTF-8: byte 0x81 at column 5",
        ),
        (
            b"id,id\n1,2\n",
            "t.csv",
            "the column 'id' stands in the header twice",
        ),
        (b"junk", "t.parquet", "not a readable Parquet file"),
        (b"junk\n", "t.ndjson", "First problem, line 1: not a JSON line"),
        (b"junk", "t.csv.gz", "not a whole gzip file"),
        (b"junk", "t.bin", "t.bin: no reader knows its format. Expected .csv"),
        (b"junk", "t.xlsx", "Fix: export the sheet as CSV"),
    ],
)
def test_propose__no_table__is_a_clear_error(tmp_path, data, name, words):
    with pytest.raises(MappingError) as caught:
        proposal(tmp_path, data, name)
    assert words in str(caught.value)


def test_propose__objective_named__overrides_the_guess(tmp_path):
    data = csv_bytes(
        [
            {
                "id": f"r{i}",
                "lr": 10.0**-i,
                "tokens": 10 ** (6 + i % 2),
                "loss": 3.0 + i,
                "speed": 1.5 * i,
            }
            for i in range(6)
        ]
    )
    assert (
        parse_mapping(
            proposal(tmp_path, data, objective="speed:maximize").toml, "p"
        ).objective.direction
        == "max"
    )
    for wrong in ("sped", "loss:down"):
        with pytest.raises(
            MappingError,
            match="expected a column that varies, NAME:min or NAME:max",
        ):
            proposal(tmp_path, data, objective=wrong)


def test_propose__lines_that_cannot_be_read__are_counted_and_named(tmp_path):
    data = (
        csv_bytes(sweep())
        + b"too,few\n"
        + csv_bytes(sweep()[:1]).split(b"\n")[1].replace(b"run 0", b"run \x81")
        + b"\n"
    )
    found = proposal(tmp_path, data)
    assert (found.n_rows, found.n_land, found.n_quarantined) == (56, 54, 2)
    assert any(
        "my_sweep.csv line 56: 2 fields" in n.text for n in found.notes
    ) and any("line 57: not UTF-8" in n.text for n in found.notes)


def numbered(start: int, end: int) -> Relation:
    return Relation("csv", pa.table({"n": list(range(start, end))}))


def test_sampler__long_nested_sweep__every_level_is_seen_over_all_of_its_length(
    monkeypatch,
):
    monkeypatch.setattr(columns_module, "MAX_ROWS", 100)
    sampler = Sampler()
    for start in range(0, 10_000, 1000):
        sampler.add(numbered(start, start + 1000))
    rows = [n for r in sampler.relations for n in r.runs["n"].to_pylist()]
    assert (
        sampler.n_rows == 10_000
        and 75 <= len(rows) < 200
        and rows == sorted(rows)
    )
    assert max(b - a for a, b in itertools.pairwise([0, *rows, 10_001])) < 1000
    assert (
        len({r % 16 for r in rows}) == 16
        and len({r // 16 % 8 for r in rows}) == 8
    )
    whole = Sampler()
    whole.add(numbered(0, 10_000))
    assert whole.relations[0].runs["n"].to_pylist() == rows


def column(*cells, name: str = "x") -> Column:
    return columns_of({name: list(cells)})[name]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (("1", "2.0", None), "integer"), (("1", "2.5"), "number"), ((1, 2), "integer"), (("true", "False"), "bool"), ((True, None), "bool"),
        (("1-2-3", "2-2-2-2"), "list"), (([1], [2, 3]), "list"), (("2024-01-02", "2024-01-03"), "instant"), (("a", "b"), "text"),
        (("1", "2", "x"), "mixed"), (("", None), "empty"), (("nan", "1"), "integer"), (("inf",), "number"), ((10**400, 1), "mixed"),
    ],
)  # fmt: skip
def test_column__cells__have_a_kind(cells, kind):
    assert column(*cells).kind == kind


def test_column__values_on_a_grid__have_the_coarsest_step_that_merges_spellings():
    assert column("0.000345", "0.0003453", "0.00069").octave_step() == 0.5
    assert column("0.5", "1", "2").octave_step() is None  # nothing is merged
    assert (
        column("0.0003", "0.00031").octave_step() is None
        and column("-1", "1").octave_step() is None
    )


def test_simplex_groups__weights__need_sums_of_one_in_every_row():
    def table(**cells):
        return columns_of(cells)

    (group,) = simplex_groups(
        table(a_x=[0.5, 0.2], a_y=[0.5, 0.79], b=[0.1, 0.2])
    )
    assert (
        group.prefix == "a_"
        and [c.name.raw for c in group.columns] == ["a_x", "a_y"]
        and group.worst == pytest.approx(0.01)
    )
    assert (
        simplex_groups(table(a_x=[0.5, 0.2], a_y=[0.5, 0.5])) == []
        and simplex_groups(table(a_x=[0.5, 0.5], a_y=[0.5, 0.5])) == []
    )
    assert simplex_groups(table(a_x=[0.5, None], a_y=[0.5, 1])) == []


def test_determines__cause__must_repeat_to_count():
    a, b = column(1, 1, 2, 2), column("p", "p", "q", "q")
    assert (
        determines([a], b)
        and not determines([a], column("p", "r", "q", "q"))
        and not determines([column(1, 2, 3, 4)], b)
    )
    assert (
        two_clusters(column(1, 1.1, 1.2, 1000, 1100, 1200)) == 1e3
        and two_clusters(column(1, 2, 5, 20, 60, 200, 700)) is None
    )


@pytest.mark.data
def test_propose__step_law__is_what_its_own_mapping_says():
    found = propose(public_table("steplaw", "dense_lr_bs_loss.csv"))
    mapping = parse_mapping(found.toml, "p")
    assert "26 spellings of 14 steps" in found.toml and (
        found.n_land,
        found.n_quarantined,
    ) == (1911, 0)
    assert (
        mapping.objective.column == "smooth loss"
        and {q.column for q in mapping.fidelity} == {"N", "D"}
        and mapping.run_key.columns == ("exp_name",)
    )
    assert {c["name"] for c in found.columns if c["role"] == "fixed"} == {
        "h",
        "ffnh",
        "numh",
        "numl",
        "ti",
        "D/N",
    }


CELL = st.one_of(
    st.none(),
    st.integers(-9, 9),
    st.floats(width=32),
    st.booleans(),
    st.text(max_size=5),
    st.sampled_from(["1e-3", "0.5", "2-2", "7B", "nan"]),
)
NAMES = st.lists(st.one_of(st.sampled_from(["lr", "N", "tokens", "loss", "val acc", "seed", "id", "w_a", "w_b", "model", "flops"]), st.text(min_size=1, max_size=6)),
                 min_size=1, max_size=6, unique_by=lambda n: n.strip())  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(names=NAMES, data=st.data())
def test_propose__any_table__is_an_error_or_a_mapping_whose_count_is_right(
    tmp_path_factory, names, data
):
    rows = data.draw(
        st.lists(st.tuples(*[CELL] * len(names)), min_size=1, max_size=8)
    )
    folder = tmp_path_factory.mktemp("any")
    try:
        text = json_lines([dict(zip(names, row, strict=True)) for row in rows])
        path = write(folder, "t.ndjson", text)
    except UnicodeEncodeError:  # half a surrogate pair cannot be written
        return
    try:
        found = propose(path)
    except MappingError as error:
        assert "t.ndjson" in str(error) or "Fix:" in str(error)
        return
    assert found.n_land + found.n_quarantined == found.n_rows == len(rows)
    if found.mapping is None:
        assert (
            found.questions
            or found.problem
            or "[[knobs]]  # CORRECT" in found.toml
        )
        return
    assert parse_mapping(found.toml, "p") == found.mapping
    landed = ingest([path], str(folder / "lake"), found.mapping)
    assert landed.n_runs == found.n_land
