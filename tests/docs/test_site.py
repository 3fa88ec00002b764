"""The site builds without a warning, is made of what the code says today, and loads
nothing from elsewhere.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADS = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?P<a>[^\"'\s>]+)"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon))"
    r"[^>]*\bhref=[\"']?(?P<b>[^\"'\s>]+)"
)
STYLE_LOADS = re.compile(r"(?:@import|url\()\s*[\"']?(?P<a>https?:[^\"')\s]+)")


def test_reference__pages__are_what_the_code_says():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "make_reference.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built strictly from a copy, so that a checkout stays as it is."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    (folder / "autollm").symlink_to(ROOT / "autollm")
    zensical = Path(sys.executable).with_name("zensical")
    done = subprocess.run(
        [zensical, "build", "--strict"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "site"


def test_site__every_page__loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        for found in LOADS.finditer(page.read_text()):
            address = found["a"] or found["b"]
            assert not address.startswith(("http:", "https:", "//")), (
                page,
                address,
            )
    for style in site.rglob("*.css"):
        assert not STYLE_LOADS.search(style.read_text()), style


def test_site__every_page_of_docs__is_reached_from_its_navigation(site):
    config = (ROOT / "zensical.toml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert f'"{page.relative_to(ROOT / "docs").as_posix()}"' in config, page


def test_site__python_reference__holds_docstrings(site):
    text = (site / "reference" / "python" / "index.html").read_text()
    assert "open_snapshot" in text and "Raises" in text
