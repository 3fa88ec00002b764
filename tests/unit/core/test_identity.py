"""What code means, which code a module reaches, and what enters neither."""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autollm.core.errors import SetupError
from autollm.core.identity import (
    Registry,
    checkpoint_digest,
    closure,
    code_digest,
    dump,
    identity_of,
    meaning_of,
)

WRITTEN = '''
"""What this module is for."""
from __future__ import annotations
import os, json
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 3
"""Why it is 3."""

class Thing:
    """A thing."""
    size: int = 1

    def grown(self, by: float = 0.5, *more: int) -> float:
        """How large it becomes."""
        # the reason
        match by:
            case 0.0: return self.size
            case _: pass
        return self.size + by if more else f"{self.size:>{LIMIT}} in {by!r}" "s"
'''
REFORMATTED = '''
"""Said in other words."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path, PurePath

LIMIT = 3


class Thing:
    size: int = 1

    def grown(
        self,
        by: float = 0.5,
        *more: int,
    ) -> float:
        match by:
            case 0.0:
                return self.size
            case _:
                """nothing"""
        return (
            (self.size + by)
            if more
            else f"{self.size:>{LIMIT}} in {by!r}s"
        )
'''
GOLDEN = "67b1cd91"


def meaning(text: str) -> str:
    return dump(ast.parse(text))


def test_dump__other_lines_comments_docstrings_and_order_of_imports__is_equal() -> (
    None
):
    one = meaning(WRITTEN.replace("import os, json", "import os\nimport json"))
    assert one == meaning(REFORMATTED)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("by: float", "by: int"),
        ("size: int = 1", "size: float = 1"),
        ("size: int = 1", "size: int = 1.0"),
        ("{by!r}", "{by}"),
        ('"s"', '"z"'),
        ("self.size + by", "self.size - by"),
        ("if more", "if not more"),
        (":>{LIMIT}", ":<{LIMIT}"),
    ],
)
def test_dump__anything_that_runs_differs__is_another(
    old: str, new: str
) -> None:
    assert old in WRITTEN
    assert meaning(WRITTEN) != meaning(WRITTEN.replace(old, new))


def test_dump__known_text__is_the_one_that_every_python_gave() -> None:
    found = hashlib.sha256(meaning(WRITTEN).encode()).hexdigest()[:8]
    assert found == GOLDEN


EVERYTHING = """
import sys
from hashlib import sha256
from pathlib import Path
from autollm.core.identity import meaning_of
files = sorted(Path(sys.argv[1]).rglob("*.py"))
print(len(files), sha256("".join(map(meaning_of, files)).encode()).hexdigest())
"""


def _other_pythons() -> list[str]:
    """Other interpreters on PATH that can be started."""
    found = []
    for name in ("python3.12", "python3.13"):
        path = shutil.which(name)
        if (
            path
            and not subprocess.run([path, "-V"], capture_output=True).returncode
        ):
            found.append(path)
    return found


@pytest.mark.skipif(not _other_pythons(), reason="no other Python on PATH")
def test_meaning_of__the_whole_package_on_other_pythons__is_equal() -> None:
    package = Path(__file__).parents[3] / "autollm"
    env = {**os.environ, "PYTHONPATH": str(package.parent)}
    said = set()
    for python in (sys.executable, *_other_pythons()):
        command = [python, "-c", EVERYTHING, str(package)]
        said.add(subprocess.check_output(command, env=env, text=True))
    assert len(said) == 1


