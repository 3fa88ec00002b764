"""The advice page: what stands on it, that names from logs stay text, and that a browser
finds no fault.
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from autollm.advisor.answer import PlannedRun
from autollm.advisor.evidence.evidence import LogOptions, read_evidence
from autollm.advisor.recommend import explore
from autollm.advisor.showing.page import advice_page
from tests.unit.advisor.doors.test_mcp_server import SECRET, TARGET, write_sweep
from tests.unit.advisor.sweeps import rows_of, write_csv

SECTIONS = (
    "card",
    "can-answer",
    "optima",
    "laws",
    "landscape",
    "outcome",
    "loss-law",
    "trust",
    "backtests",
    "influence",
    "changes",
    "evidence",
    "checked",
    "earlier",
)
PICTURES = 3
EARLIER = {
    "advice_id": "0123456789abcdef",
    "saved_at": "2026-01-02T03:04:05+00:00",
    "target": {"params": 3e8, "tokens": 6e9},
    "configuration": {"lr": 0.004, "note": "sk-proj-" + "z9Y8" * 10},
    "predicted": {"mean": 2.5, "low": 2.4, "high": 2.6, "level": 0.9},
    "best_outcome": 2.45,
    "n_scored": 1,
    "n_inside": 1,
}
HOSTILE = "<script>alert(1)</script>{{7*7}}"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a sweep with a plan to check, and the advice behind it."""
    folder = tmp_path_factory.mktemp("page")
    path = write_sweep(folder, "runs.csv")
    text = path.read_text().replace("-5,", f"-{HOSTILE},", 1)
    path.write_text(text)
    evidence = read_evidence([path], LogOptions())
    plan = {"lr": 0.016, "batch_size": 64}
    found, advice = explore(
        evidence, TARGET, planned=plan, command=f"x {HOSTILE}"
    )
    return advice_page(found, advice, [EARLIER]), advice


@pytest.fixture(scope="module")
def long_page(tmp_path_factory):
    """Of six levels, so that three are backtests, with plan and opinion filled."""
    path = tmp_path_factory.mktemp("long") / "runs.csv"
    evidence = read_evidence([write_csv(path, rows_of()[::3])], LogOptions())
    found, advice = explore(evidence, "params=1.6B,tokens=60B")
    cost = {"flops": 1e18, "device_hours": None}
    run = PlannedRun(
        {"params": 1e8}, {"lr": 0.001}, cost, 0.2, 0.123, 1, "tells the rate"
    )
    free = {"flops": 0.0, "device_hours": None}
    nothing = PlannedRun(None, None, free, 0.123, 0.123, 2, "costs more")
    turn = {"role": "assistant", "name": "", "content": "lr <b>", "call": ""}
    opinion = {
        "policy": "chat:some-model",
        "configuration": {"lr": 0.001, "batch_size": 256},
        "predicted": None,
        "expected_regret": None,
        "numbers": 2,
        "numbers_traced": 1,
        "transcript": [turn],
        "problem": "",
    }
    return advice_page(
        found, replace(advice, plan=(run, nothing), opinions=(opinion,))
    )


def test_page__target_among_the_levels__lists_its_runs(tmp_path):
    evidence = read_evidence([write_sweep(tmp_path)], LogOptions())
    page = advice_page(*explore(evidence, "params=1e8,tokens=2e9"))
    assert 'id="history"' in page


def test_page__backtests_plan_and_opinion__stand_there(long_page):
    for section in ("by-policy", "saved", "foretold", "plan", "opinions"):
        assert f'id="{section}"' in long_page
    assert "tells the rate" in long_page and "1.0e18 FLOPs" in long_page
    assert "0.2 to 0.123" in long_page and "spend nothing" in long_page
    assert "lr &lt;b&gt;" in long_page
    assert "1 of 2 numbers" in long_page


def test_page__every_section__stands_with_the_advice_in_it(page):
    text, advice = page
    for section in SECTIONS:
        assert f'id="{section}"' in text
    assert text.count("<svg") == PICTURES
    rate = advice.recommendations[0].configuration["lr"]
    assert f"{rate:.7g}" in text
    for warning in advice.warnings:
        assert warning.code in text


def test_page__names_and_secrets_of_logs__stay_text_and_are_redacted(page):
    text, _ = page
    assert "<script>alert" not in text and "{{7*7}}" in text
    assert SECRET not in text and EARLIER["configuration"]["note"] not in text


def test_page__nothing__is_loaded_from_elsewhere(page):
    text, _ = page
    loads = re.findall(r"(?:src|href)=[\"'](https?:[^\"']+)", text)
    assert loads == [] and "@import" not in text


def test_page__same_question__has_the_same_bytes(page, tmp_path):
    path = write_sweep(tmp_path, "runs.csv")
    pages = []
    for _ in range(2):
        found, advice = explore(read_evidence([path], LogOptions()), TARGET)
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
        tab.click("#copy")
        tab.wait_for_function("document.getElementById('copy').innerText")
        tab.set_viewport_size({"width": 390, "height": 800})
        wide = tab.evaluate("document.documentElement.scrollWidth")
        tab.emulate_media(media="print")
        printed = tab.locator("#copy").is_visible()
        browser.close()
    assert len(widths) == PICTURES and min(widths) > 300
    assert wide <= 390, "a phone would scroll sideways"
    assert not printed, "a button on paper"
    assert faults == [], told
