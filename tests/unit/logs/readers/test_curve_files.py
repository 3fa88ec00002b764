import pytest

from autollm.core.errors import RecordError
from autollm.logs.readers.curve_files import CurveCsvReader, CurveJsonlReader
from tests.unit.logs.readers.opened import Opened, curve_of, runs_of


def read(text, name="metrics.csv", reader=None):
    reader = reader or CurveCsvReader()
    data = text.encode()
    assert reader.matches(name, data)
    (relation,) = reader.read(Opened(name, data))
    return relation


def test_curve_csv__a_resumed_log__names_the_second_header_and_the_restart():
    relation = read(
        "step,train/loss\n0,3.0\n100,2.9\n200,2.8\n300,2.7\n400,2.6\n"
        "step,train/loss,ppl\n300,2.65,9.1\n400,2.5,9.0\n500,2.4\n"
    )
    assert curve_of(relation, "metrics", "train/loss") == [
        (0, 3.0),
        (100, 2.9),
        (200, 2.8),
        (300, 2.7),
        (400, 2.6),
        (300, 2.65),
        (400, 2.5),
    ]
    assert relation.notes[0] == "line 7 is a second header: it holds from there"
    assert "goes back from 400 to 300" in relation.notes[1]
    assert [(b.line, b.reason) for b in relation.bad] == [
        (10, "2 fields, the header has 3")
    ]
    row = runs_of(relation)["metrics"]
    assert (row["metrics.train/loss"], row["last_step"]) == (2.5, 400)
    assert relation.roles["last_step"] == "measured"


def test_curve_csv__several_runs_in_one_column__are_told_apart():
    lines = ["run,step,loss"]
    for run in ("a", "b"):
        for step in range(0, 50, 10):
            lines.append(f"{run},{step},{3 - step / 100 + (run == 'b')}")
    relation = read("\n".join(lines) + "\n")
    assert list(runs_of(relation)) == ["a", "b"]
    assert curve_of(relation, "b", "loss")[0] == (0, 4.0)


@pytest.mark.parametrize("mark", ["\t", ";", "|"])
def test_curve_csv__other_separators__are_found(mark):
    rows = [["step", "loss"], ["1", "3.0"], ["2", "2.9"], ["3", "2.8"]]
    relation = read("".join(mark.join(row) + "\n" for row in rows))
    assert [step for step, _ in curve_of(relation, "metrics", "loss")] == [
        1,
        2,
        3,
    ]


def test_curve_csv__a_table_of_runs__is_none():
    table = "run,steps,lr,loss\n" + "".join(
        f"r{i},1000,{0.001 * (i % 3 + 1)},{3 - i / 10}\n" for i in range(8)
    )
    assert not CurveCsvReader().matches("runs.csv", table.encode())
    by_step = "step,optimizer,loss\n" + "".join(
        f"{1000 * (i + 1)},{('adamw', 'muon')[i % 2]},{3 - i / 10}\n"
        for i in range(8)
    )
    assert not CurveCsvReader().matches("runs.csv", by_step.encode())


@pytest.mark.parametrize(
    "row",
    [
        lambda i: (
            f"{i},{(64, 128, 256)[i % 3]},{0.001 * 2 ** (i // 3)},{3 - i / 50}"
        ),
        lambda i: (
            f"{i},{32 + (i * 37) % 11},{0.001 * ((i * 7) % 5 + 1)},{3 - i / 50}"
        ),
    ],
)
def test_curve_csv__a_search_that_numbers_its_runs__is_a_table_of_runs(row):
    lines = ["iteration,batch_size,lr,loss", *[row(i) for i in range(12)]]
    assert not CurveCsvReader().matches("search.csv", "\n".join(lines).encode())


def test_curve_csv__a_schedule__is_no_search():
    lines = ["step,lr,loss"]
    for i in range(40):
        lines.append(f"{i},{min(i, 10) * (40 - i) / 1000},{3 - i / 50}")
    relation = read("\n".join(lines) + "\n")
    assert len(curve_of(relation, "metrics", "lr")) == 40