@pytest.fixture()
def shop(tmp_path, monkeypatch):
    """A package on the path: `shop.stage` reaches some of its modules, not others."""
    files = {
        "__init__": "from shop.exported import thing\nfrom shop.unused import other\n",
        "stage": "from shop import thing\n"
        "from shop.registry import make\n"
        "def run():\n"
        "    from .late import x\n"
        "    return make('bowl'), open('shop.told')\n",
        "exported": "thing = 1\n",
        "unused": "other = 2\n",
        "late": "x = 1\n",
        "told": "import json, numpy\n",
        "registry": "KNOWN = {'bowl': 'shop.bowl:Bowl', 'ball': 'shop.ball:Ball'}\n"
        "def make(name): ...\n",
        "bowl": "from shop.fit import line\nclass Bowl: ...\n",
        "ball": "class Ball: ...\n",
        "fit": "line = 1\n",
        "typed": "",
    }
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


NAMES = Registry(
    "shop.registry",
    ("make",),
    {"bowl": "shop.bowl:Bowl", "ball": "shop.ball:Ball"},
)


def test_closure__imports_texts_and_names__are_followed_and_the_registry_is_not(
    shop,
) -> None:
    reached = ["bowl", "exported", "fit", "late", "stage", "told"]
    assert list(closure(["shop.stage"], NAMES)) == [
        f"shop.{m}" for m in reached
    ]


def test_closure__name_in_a_module_that_makes_nothing__is_only_a_word(
    shop,
) -> None:
    (shop / "late.py").write_text("x = 'ball'\n")
    assert "shop.ball" not in closure(["shop.stage"], NAMES)
    (shop / "late.py").write_text(
        "from shop.registry import make\nx = make('ball')\n"
    )
    assert "shop.ball" in closure(["shop.stage"], NAMES)


def test_closure__f_string_of_a_package__reaches_all_its_modules(shop) -> None:
    (shop / "more").mkdir()
    for name in ("__init__", "a", "b"):
        (shop / "more" / f"{name}.py").write_text("")
    (shop / "late.py").write_text("def x(n): return load(f'shop.more.{n}')\n")
    assert {"shop.more.a", "shop.more.b"} <= set(closure(["shop.stage"], NAMES))


def test_closure__for_type_checkers_alone__is_not_followed(shop) -> None:
    (shop / "late.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from shop.typed import T\n"
    )
    assert "shop.typed" not in closure(["shop.stage"], NAMES)


def test_closure__module_without_source__says_which() -> None:
    with pytest.raises(SetupError, match=r"module autollm\.gone has no source"):
        closure(["autollm.gone"])


@pytest.mark.parametrize(
    "module", ["bowl", "exported", "fit", "late", "stage", "told"]
)
def test_code_digest__reached_module_means_something_else__is_another(
    shop, module: str
) -> None:
    before = code_digest(["shop.stage"], NAMES)
    path = shop / f"{module}.py"
    path.write_text(path.read_text() + "# a comment\n")
    assert code_digest(["shop.stage"], NAMES) == before
    path.write_text(path.read_text() + "new = 1\n")
    assert code_digest(["shop.stage"], NAMES) != before


@pytest.mark.parametrize("module", ["ball", "registry", "unused", "__init__"])
def test_code_digest__module_that_is_not_reached_changed__is_the_same(
    shop, module: str
) -> None:
    before = code_digest(["shop.stage"], NAMES)
    path = shop / f"{module}.py"
    path.write_text(path.read_text() + "new = 1\n")
    (shop / "another.py").write_text("class Another: ...\n")
    assert code_digest(["shop.stage"], NAMES) == before


def test_meaning_of__file_changed__is_read_again(tmp_path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    before = meaning_of(path)
    path.write_text("x = 12\n")
    assert meaning_of(path) != before


def test_identity_of__order_of_parts__says_nothing() -> None:
    assert identity_of({"a": 1, "b": [1e-4]}) == identity_of(
        {"b": [1e-4], "a": 1}
    )
    assert identity_of({"a": 1.0000001}) != identity_of({"a": 1})


def test_checkpoint_digest__a_bit_of_the_weights__is_another(tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    before = checkpoint_digest(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 99 + b"\1")
    assert checkpoint_digest(tmp_path) != before
    assert checkpoint_digest("some/hub-id") != checkpoint_digest("other/hub-id")
