"""What the house measures itself by, printed as one table.

    python scripts/measure_house.py [--coverage FILE] [--size]

Lines of source that the main job does not reach, each unreached module named:

    coverage run --parallel-mode -m pipelines.run --home var/measured && coverage combine
    coverage json -o var/coverage.json; python scripts/measure_house.py --coverage var/coverage.json

(pyproject.toml, [tool.coverage]: child processes are measured too; scripts/reach.py
shows the same file part by part.) `--size` installs autollm without extras into a folder
that is thrown away, and weighs it.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import shutil
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autollm.core.files import scratch_folder

ROOT = Path(__file__).parents[1]
SOURCE = ("autollm", "pipelines")
WIDTH = 100
LONG_MODULE = 450
LONG_FUNCTION = 40
"""Lines beyond which a module or a function is to be cut."""
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
LAYOUT = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
)


@dataclass(frozen=True)
class Measures:
    """Of some files. Counts, but for `tokens_p90`: tokens of the line that nine in ten
    do not exceed, lines without tokens left out.
    """

    n_lines: int
    n_long: int
    n_docstring_lines: int
    n_long_docstring: int
    tokens_p90: int
    n_comprehensions: int
    n_nested_ternaries: int
    n_functions: int
    n_long_functions: int
    long_modules: tuple[str, ...]
    """Modules of more than LONG_MODULE lines."""
    crowded: tuple[str, ...]
    """Statements of more than one comprehension, as file:line."""
    nested: tuple[str, ...]
    """Ternaries within ternaries, as file:line."""


def files_of(*folders: str) -> list[Path]:
    """Python files below folders of the checkout, sorted."""
    found = []
    for folder in folders:
        found += sorted((ROOT / folder).rglob("*.py"))
    return found


def measure(files: list[Path]) -> Measures:
    n_lines, n_long, tokens = 0, 0, []
    in_docstrings, long_docstrings, comprehensions = 0, 0, 0
    crowded: list[str] = []
    nested: list[str] = []
    long_modules: list[str] = []
    functions: list[int] = []
    for path in files:
        text = path.read_text()
        lines, tree = text.splitlines(), ast.parse(text)
        name = path.relative_to(ROOT).as_posix()
        n_lines += len(lines)
        n_long += sum(len(line) > WIDTH for line in lines)
        for number in docstring_lines(tree):
            in_docstrings += 1
            long_docstrings += len(lines[number - 1]) > WIDTH
        if len(lines) > LONG_MODULE:
            long_modules.append(name)
        functions += function_lines(tree)
        tokens += tokens_by_line(text)
        comprehensions += sum(
            isinstance(n, COMPREHENSIONS) for n in ast.walk(tree)
        )
        nested += [f"{name}:{line}" for line in nested_ternaries(tree)]
        crowded += [f"{name}:{line}" for line in crowded_statements(tree)]
    tokens.sort()
    return Measures(
        n_lines=n_lines,
        n_long=n_long,
        n_docstring_lines=in_docstrings,
        n_long_docstring=long_docstrings,
        tokens_p90=tokens[int(0.9 * len(tokens))] if tokens else 0,
        n_comprehensions=comprehensions,
        n_nested_ternaries=len(nested),
        n_functions=len(functions),
        n_long_functions=sum(n > LONG_FUNCTION for n in functions),
        long_modules=tuple(long_modules),
        crowded=tuple(crowded),
        nested=tuple(nested),
    )


def docstring_lines(tree: ast.Module) -> Iterator[int]:
    """Numbers of the lines that docstrings of modules, classes and functions take."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if (
            isinstance(node, owners)
            and ast.get_docstring(node, clean=False) is not None
        ):
            first = node.body[0]
            yield from range(
                first.lineno, (first.end_lineno or first.lineno) + 1
            )


def function_lines(tree: ast.AST) -> Iterator[int]:
    """How long each function is, docstring and signature included."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def tokens_by_line(text: str) -> list[int]:
    """Tokens of each line that has any."""
    counts: dict[int, int] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT:
            counts[token.start[0]] = counts.get(token.start[0], 0) + 1
    return list(counts.values())


def nested_ternaries(tree: ast.AST) -> Iterator[int]:
    """Lines of conditional expressions that stand directly in another one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.IfExp):
            for part in (node.body, node.test, node.orelse):
                if isinstance(part, ast.IfExp):
                    yield part.lineno


