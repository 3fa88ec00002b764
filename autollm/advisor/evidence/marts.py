"""The dbt models without dbt: their SQL rendered by Jinja and run in an in-memory
DuckDB, so that advice needs neither a warehouse nor dbt.

Only what the models use of dbt's Jinja is there: `ref`, `source`, `config`, the
project's own macros, and `is_incremental`, which is false. Invariant: the marts equal
those of `dbt build` over the same bronze (tests/dbt/test_marts_in_memory.py).
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import jinja2
import pyarrow as pa
import pyarrow.compute as pc

from autollm.core.errors import SetupError
from autollm.core.files import scratch_folder
from autollm.core.ids import Origin
from autollm.core.places import DBT_PROJECT


def build_marts(bronze: str, wanted: tuple[str, ...]) -> dict[str, pa.Table]:
    """Models by name, as Arrow tables, over the bronze folder at `bronze` (a local
    path).

    Raises:
        SetupError: the models are not installed, or one of `wanted` is none of them.
    """
    models = _models(DBT_PROJECT)
    unknown = sorted(set(wanted) - set(models))
    if unknown:
        raise SetupError(
            f"{DBT_PROJECT} has no model {unknown[0]!r}. Known: "
            f"{', '.join(sorted(models))}. Fix: install autollm again."
        )
    macros = "".join(
        p.read_text() for p in sorted(DBT_PROJECT.glob("macros/*.sql"))
    )
    connection = duckdb.connect(":memory:")
    connection.execute("set TimeZone = 'UTC'")
    with scratch_folder("marts") as folder:
        # SQL has patterns of files, and a home may be called `it's [v2]`.
        link = folder / "bronze"
        link.symlink_to(Path(bronze).absolute())
        builder = _Builder(connection, models, macros, str(link))
        for name in wanted:
            builder.build(name)
    found = {n: connection.sql(f"from {n}").to_arrow_table() for n in wanted}
    connection.close()
    return found


def origins_in(mart: pa.Table) -> dict[str, Origin]:
    """What a mart's rows may be compared within, by name."""
    named = mart.select(["source", "source_group"]).group_by(
        ["source", "source_group"]
    )
    found = {}
    for row in named.aggregate([]).to_pylist():
        origin = Origin(row["source"], row["source_group"])
        found[origin.name] = origin
    return dict(sorted(found.items()))


def rows_of(mart: pa.Table, origin: Origin) -> pa.Table:
    """Those of an origin."""
    is_of = pc.and_(
        pc.equal(mart["source"], origin.source),
        pc.equal(mart["source_group"], origin.group),
    )
    return mart.filter(is_of)


def _models(project: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(project.glob("models/**/*.sql"))}


class _Builder:
    """Builds a model after the models that it refers to, each once."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        models: dict[str, Path],
        macros: str,
        bronze: str,
    ):
        self._connection = connection
        self._models = models
        self._macros = macros
        self._bronze = bronze
        self._built: set[str] = set()
        self._jinja = jinja2.Environment(undefined=jinja2.StrictUndefined)
        self._jinja.globals |= {
            "ref": self._ref,
            "source": self._source,
            "config": lambda **_: "",
            "is_incremental": lambda: False,
        }

    def build(self, name: str) -> None:
        if name in self._built:
            return
        self._built.add(name)
        text = self._macros + self._models[name].read_text()
        sql = self._jinja.from_string(text).render()
        self._connection.execute(f"create table {name} as {sql}")

    def _ref(self, name: str) -> str:
        self.build(name)
        return name

    def _source(self, _: str, table: str) -> str:
        pattern = f"{self._bronze}/batches/*/{table}.parquet"
        quoted = pattern.replace("'", "''")
        return f"read_parquet('{quoted}')"
