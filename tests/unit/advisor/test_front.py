import math

import pyarrow as pa

import autollm
from autollm.advisor.answer import Advice
from tests.unit.advisor.sweeps import best_rate, rows_of, write_csv


def test_recommend__table_in_memory__answers_as_its_file_does(tmp_path):
    rows = rows_of()[::2]
    path = write_csv(tmp_path / "runs.csv", rows)
    target = {"params": 1.6e9, "tokens": 6e10}
    from_file = autollm.recommend(path, target)
    table = pa.Table.from_pylist(
        [row | {"lr": float(row["lr"])} for row in rows]
    )
    from_table = autollm.recommend(table, "params=1.6B,tokens=60B")
    assert isinstance(from_file, Advice)
    first = from_file.recommendations[0].configuration
    assert first == from_table.recommendations[0].configuration
    assert abs(math.log2(first["lr"]) - best_rate(1.6e9, 6e10)) < 0.6