def crowded_statements(tree: ast.AST) -> Iterator[int]:
    """Lines of simple statements, and of the heads of compound ones, that hold more than
    one comprehension.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and comprehensions_in(node) > 1:
            yield node.lineno


def comprehensions_in(statement: ast.stmt) -> int:
    """Comprehensions of a statement, those of statements within it left out."""
    count, todo = 0, list(ast.iter_child_nodes(statement))
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            continue
        count += isinstance(node, COMPREHENSIONS)
        todo += ast.iter_child_nodes(node)
    return count


def crowded_folders() -> list[tuple[float, str]]:
    """Comprehensions per 1,000 lines of each folder of the package, most first."""
    found = []
    for folder in sorted((ROOT / "autollm").iterdir()):
        if (folder / "__init__.py").exists():
            here = measure(sorted(folder.rglob("*.py")))
            share = 1000 * here.n_comprehensions / here.n_lines
            found.append((share, f"autollm/{folder.name}"))
    return sorted(found, reverse=True)


def unreached(coverage_json: Path) -> tuple[float, list[str]]:
    """Share of source lines that a run did not reach, and the modules of which it
    reached none, with their lines.
    """
    files = json.loads(coverage_json.read_text())["files"]
    n_missing = sum(f["summary"]["missing_lines"] for f in files.values())
    n_all = sum(f["summary"]["num_statements"] for f in files.values())
    whole = []
    for name, file in sorted(files.items()):
        summary = file["summary"]
        if summary["num_statements"] and not summary["covered_lines"]:
            whole.append(f"{name} ({summary['num_statements']})")
    return n_missing / max(n_all, 1), whole


def base_megabytes() -> tuple[float, float]:
    """What the base install weighs in MB of 10^6 bytes, with the files that pip
    compiles: all of it, and autollm's own part.
    """
    with scratch_folder("size") as scratch:
        copy, site = scratch / "copy", scratch / "site"
        for name in tracked_files():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
        pip = [sys.executable, "-m", "pip", "install", "-q"]
        constraints = ["-c", str(ROOT / "constraints.txt")]
        target = ["--no-build-isolation", "--target", str(site)]
        subprocess.run([*pip, *constraints, *target, str(copy)], check=True)
        own = sum(megabytes(site / name) for name in SOURCE)
        return megabytes(site), own


def tracked_files() -> list[str]:
    """Files that git knows and that are there, so that nothing else is packed."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        name for name in listed.stdout.split("\0") if (ROOT / name).is_file()
    ]


def megabytes(folder: Path) -> float:
    """Of all files below a folder, in MB of 10^6 bytes."""
    sizes = [p.stat().st_size for p in folder.rglob("*") if p.is_file()]
    return sum(sizes) / 1e6


def doors() -> list[str]:
    """Which of a house's usual parts are there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    there = {
        "LICENSE": (ROOT / "LICENSE").exists(),
        "type checker": "pyright" in project["tool"],
        "py.typed": (ROOT / "autollm" / "py.typed").exists(),
        "formatter": "ruff" in project["tool"],
        "entry points": "plugins(GROUP)"
        in (ROOT / "autollm" / "policies" / "registry.py").read_text(),
    }
    return [name for name, is_there in there.items() if is_there]


def rows(
    coverage_json: Path | None, with_size: bool
) -> list[tuple[str, str, str]]:
    """Measure, here, to reach."""
    here = measure(files_of(*SOURCE))
    n_tests = measure(files_of("tests")).n_lines
    long, docs = here.n_long / here.n_lines, here.n_docstring_lines
    share = here.n_long_docstring / max(docs, 1)
    per_thousand = 1000 * here.n_comprehensions / here.n_lines
    long_functions = here.n_long_functions / here.n_functions
    out = [
        (
            "lines over 100 columns (docstring lines)",
            f"{100 * long:.1f} % ({100 * share:.1f} %)",
            "0",
        ),
        ("tokens a line, p90", str(here.tokens_p90), "16"),
        ("comprehensions per 1,000 lines", f"{per_thousand:.0f}", "30"),
        ("nested ternaries", str(here.n_nested_ternaries), "0"),
        (
            "statements of more than one comprehension",
            str(len(here.crowded)),
            "0",
        ),
        (
            f"functions over {LONG_FUNCTION} lines",
            f"{100 * long_functions:.1f} %",
            "10 %",
        ),
        (
            f"modules over {LONG_MODULE} lines",
            str(len(here.long_modules)),
            "0",
        ),
        (
            "licence, type checker, py.typed, formatter",
            ", ".join(doors()),
            "all",
        ),
        ("test lines per source line", f"{n_tests / here.n_lines:.2f}", ".8"),
    ]
    if coverage_json:
        missing, modules = unreached(coverage_json)
        named = "; none of: " + ", ".join(modules) if modules else ""
        out.append(
            (
                "source lines that the main job does not reach",
                f"{100 * missing:.0f} %{named}",
                "15 %",
            )
        )
    if with_size:
        whole, own = base_megabytes()
        rest = f"{whole - own:.0f} MB and autollm's {own:.0f} MB"
        out.append(("base install: dependencies, itself", rest, "650 MB"))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coverage", type=Path, metavar="FILE")
    parser.add_argument("--size", action="store_true")
    parser.add_argument(
        "--where", action="store_true", help="name the places too"
    )
    asked = parser.parse_args()
    for name, value, goal in rows(asked.coverage, asked.size):
        print(f"{name:46} {value:16} {goal}")
    if asked.where:
        here = measure(files_of(*SOURCE))
        print("\ncomprehensions per 1,000 lines:")
        for share, folder in crowded_folders():
            print(f"  {share:3.0f} {folder}")
        print("\nnested ternaries:", *here.nested, sep="\n  ")
        print("more than one comprehension:", *here.crowded, sep="\n  ")
        print("long modules:", *here.long_modules, sep="\n  ")


if __name__ == "__main__":
    main()
