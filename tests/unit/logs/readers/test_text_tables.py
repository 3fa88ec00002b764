"""Tables as people paste them into texts: all of them give the runs of the plain one."""

import pytest

from autollm.logs.proposals import propose
from autollm.logs.readers.texts.text_tables import TextTableReader
from tests.unit.logs.proposals.tables import SIZES, loss, sweep
from tests.unit.logs.raw_logs import write
from tests.unit.logs.readers.opened import read_file

NAMES = ("params", "tokens", "lr", "batch_size", "val_loss")


def rows():
    """The cells of a sweep as text."""
    found = []
    for row in sweep():
        found.append([f"{row[name]:g}" for name in NAMES])
    return found


def latex():
    """As a paper's table."""
    lines = [r"\begin{tabular}{lrrrr}", r"\toprule"]
    lines += [r"params & tokens & lr & batch size & Val.\ loss \\", r"\midrule"]
    for params, tokens, lr, batch, value in rows():
        mantissa, exponent = f"{float(lr):.0e}".split("e")
        power = rf"${mantissa} \times 10^{{{int(exponent)}}}$"
        best = rf"\textbf{{{value}}}" if value == rows()[4][4] else value
        lines.append(rf"{params} & {tokens} & {power} & {batch} & {best} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def psql():
    """As psql prints it, without outer bars."""
    lines = [" | ".join(NAMES), "-+-".join("-" * 9 for _ in NAMES)]
    lines += [" | ".join(cells) for cells in rows()]
    return "\n".join([*lines, "(27 rows)", ""])


def grid():
    """As tabulate's grids: a rule below every line."""
    rule = "+" + "+".join("-" * 12 for _ in NAMES) + "+"
    lines = [rule]
    for cells in (NAMES, *rows()):
        lines += ["|" + "|".join(f" {c:<11}" for c in cells) + "|", rule]
    return "\n".join([*lines, ""])


def boxes():
    """As rich prints it."""
    lines = ["┏" + "┳".join("━" * 12 for _ in NAMES) + "┓"]
    lines.append("┃" + "┃".join(f" {c:<11}" for c in NAMES) + "┃")
    lines.append("┡" + "╇".join("━" * 12 for _ in NAMES) + "┩")
    lines += [
        "│" + "│".join(f" {c:<11}" for c in cells) + "│" for cells in rows()
    ]
    return "\n".join(
        [*lines, "└" + "┴".join("─" * 12 for _ in NAMES) + "┘", ""]
    )


def aligned():
    """As `column -t` aligns it."""
    return "\n".join(
        "".join(f"{c:<14}" for c in cells) for cells in (NAMES, *rows())
    )


def pandas():
    """As pandas prints a frame: right-aligned behind a count."""
    lines = ["   " + "".join(f"{c:>12}" for c in NAMES)]
    for number, cells in enumerate(rows()):
        lines.append(f"{number:<3}" + "".join(f"{c:>12}" for c in cells))
    return "\n".join([*lines, "", "[27 rows x 5 columns]", ""])


def tabs():
    """As a sheet saved as text."""
    return "\n".join("\t".join(cells) for cells in (NAMES, *rows()))


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("paper.tex", latex),
        ("query.txt", psql),
        ("grid.txt", grid),
        ("rich.out", boxes),
        ("aligned.dat", aligned),
        ("printed.txt", pandas),
        ("book.txt", tabs),
    ],
)
def test_propose__table_in_a_text__is_the_sweep(tmp_path, name, made):
    found = propose(write(tmp_path, name, made().encode()))
    assert (found.n_land, found.n_quarantined) == (27, 0)
    knobs = {tuple(knob.name.split()) for knob in found.mapping.knobs}
    assert knobs == {("lr",), ("batch_size",)}
    top = found.summary.ladder[-1]
    assert top["fidelity"] == {"params": SIZES[-1][0], "tokens": SIZES[-1][1]}
    assert top["best"] == loss(SIZES[-1][0], 1e-3)
    assert found.mapping.objective.direction == "min"


def test_propose__utf_16_text_of_tabs__is_the_sweep(tmp_path):
    found = propose(write(tmp_path, "book.txt", tabs().encode("utf-16")))
    assert found.n_land == 27


@pytest.mark.parametrize(
    "text",
    [
        "epoch 1 loss 3.2 acc 0.5\nepoch 2 loss 3.1 acc 0.6\n" * 3,
        "We ran three sizes\nand found nothing new\nin any of them\n",
        "a & b\nc & d\n",
        "name value\nlr 0.1\nwd 0.2\n",
    ],
)
def test_text_tables__other_text__is_none(text):
    assert not TextTableReader().matches("t.txt", text.encode())


def test_latex__commands_of_a_cell__are_taken_off(tmp_path):
    text = (
        "name & n & loss \\\\\n\\hline\n"
        "\\textbf{\\emph{a\\_b}} & 1{,}024 & $3.1 \\pm 0.2$ \\\\\n"
        "\\multirow{2}{*}{c} & 12\\,\\% & 2.9 \\\\ \\hline\n"
    )
    path = write(tmp_path, "t.tex", text.encode())
    relation = read_file(TextTableReader(), path)
    cells = [(r["name"], r["n"], r["loss"]) for r in relation.runs.to_pylist()]
    assert cells == [("a_b", "1,024", "3.1 ± 0.2"), ("c", "12%", "2.9")]


def test_text_table__pandas_wrapped_over_blocks__is_one_table(tmp_path):
    table = pytest.importorskip("pandas").DataFrame(sweep())
    text = table.to_string(line_width=40)
    assert text.count("\\\n") >= 1
    relation = read_file(
        TextTableReader(), write(tmp_path, "print.txt", text.encode())
    )
    assert relation.runs.num_rows == len(sweep()) and not relation.bad
    cells = relation.runs.to_pylist()[4]
    assert float(cells["lr"]) == sweep()[4]["lr"]
    assert float(cells["val_loss"]) == sweep()[4]["val_loss"]
    assert relation.runs["_line"].to_pylist()[:2] == [2, 3]
