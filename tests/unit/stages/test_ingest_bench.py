"""The bench of landing measures what it says."""

from autollm.stages.ingest_bench import measure_ingest


def test_measure_ingest__small_files__gives_every_figure():
    found = measure_ingest(n_rows=200, history_mb=1, n_logs=3)
    assert {
        "table_vs_duckdb",
        "history_vs_duckdb",
        "folder_s",
        "peak_mb",
    } <= set(found)
    assert all(value > 0 for value in found.values())
