import io

from rich.console import Console

from autollm.advisor.evidence import Said
from autollm.advisor.recommend import recommend
from autollm.advisor.screen import show
from tests.unit.advisor.sweeps import rows_of, write_csv


def test_show__hostile_column_name__stays_text_and_moves_no_cursor(tmp_path):
    rows = rows_of()[::3]
    for row in rows:
        row["\x1b[2J[red]lr"] = row.pop("lr")
    path = write_csv(tmp_path / "runs.csv", rows)
    advice = recommend(
        path, "params=1.6B,tokens=60B", said=Said("val_loss:min")
    )
    out = io.StringIO()
    show(advice, Console(file=out, width=120, force_terminal=False))
    assert "\x1b" not in out.getvalue()
    assert "[2J[red]lr" in out.getvalue()
