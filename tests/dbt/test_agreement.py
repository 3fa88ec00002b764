"""Whatever landing accepts passes dbt's tests: many generated sources in one home, which
one build takes.
"""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from autollm.logs.landing import ingest
from tests.dbt.generated import run_logs, tables
from tests.dbt.projects import Home
from tests.dbt.test_marts import NO_UNIT_TESTS, lab_run, land
from tests.unit.logs.raw_logs import write

SOURCES = 60
"""Two seconds to land each dozen, one build for all."""


def land_generated(home: Home, n_sources: int = SOURCES) -> int:
    """Land generated sources; how many runs were accepted."""
    numbers = itertools.count()
    accepted = []

    @settings(
        max_examples=n_sources,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def land_one(data):
        name = f"s{next(numbers)}"
        kind = data.draw(st.sampled_from([tables, tables, run_logs]))
        source = data.draw(kind(name))
        path = write(home.folder / "raw", f"{name}.jsonl", source.data)
        report = ingest([path], home.lake, source.mapping)
        assert report.n_lines_read + report.n_lines_quarantined == (
            report.n_lines
        )
        accepted.append(report.n_runs)

    land_one()
    return sum(accepted)


def test_landing_and_warehouse__generated_sources__agree_on_what_is_valid(
    tmp_path,
):
    home = Home(tmp_path)
    land(home, {"good.jsonl": lab_run("good", 3.0)})
    assert land_generated(home) > SOURCES
    done = home.dbt("build", *NO_UNIT_TESTS)
    failed = {n: s for n, s in home.results().items() if s in ("fail", "error")}
    assert not failed, done.stdout[-3000:]
    sources = {row["source"]: row["fault"] for row in home.mart("dim_sources")}
    assert sources["lab-pretraining"] == "" and len(sources) > SOURCES / 2
    n_left_out = sum(fault != "" for fault in sources.values())
    assert n_left_out < len(sources) / 2
