"""The pages in a real browser: accessible, of this machine alone, readable on a phone, whole without scripts."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin, urlsplit

import httpx2
import made_site
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, sync_playwright

from mainstem.base.settings import parse_settings
from mainstem.web.render import prose
from mainstem.workspace.layout import Workspace

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
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    "resultTypes": ["violations"],
    "preload": False,
}
SCREENS: list[tuple[int, Literal["light", "dark"]]] = [(1280, "light"), (1280, "dark"), (390, "dark"), (390, "light")]
PATHS = [
    "/",
    "/explorer?user=3&surface=feed",
    "ITEM",
    "/surfaces",
    "/responsible",
    "/side-by-side",
    "/side-by-side?regime=continuous",
    "/shadow",
    "/launch",
    "/launch?launch=spring-1",
    "/migration",
    "/program",
    "/capacity",
]
ONE_OF_A_KIND = """document.querySelectorAll(
  'table:not(:has(.verdict)) tbody tr:nth-child(n+4), .slate li:not(.shared):nth-child(n+4)').forEach(one => one.remove())"""
"""Rows like those above them; the first screen has shown them all, and contrast is measured word by word."""


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
def test_a_page_is_whole_and_breaks_no_rule_of_wcag_on_any_screen(
    browser: Browser, address: str, item_path: str, path: str
) -> None:
    page, outside = opened(browser, address + path.replace("ITEM", item_path))
    assert _not_whole(page) == []
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    if "?regime=" in path:
        page.evaluate(ONE_OF_A_KIND)  # the frozen page has the same rows, and shows them all
    for width, scheme in SCREENS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options=RULES).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, f"{path} scrolls sideways by {wide} px at {width}"
        assert _small_targets(page) == []
        assert _small_text(page) == []
        page.evaluate(ONE_OF_A_KIND)
    assert outside == []
    page.context.close()


def _not_whole(page: Page) -> list[str]:
    """What the page lacks, or has and must not; a page without a script is whole without scripts."""
    return page.evaluate(
        """() => Object.entries({
          'one h1': document.querySelectorAll('h1').length == 1,
          'a language': document.documentElement.lang == 'en',
          'no script': !document.querySelector('script, [style], [onclick]'),
          'a caption on every table': !document.querySelector('table:not(:has(caption))'),
          'a table under every figure': [...document.querySelectorAll('figure')].every(
            figure => figure.querySelectorAll('details table').length == 1 && figure.querySelector('svg[role=img]')),
          'words on every drawing': [...document.querySelectorAll('figure svg[role=img]')].every(
            svg => svg.querySelector(':scope > title') && svg.querySelector(':scope > desc')),
        }).filter(([, holds]) => !holds).map(([what]) => what)"""
    )


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


class Links(HTMLParser):
    """The addresses a page leads to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("a", "link"):
            self.found |= {value or "" for name, value in attrs if name == "href"}


def test_every_link_of_every_page_leads_somewhere(address: str, item_path: str) -> None:
    seen: dict[str, int] = {}
    with httpx2.Client(base_url=address, trust_env=False) as client:
        for path in PATHS:
            here = address + path.replace("ITEM", item_path)
            for link in Links(client.get(here).text).found:
                target = urljoin(here, link).split("#")[0]
                assert target.startswith(address), target
                if target not in seen:
                    seen[target] = client.get(target).status_code
    themes = {target for target in seen if "/theme?" in target}
    assert {seen[target] for target in themes} == {303}
    assert {target: status for target, status in seen.items() if target not in themes and status != 200} == {}
    assert len(seen) > 60


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
    made_site.write_made_log(tmp_path / "log")
    with made_site.served(made_site.site_app(tmp_path, live, full=False)) as address:
        answer = httpx2.get(f"{address}/explorer?user=3&surface=feed")
        assert answer.status_code == 200
        assert "content-first at http://127.0.0.1:1/v1/rank does not answer" in answer.text
        assert answer.text.count('<li id="U-') == 10
        assert httpx2.get(f"{address}/explorer/item?user=3&surface=feed&item=5300").status_code == 200


def test_an_empty_workspace_says_which_command_fills_each_page(empty: tuple[Workspace, str]) -> None:
    for path, command in {
        "/": "mainstem demo",
        "/explorer": "mainstem serve",
        "/explorer/item": "mainstem serve",
        "/surfaces": "mainstem surface diff",
        "/responsible": "mainstem responsible",
        "/side-by-side": "mainstem compare",
        "/shadow": "mainstem ",
        "/migration": "mainstem ",
        "/launch": "mainstem launch start launch.toml",
        "/program": "mainstem program new",
        "/capacity": "mainstem capacity calibrate",
    }.items():
        answer = httpx2.get(empty[1] + path)
        assert answer.status_code == 200
        assert command in answer.text


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[tuple[Workspace, str]]:
    """A workspace without evidence, and the address its pages have."""
    with made_site.served(made_site.site_app(tmp_path, None, full=False)) as address:
        yield Workspace(tmp_path, parse_settings("")), address