def test_curve_csv__settings_in_each_row__are_settings():
    lines = ["training_iteration,loss,config/lr,trial_id,date"]
    for i in range(5):
        lines.append(f"{i},{3 - i / 50},0.01,36656_00000,2024-12-24_17-36-2{i}")
    relation = read("\n".join(lines) + "\n", "progress.csv")
    row = runs_of(relation)["36656_00000"]
    assert (row["config/lr"], relation.roles["config/lr"]) == (0.01, "setting")


def test_curve_csv__steps_that_begin_again_in_every_epoch__are_told_once():
    lines = ["epoch,step,loss"]
    for i in range(60):
        lines.append(f"{i // 10},{i % 10},{3 - i / 50}")
    relation = read("\n".join(lines) + "\n")
    assert (
        len(relation.notes) == 4 and "goes back 5 times" in relation.notes[-1]
    )


def test_curve_csv__chart_of_two_runs__leaves_out_the_spread():
    header = ["Step"]
    for run in ("my - run", "b"):
        for end in ("", "__MIN", "__MAX"):
            header.append(f"{run} - val/loss{end}")
    lines = [",".join(f'"{name}"' for name in header)]
    lines.append('"0","3.0","2.9","3.1","","",""')
    lines.append('"10","2.5","2.4","2.6","4.0","4.0","4.0"')
    relation = read("\n".join(lines) + "\n", "wandb_chart.csv")
    assert curve_of(relation, "my - run", "val/loss") == [(0, 3.0), (10, 2.5)]
    assert curve_of(relation, "b", "val/loss") == [(10, 4.0)]
    assert any("averages" in note for note in relation.notes)


def test_curve_csv__board_download__is_named_by_its_file():
    text = "Wall time,Step,Value\n1750000000.5,0,3.5\n1750000030.5,100,3.4\n"
    relation = read(text, "run-exp1-tag-eval_loss.csv")
    assert curve_of(relation, "exp1", "eval_loss") == [(0, 3.5), (100, 3.4)]
    assert relation.points["wall_time_s"].to_pylist() == [0.0, 30.0]


def test_curve_csv__no_header__is_an_error_that_says_so():
    data = b"3.3,1,12.5,False,36656_00000,0.0001\n3.1,2,25.0,False,36656_00000,0.0001\n"
    assert CurveCsvReader().matches("progress.csv", data)
    with pytest.raises(RecordError, match="the first line holds numbers"):
        list(CurveCsvReader().read(Opened("progress.csv", data)))


def test_curve_jsonl__ray_result__has_settings_history_and_clock():
    lines = []
    for i in (1, 2, 3):
        lines.append(
            f'{{"loss": {3 - i / 10}, "eval": {{"loss": {3.1 - i / 10}}}, '
            f'"training_iteration": {i}, "time_total_s": {12.5 * i}, "done": false, '
            '"trial_id": "36656_00000", "hostname": "h", "pid": 3, '
            '"config": {"lr": 0.0001, "model": {"layers": 8}}}'
        )
    text = "\n".join(lines) + "\n"
    relation = read(text, "result.json", CurveJsonlReader())
    (row,) = relation.runs.to_pylist()
    assert (row["run"], row["config.lr"]) == ("36656_00000", 0.0001)
    assert (row["config.model.layers"], row["runtime_s"]) == (8, 37.5)
    names = set(relation.points["metric"].to_pylist())
    assert names == {"loss", "eval/loss"}


def test_curve_jsonl__a_broken_line__is_set_aside_by_its_number():
    text = '{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "loss": 1}\n{"st'
    relation = read(text, "log.jsonl", CurveJsonlReader())
    assert [(bad.line, bad.n_lines) for bad in relation.bad] == [(4, 1)]
    assert relation.n_lines == 4


def test_curve_jsonl__a_run_log_of_our_own__is_none_of_it():
    text = '{"kind":"header","step":1}\n{"kind":"step","step":1}\n'
    assert not CurveJsonlReader().matches("run.jsonl", text.encode())
