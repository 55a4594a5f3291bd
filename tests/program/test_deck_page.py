"""A deck in a real browser: readable by everybody in light and dark, no wider than a telephone, one slide a printed sheet."""

from __future__ import annotations

import shutil
from datetime import date

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from program_plans import SMALL

from mainstem.program.deck import deck_html
from mainstem.program.evidence import gate_states
from mainstem.program.plan_file import parse_program
from mainstem.program.status import write_report
from mainstem.program.timeline import landings_of
from mainstem.program.worlds import simulate

pytestmark = pytest.mark.web
TODAY = date(2026, 1, 20)


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Debian's chromium")
    with sync_playwright() as play:
        found = play.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        )
        yield found
        found.close()


@pytest.fixture(scope="module")
def deck(tmp_path_factory):
    plan = parse_program(SMALL)
    worlds = simulate(plan, worlds=200)
    rows = landings_of(plan, worlds, gate_states(plan, [], TODAY), ["feed"])
    file = tmp_path_factory.mktemp("deck") / "deck.html"
    file.write_text(deck_html(write_report(plan, "deck", TODAY, worlds), rows, TODAY), encoding="utf-8")
    return file.as_uri()


@pytest.mark.parametrize(("scheme", "wide", "high"), [("light", 1280, 800), ("dark", 390, 844)])
def test_a_deck_is_for_everybody(browser, deck, scheme, wide, high):
    page = browser.new_page(viewport={"width": wide, "height": high}, color_scheme=scheme)
    page.goto(deck)
    assert Axe().run(page).response["violations"] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= wide
    page.get_by_role("link", name="on").first.click()
    assert page.url.endswith("#s2")
    slides = page.locator("section").count()
    assert page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n") == slides
    page.close()