def test_a_claim_that_fails_is_said_as_plainly(empty: tuple[Workspace, str]) -> None:
    workspace, address = empty
    workspace.write_evidence("side_by_side_frozen", made_site.made_side_by_side(gain=-1.0))
    content = httpx2.get(f"{address}/side-by-side.json").json()
    assert content["answer"] == "does not hold"
    assert content["heading"].startswith("Frozen state: ")
    assert "does not hold" in httpx2.get(f"{address}/side-by-side").text


def test_each_regime_has_its_own_numbers_and_twins(address: str) -> None:
    frozen, continuous = (
        httpx2.get(f"{address}/side-by-side.json?regime={regime}").json() for regime in ("frozen", "continuous")
    )
    assert httpx2.get(f"{address}/side-by-side.json").json() == frozen
    assert [one["facts"]["regime"] for one in (frozen, continuous)] == ["frozen", "continuous"]
    assert frozen["tables"]["primary"] != continuous["tables"]["primary"]
    told = [
        {row["score"] for row in one["tables"]["differences"]["rows"] if row["where"] != "all surfaces"}
        for one in (frozen, continuous)
    ]
    assert told == [{"head"}, {"order"}]
    csv_text = httpx2.get(f"{address}/side-by-side.csv?regime=continuous&table=differences").text
    rows = list(csv.DictReader(io.StringIO(csv_text)))
    assert float(rows[0]["difference"]) == continuous["tables"]["differences"]["rows"][0]["difference"]
    twins = [
        link for link in Links(httpx2.get(f"{address}/side-by-side?regime=continuous").text).found if ".csv" in link
    ]
    assert len(twins) > 5
    assert all("regime=continuous" in link for link in twins)


def test_pooled_auc_is_told_of_the_score_that_ordered_the_rows(address: str) -> None:
    content = httpx2.get(f"{address}/side-by-side.json").json()
    known = {
        (row["arm"], row["score"]): row["auc"]
        for row in content["tables"]["primary"]["rows"]
        if row["where"] == "all surfaces"
    }
    heads = content["tables"]["auc-all"]["rows"]
    long_view = next(row for row in heads if row["head"] == "long_view")
    assert known["unified", "head"] == long_view["unified"]
    assert known["interest-first", "order"] == long_view["interest-first"]
    assert known["unified", "order"] not in (None, known["unified", "head"])


def test_a_regime_without_evidence_names_its_command_and_the_other_is_a_step_away(empty: tuple[Workspace, str]) -> None:
    workspace, address = empty
    workspace.write_evidence("side_by_side_frozen", made_site.made_side_by_side())
    shown = httpx2.get(f"{address}/side-by-side").text
    assert "Continuous state is not measured yet: <code>mainstem compare</code>" in shown
    missing = httpx2.get(f"{address}/side-by-side?regime=continuous")
    assert missing.status_code == 200
    assert "no comparison yet" in missing.text
    assert "mainstem compare" in missing.text
    assert 'href="/side-by-side?regime=frozen"' in missing.text
    refused = httpx2.get(f"{address}/side-by-side?regime=frosen")
    assert refused.status_code == 400
    assert "frozen" in refused.text


def test_a_sentence_keeps_its_numbers_whole_and_stays_text() -> None:
    told = str(prose("<b> -0.0061 [-0.0827, +0.0722] on 2022-04-29; feed-9, +0.5 (a)"))
    assert told == (
        '&lt;b&gt; <span class="whole">−0.0061 [−0.0827, +0.0722]</span> on <span class="whole">2022-04-29</span>; feed-9, +0.5 (a)'
    )


def test_the_overview_is_headed_by_the_short_answer(address: str, empty: tuple[Workspace, str]) -> None:
    content = httpx2.get(f"{address}/overview.json").json()
    assert content["heading"] == "The unified stack orders long views better than both stacks it replaces"
    first, *more = content["lead"].splitlines()
    assert first.startswith("On made days 2022-04-29 to 2022-04-30 of a made log, the unified stack")
    assert len(more) == 2
    tile = content["facts"]["tiles"][0]
    frozen = httpx2.get(f"{address}/side-by-side.json").json()
    assert frozen["heading"].endswith(tile["heading"][1:])
    assert tile["gain"]["difference"]["mid"] == frozen["tables"]["differences"]["rows"][0]["difference"]
    workspace, other = empty
    workspace.write_evidence("demo", {"sentence": "it is so. More of it.", "made": False})
    assert httpx2.get(f"{other}/overview.json").json()["heading"] == "It is so"
