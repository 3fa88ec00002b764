"""The advice page: what stands on it, that names from logs stay text, and that a browser
finds no fault.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

from autollm.advisor.evidence import Said, read_evidence
from autollm.advisor.page import advice_page
from autollm.advisor.recommend import explore
from tests.unit.advisor.doors.test_mcp_server import SECRET, TARGET, write_sweep

SECTIONS = ("card", "can-answer", "laws", "trust", "evidence", "checked")
HOSTILE = "<script>alert(1)</script>{{7*7}}"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a sweep with a plan to check, and the advice behind it."""
    folder = tmp_path_factory.mktemp("page")
    path = write_sweep(folder, "runs.csv")
    text = path.read_text().replace("-5,", f"-{HOSTILE},", 1)
    path.write_text(text)
    evidence = read_evidence([path], Said())
    plan = {"lr": 0.016, "batch_size": 64}
    found, advice = explore(
        evidence, TARGET, planned=plan, command=f"x {HOSTILE}"
    )
    return advice_page(found, advice), advice


def test_page__every_section__stands_with_the_advice_in_it(page):
    text, advice = page
    for section in SECTIONS:
        assert f'id="{section}"' in text
    assert text.count("<svg") == 3
    rate = advice.recommendations[0].configuration["lr"]
    assert f"{rate:.7g}" in text
    for warning in advice.warnings:
        assert warning.code in text


def test_page__names_and_secrets_of_logs__stay_text_and_are_redacted(page):
    text, _ = page
    assert "<script" not in text and "{{7*7}}" in text and "49" not in HOSTILE
    assert SECRET not in text


def test_page__nothing__is_loaded_from_elsewhere(page):
    text, _ = page
    loads = re.findall(r"(?:src|href)=[\"'](https?:[^\"']+)", text)
    assert loads == [] and "@import" not in text


def test_page__same_question__has_the_same_bytes(page, tmp_path):
    path = write_sweep(tmp_path, "runs.csv")
    pages = []
    for _ in range(2):
        found, advice = explore(read_evidence([path], Said()), TARGET)
        pages.append(advice_page(found, advice))
    assert pages[0] == pages[1]


@pytest.mark.skipif(
    shutil.which("chromium") is None, reason="no Chromium on this machine"
)
def test_page__in_a_browser__shows_its_parts_without_an_error(page, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    file = Path(tmp_path, "advice.html")
    file.write_text(page[0])
    faults = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page()
        tab.on("console", lambda told: faults.append(told.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("requestfailed", lambda request: faults.append(request.url))
        tab.goto(file.as_uri())
        for section in SECTIONS:
            assert tab.locator(f"#{section}").is_visible()
        widths = tab.eval_on_selector_all(
            "figure svg",
            "all => all.map(one => one.getBoundingClientRect().width)",
        )
        told = json.dumps(faults)
        browser.close()
    assert len(widths) == 3 and min(widths) > 300
    assert faults == [], told
