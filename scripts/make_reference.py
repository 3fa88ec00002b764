"""Write docs/reference/ from the code: commands from the command line, the mapping file
and the answer from their models, errors from their classes.

    python scripts/make_reference.py           writes the pages
    python scripts/make_reference.py --check   exit code 1 where a page is not current
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from autollm.advisor import answer
from autollm.core import errors
from autollm.core.mappings import mapping

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
MADE = "<!-- made by scripts/make_reference.py -->\n\n"


def commands() -> str:
    """Every command with its options, as Typer tells them."""
    arguments = ["autollm.cli.main", "utils", "docs", "--name", "autollm"]
    done = subprocess.run(
        [sys.executable, "-m", "typer", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    title = "# Commands\n\nLogs and progress go to stderr, results to stdout. "
    codes = (
        "Exit codes: 0 done; 1 error; 2 wrong usage; 3 no honest answer "
        "(`recommend`, `check`, `plan`).\n\n"
    )
    body = done.stdout.replace("# `autollm`\n", "## `autollm`\n", 1)
    return title + codes + body.replace("**Usage**:\n\n", "")


def mapping_file() -> str:
    """Every section of a mapping file with its fields."""
    parts = [
        "# Mapping file\n",
        "What may stand in a mapping file, section by section. The language in which "
        "derived columns and rules are written, with examples: "
        "[Mapping files](../mapping-files.md).\n",
    ]
    for name, model in sorted(vars(mapping).items()):
        is_model = inspect.isclass(model) and issubclass(model, BaseModel)
        is_own = is_model and model.__module__.startswith(mapping.__name__)
        if is_own and name[0] != "_":
            parts.append(_section(name, model))
    return "\n".join(parts)


def _section(name: str, model: type[BaseModel]) -> str:
    lines = [f"## {name}\n", f"{inspect.cleandoc(model.__doc__ or '')}\n"]
    lines += ["| field | type | default |", "|---|---|---|"]
    schema = model.model_json_schema()
    required = schema.get("required", ())
    for field, about in schema.get("properties", {}).items():
        default = (
            "required" if field in required else f"`{about.get('default')!r}`"
        )
        lines.append(f"| `{field}` | {_kind(about)} | {default} |")
    return "\n".join(lines) + "\n"


def _kind(about: dict[str, Any]) -> str:
    """The type of a field in words, from its JSON schema."""
    if "$ref" in about:
        name = about["$ref"].rsplit("/", 1)[1]
        if not hasattr(mapping, name) or name == "Expression":
            return f"[{name.lower()}](../mapping-files.md)"
        return f"[{name}](#{name.lower()})"
    if "anyOf" in about:
        kinds = [_kind(one) for one in about["anyOf"]]
        return " or ".join(kind for kind in kinds if kind != "null")
    if "enum" in about:
        return ", ".join(f"`{value}`" for value in about["enum"])
    if about.get("type") == "array":
        return f"list of {_kind(about.get('items', {}))}"
    if about.get("type") == "object":
        return f"table of {_kind(about.get('additionalProperties') or {})}"
    return about.get("type", "any value")


def error_classes() -> str:
    """Every error that autollm raises on purpose."""
    lines = [
        "# Errors\n",
        "Every error that autollm raises on purpose. A message says what happened, what "
        "was expected, and the one action. From the command line an error is one line "
        "on stderr and exit code 1.\n",
        "| class | means |",
        "|---|---|",
    ]
    for name, cls in vars(errors).items():
        if inspect.isclass(cls) and issubclass(cls, errors.AutoLLMError):
            lines.append(
                f"| `{name}` | {' '.join((cls.__doc__ or '').split())} |"
            )
    return "\n".join(lines) + "\n"


def answer_json() -> str:
    """Every object of the advice's JSON with its fields."""
    parts = [
        "# The answer (JSON)\n",
        f"`autollm recommend --json` (and `check`, `plan`) prints one object of the schema "
        f"`{answer.SCHEMA}`: `schema`, `advice_id` and the fields of `Advice`. Numbers are "
        "finite or null; where one is null, `missing` says why. Fields may be added, none "
        "is renamed within /1. Where there is no answer: "
        '`{"schema", "error": {"code", "text", "remedy"}}`; its codes: '
        "[warnings of an advice](../advice-warnings.md#when-there-is-no-answer).\n",
    ]
    classes = [c for c in vars(answer).values() if dataclasses.is_dataclass(c)]
    classes.sort(key=lambda c: c is not answer.Advice)
    for cls in classes:
        parts.append(
            f"## {cls.__name__}\n\n{inspect.cleandoc(cls.__doc__ or '')}\n"
        )
        parts.append("| field | type |\n|---|---|")
        for field in dataclasses.fields(cls):
            name = "from" if field.name == "origin" else field.name
            kind = str(field.type).replace("|", "or")
            parts.append(f"| `{name}` | `{kind}` |")
        parts.append("")
    return "\n".join(parts)


PAGES = {
    "commands.md": commands,
    "answer.md": answer_json,
    "mapping.md": mapping_file,
    "errors.md": error_classes,
}


def main() -> int:
    """Write or compare; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, make in PAGES.items():
        page = FOLDER / name
        text = MADE + make()
        if not page.exists() or page.read_text() != text:
            stale.append(name)
            if not check:
                page.write_text(text)
    if check and stale:
        print(f"not current: {', '.join(stale)}. Fix: python {sys.argv[0]}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
