"""The pages in a real browser: accessible, of this machine alone, readable on a phone, whole without scripts."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

import httpx2
import made_site
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, sync_playwright

pytestmark = pytest.mark.web

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
SCREENS: list[tuple[int, Literal["light", "dark"]]] = [(1280, "light"), (1280, "dark"), (390, "dark"), (390, "light")]
PATHS = ["/", "/explorer?user=3&surface=feed", "ITEM", "/side-by-side", "/shadow", "/migration"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with made_site.served(made_site.site_app(tmp_path_factory.mktemp("site"), made_site.full_live())) as address:
        yield address


@pytest.fixture(scope="module")
def item_path(address: str) -> str:
    """The page of an item that is shown."""
    rows = httpx2.get(f"{address}/explorer.json?user=3&surface=feed").json()["tables"]["slates"]["rows"]
    item = next(row["item_id"] for row in rows if row["stack"] == "unified")
    return f"/explorer/item?user=3&surface=feed&item={item}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Debian's chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def opened(browser: Browser, url: str, scripts: bool = True) -> tuple[Page, list[str]]:
    """The page, and every request it made to another machine."""
    context = browser.new_context(
        java_script_enabled=scripts,
        bypass_csp=scripts,  # axe puts its script into the page; the pages themselves have none
    )
    page, outside = context.new_page(), []

    def watch(route: Route) -> None:
        if urlsplit(route.request.url).netloc == urlsplit(url).netloc:
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    page.route("**/*", watch)
    assert page.goto(url)
    return page, outside


@pytest.mark.parametrize("path", PATHS)
def test_a_page_breaks_no_rule_of_wcag_on_any_screen(browser: Browser, address: str, item_path: str, path: str) -> None:
    page, outside = opened(browser, address + path.replace("ITEM", item_path))
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    for width, scheme in SCREENS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options=RULES).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, f"{path} scrolls sideways by {wide} px at {width}"
        assert _small_targets(page) == []
        assert _small_text(page) == []
    assert outside == []
    page.context.close()


def _small_targets(page: Page) -> list[str]:
    """Things to press that are under 24 px either way; a link inside a line of text may be as high as the line."""
    return page.evaluate(
        """() => [...document.querySelectorAll('a, button, input, select, summary')]
          .filter(e => e.offsetParent && !e.closest('p') && !e.matches('.skip'))
          .map(e => [e.outerHTML.slice(0, 90), e.getBoundingClientRect()])
          .filter(([, r]) => r.height < 24 || r.width < 24).map(([h, r]) => `${h} ${r.width}x${r.height}`)"""
    )


def _small_text(page: Page) -> list[str]:
    """Words in figures that are under 12 px as they are drawn."""
    return page.evaluate(
        """() => [...document.querySelectorAll('figure svg')].filter(e => e.getBoundingClientRect().width)
          .flatMap(svg => { const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
            return [...svg.querySelectorAll('text')].map(t => [t.textContent, scale * parseFloat(getComputedStyle(t).fontSize)]) })
          .filter(([, px]) => px < 12).map(([t, px]) => `${t} ${px}`)"""
    )


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_whole_without_scripts(browser: Browser, address: str, item_path: str, path: str) -> None:
    page, _ = opened(browser, address + path.replace("ITEM", item_path), scripts=False)
    assert page.locator("h1").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("script").count() == 0
    assert page.locator("[style], [onclick]").count() == 0
    assert page.locator("table:not(:has(caption))").count() == 0
    for figure in page.locator("figure").all():
        assert figure.locator("svg[role=img] > title").first.text_content()
        assert figure.locator("svg[role=img] > desc").first.text_content()
        assert figure.locator("details table").count() == 1
    page.context.close()


def test_the_form_the_item_and_the_way_back_work_without_scripts(browser: Browser, address: str) -> None:
    page, _ = opened(browser, f"{address}/explorer", scripts=False)
    page.get_by_label("User").fill("5")
    page.get_by_label("Surface").select_option("groups")
    page.get_by_role("button", name="Show slates").click()
    assert "user 5 on groups" in page.locator("h1").inner_text()
    link = page.locator(".slate", has_text="unified").locator("ol a").first
    item = link.inner_text()
    link.click()
    assert f"Item {item} is shown for user 5 on groups" in page.locator("h1").inner_text()
    page.get_by_role("link", name="The slates with this item marked").click()
    assert page.locator("li.marked").first.locator("a").first.inner_text() == item
    page.context.close()


def test_the_keyboard_shows_where_it_is(browser: Browser, address: str) -> None:
    page, _ = opened(browser, f"{address}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    page.keyboard.press("Tab")
    drawn = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert float(drawn.removesuffix("px")) >= 2
    page.context.close()


def test_a_chosen_theme_holds_on_the_next_page(browser: Browser, address: str) -> None:
    page, _ = opened(browser, f"{address}/side-by-side", scripts=False)
    page.get_by_role("link", name="dark", exact=True).click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.url == f"{address}/side-by-side"
    page.get_by_role("link", name="Shadow diff").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.get_by_role("link", name="as the system").click()
    assert page.locator("html").get_attribute("data-theme") is None
    page.context.close()


def test_every_link_of_every_page_leads_somewhere(browser: Browser, address: str, item_path: str) -> None:
    todo, seen = [path.replace("ITEM", item_path) for path in PATHS], {}
    page, _ = opened(browser, f"{address}/", scripts=False)
    with httpx2.Client(base_url=address, trust_env=False, follow_redirects=True) as client:
        for path in todo:
            page.goto(address + path)
            for link in page.locator("a[href], link[href]").all():
                target = urljoin(address + path, link.get_attribute("href") or "").split("#")[0]
                assert target.startswith(address), target
                if target not in seen:
                    seen[target] = client.get(target).status_code
    assert {target: status for target, status in seen.items() if status != 200} == {}
    assert len(seen) > 60
    page.context.close()


@pytest.mark.parametrize("path", PATHS)
def test_the_twins_say_the_same_as_the_page(address: str, item_path: str, path: str) -> None:
    split = urlsplit(path.replace("ITEM", item_path))
    twin, query = ("/overview" if split.path == "/" else split.path), f"?{split.query}" if split.query else ""
    told = httpx2.get(f"{address}{twin}.json{query}")
    assert told.headers["content-type"] == "application/json"
    content = json.loads(told.content)
    assert content["heading"]
    for name, table in content["tables"].items():
        joined = f"{query}&table={name}" if query else f"?table={name}"
        rows = list(csv.DictReader(io.StringIO(httpx2.get(f"{address}{twin}.csv{joined}").text)))
        assert len(rows) == len(table["rows"]), name
        if rows:
            assert list(rows[0]) == list(table["rows"][0])


def test_a_table_nobody_has_is_refused_by_name(address: str) -> None:
    answer = httpx2.get(f"{address}/side-by-side.csv?table=head")
    assert answer.status_code == 404
    assert answer.json() == {
        "code": "web-001",
        "message": "this page has no table 'head'",
        "hint": "did you mean 'heads'?",
    }


def test_what_comes_from_data_is_shown_as_text(browser: Browser, address: str) -> None:
    items = made_site.items_table().filter(kind=made_site.RISKY)["item_id"].to_list()
    page, _ = opened(browser, f"{address}/explorer/item?user=3&surface=feed&item={items[0]}")
    assert made_site.RISKY in page.locator("main").inner_text()
    assert page.locator("main script").count() == 0
    page.goto(f"{address}/explorer?user=%3Cscript%3Ealert(1)%3C/script%3E")
    assert page.locator("script").count() == 0
    assert "<script>" in page.locator("[role=alert]").inner_text()
    page.context.close()


def test_headers_allow_no_script_and_no_other_machine(address: str) -> None:
    answer = httpx2.get(f"{address}/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("back", ["//evil.example/", "https://evil.example/", "/\\evil.example"])
def test_a_theme_never_leads_to_another_site(address: str, back: str) -> None:
    answer = httpx2.get(f"{address}/theme", params={"to": "dark", "back": back}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ("user=nobody", 400, "whole numbers"),
        ("user=99999999999999999999", 400, "64 bits"),
        ("surface=fead", 404, "is not configured"),
        ("user=3&at=soon", 400, "whole number"),
        ("user=424242&surface=feed", 200, "user 424242"),
    ],
)
def test_what_cannot_be_asked_is_answered_in_words(address: str, query: str, status: int, told: str) -> None:
    answer = httpx2.get(f"{address}/explorer?{query}")
    assert answer.status_code == status
    assert told in answer.text


@pytest.mark.parametrize("told", ["filtered", "unknown", "never retrieved", "scored too low"])
def test_an_item_that_is_not_shown_is_explained(address: str, told: str) -> None:
    items = {"filtered": [n for n in range(5000, 5900) if n % 41 == 0], "unknown": [99]}.get(told, range(5300, 5330))
    for item in items:
        answer = httpx2.get(f"{address}/explorer/item.json?user=3&surface=feed&item={item}").json()
        if f"is {told} " in answer["heading"]:
            assert answer["lead"]
            rows = {row["stack"]: row["outcome"] for row in answer["tables"]["stacks"]["rows"]}
            assert set(rows) == {"content-first", "interest-first", "unified"}
            assert rows["unified"] == {"filtered": "removed by integrity", "unknown": "not retrieved"}.get(
                told, told
            ).replace("never", "not")
            return
    pytest.fail(f"no item is {told}")


def test_a_dead_outside_stack_is_a_message_and_the_others_still_answer(tmp_path: Path) -> None:
    live = made_site.made_live({"content-first": made_site.dead("content-first")})
    with made_site.served(made_site.site_app(tmp_path, live)) as address:
        answer = httpx2.get(f"{address}/explorer?user=3&surface=feed")
        assert answer.status_code == 200
        assert "content-first at http://127.0.0.1:1/v1/rank does not answer" in answer.text
        assert answer.text.count('<li id="U-') == 10
        assert httpx2.get(f"{address}/explorer/item?user=3&surface=feed&item=5300").status_code == 200


def test_an_empty_workspace_says_which_command_fills_each_page(tmp_path: Path) -> None:
    with made_site.served(made_site.site_app(tmp_path, None, full=False)) as address:
        for path, command in {
            "/": "mainstem demo",
            "/explorer": "mainstem serve",
            "/explorer/item": "mainstem serve",
            "/side-by-side": "mainstem compare",
            "/shadow": "mainstem ",
            "/migration": "mainstem ",
        }.items():
            answer = httpx2.get(address + path)
            assert answer.status_code == 200
            assert command in answer.text


def test_a_claim_that_fails_is_said_as_plainly(tmp_path: Path) -> None:
    from mainstem.base.settings import parse_settings
    from mainstem.workspace.layout import Workspace

    workspace = Workspace(tmp_path, parse_settings(""))
    workspace.write_evidence("side_by_side", made_site.made_side_by_side(gain=-1.0))
    with made_site.served(made_site.site_app(tmp_path, None, full=False)) as address:
        content = httpx2.get(f"{address}/side-by-side.json").json()
        assert content["answer"] == "does not hold"
        assert "hold" in content["heading"]
        assert "does not hold" in httpx2.get(f"{address}/side-by-side").text
