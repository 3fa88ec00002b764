"""The advisor's marts, rendered without dbt, equal those of `dbt build`."""

from __future__ import annotations

import pyarrow as pa

from autollm.advisor.evidence.marts import build_marts
from autollm.logs.landing import ingest
from tests.dbt.projects import Home
from tests.dbt.test_marts import NO_UNIT_TESTS, land
from tests.unit.advisor.sweeps import rows_of, write_csv
from tests.unit.logs.raw_logs import run_bytes

MARTS = (
    "mart_gym__outcomes",
    "dim_experiments",
    "dim_configs",
    "dim_spaces",
    "fct_outcomes",
    "fct_learning_curves",
    "stg_runs",
)


def sorted_rows(rows: list[dict]) -> list[str]:
    """Rows as text in a fixed order: NaN equals NaN there."""
    return sorted(repr(sorted(row.items())) for row in rows)


def test_build_marts__tables_and_run_logs__equal_those_of_dbt(tmp_path):
    from autollm.core.mappings.mapping import parse_mapping
    from autollm.logs.proposals import TableOptions, propose

    home = Home(tmp_path)
    land(home, {"a.jsonl": run_bytes("a"), "b.jsonl": run_bytes("b", seed=1)})
    table = write_csv(tmp_path / "sweep.csv", rows_of(seeds=2)[:300])
    mapping = parse_mapping(
        propose(table, TableOptions.parse("val_loss:min")).toml, "sweep"
    )
    ingest([table], home.lake, mapping)
    home.build(*NO_UNIT_TESTS)
    found = build_marts(str(tmp_path / "bronze"), MARTS)
    for name in MARTS[:-1]:
        theirs = pa.Table.from_pylist(home.mart(name)).to_pylist()
        assert sorted_rows(found[name].to_pylist()) == sorted_rows(theirs), name
    assert found["stg_runs"].num_rows == 302
