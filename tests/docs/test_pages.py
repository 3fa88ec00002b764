"""What the pages for users say is what the program does: every code has its line, and the
README's first screen is the command's own answer.
"""

import re
import sys
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
    raised = codes_of("advisor/*.py", "cli/*.py")
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


def test_readme__first_screen__is_what_the_command_answers(monkeypatch):
    monkeypatch.chdir(ROOT)
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"autollm (recommend examples/.*)", readme)[1]
    block = readme.split("more compute)\n", 1)[1].split("    !", 1)[0]
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0, done.output
    said = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for line in filter(None, map(str.strip, block.splitlines())):
        assert " ".join(line.split()) in said, (line, sys.version)
