"""What the pages for users say is what the program does: every code has its line, and the
README's first screen is the command's own answer.
"""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autollm.cli.main import app

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"^\| `([a-z-]+)` \|", re.MULTILINE)
RAISED = re.compile(r"(?:Warn|AdviceError)\(\s*\"([a-z-]+)\"")


def codes_of(*files: str) -> set[str]:
    found = set()
    for file in files:
        for path in (ROOT / "autollm").glob(file):
            found |= set(RAISED.findall(path.read_text()))
    return found


def test_advice_warnings__every_code__has_its_line():
    page = (ROOT / "docs" / "advice-warnings.md").read_text()
    written = set(CODE.findall(page))
    raised = codes_of("advisor/**/*.py", "cli/*.py")
    assert len(raised) > 15 and raised <= written, raised - written


def test_guides__every_one__is_there():
    wanted = ("own-table", "own-policy", "own-reader", "own-suite")
    wanted += ("gpu-training", "pipeline", "optuna", "mcp", "your-logs")
    for name in wanted:
        assert (ROOT / "docs" / f"{name}.md").exists(), name


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")))
def test_pages__python_blocks__are_python(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        compile(block, str(page), "exec")


WIDTH = 88
"""Of prose in pages; tables, headings, pictures and code stand as they are."""
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PAGES += sorted((ROOT / "docs" / "adr").glob("*.md"))
PAGES += sorted((ROOT / "docs" / "datasets").glob("*.md"))


def wide_prose(text: str) -> list[str]:
    """Lines of prose over WIDTH characters."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    found = []
    for line in text.splitlines():
        if len(line) > WIDTH and not line.startswith(("|", "#", "![", "    ")):
            found.append(line)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages__prose__is_wrapped(page):
    assert wide_prose(page.read_text()) == []


def test_wide_prose__table_code_and_a_long_line__names_the_line():
    long = "word " * 20
    fenced = f"```\n{long}\n```"
    text = f"| {long} |\n\n    {long}\n\n{fenced}\n\n{long}"
    assert wide_prose(text) == [long]


def told(text: str) -> tuple[list[str], list[float]]:
    """Words and numbers of the proposals' lines."""
    words: list[str] = []
    numbers: list[float] = []
    for part in re.findall(r"[-+.\w]+", text):
        try:
            numbers.append(float(part))
        except ValueError:
            words.append(part)
    return words, numbers


def test_readme__first_screen__is_what_the_command_answers(monkeypatch):
    """The same settings; ranges and forecasts as far as a reader would notice."""
    monkeypatch.chdir(ROOT)
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"autollm (recommend examples/.*)", readme)[1]
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0, done.output
    written = readme.split("What to run\n", 1)[1].split("    In brackets", 1)[0]
    answer = done.stdout.split("What to run\n", 1)[1]
    answer = answer.split("In brackets", 1)[0]
    words, numbers = told(answer)
    assert told(written)[0] == words, answer
    assert told(written)[1] == pytest.approx(numbers, rel=0.1, abs=0.03), answer
