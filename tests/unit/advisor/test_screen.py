import io

from rich.console import Console

from autollm.advisor.evidence.evidence import LogOptions
from autollm.advisor.recommend import recommend
from autollm.advisor.showing.screen import show
from tests.unit.advisor.sweeps import rows_of, write_csv


def test_show__hostile_column_name__stays_text_and_moves_no_cursor(tmp_path):
    rows = rows_of()[::3]
    for row in rows:
        row["\x1b[2J[red]lr"] = row.pop("lr")
    path = write_csv(tmp_path / "runs.csv", rows)
    advice = recommend(
        path, "params=1.6B,tokens=60B", said=LogOptions("val_loss:min")
    )
    out = io.StringIO()
    show(advice, Console(file=out, width=120, force_terminal=False))
    assert "\x1b" not in out.getvalue()
    assert "[2J[red]lr" in out.getvalue()


def test_show__narrow_terminal__every_setting_stands_whole_beside_its_range(
    tmp_path,
):
    rows = rows_of()
    for row in rows:
        row["optimizer.learning_rate_of_the_decoder"] = row.pop("lr")
    path = write_csv(tmp_path / "runs.csv", rows)
    advice = recommend(
        path, "params=1.6B,tokens=60B", said=LogOptions("val_loss:min")
    )
    out = io.StringIO()
    show(advice, Console(file=out, width=80, force_terminal=False))
    shown = out.getvalue()
    assert "Next run at params 1.6B, tokens 60B" in shown
    name = "optimizer.learning_rate_of_the_decoder"
    value = advice.recommendations[0].configuration[name]
    assert f"{name} = {value:.4g}" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_show__several_questions_that_one_run_helps__name_it_once(tmp_path):
    rows = [row for row in rows_of() if row["params"] == rows_of()[0]["params"]]
    path = write_csv(tmp_path / "runs.csv", rows)
    advice = recommend(
        path, "params=1.6B,tokens=60B", said=LogOptions("val_loss:min")
    )
    out = io.StringIO()
    show(advice, Console(file=out, width=80, force_terminal=False))
    runs = out.getvalue().split("What would turn")[1]
    assert runs.count("[A]") == 1
    answers = out.getvalue().split("What would turn")[0]
    assert answers.count("[A]") >= 2
