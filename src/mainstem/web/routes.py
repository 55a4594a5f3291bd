"""Which addresses the pages have: each page, its JSON and its CSV, the style sheet, and the choice of theme."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from mainstem.base.errors import MainstemError, RequestError, did_you_mean
from mainstem.report.figure import Drawn
from mainstem.stacks.live import Live
from mainstem.web.page import Missing, Page
from mainstem.web.pages import (
    capacity,
    explorer,
    feature_parity,
    item,
    launch,
    migration,
    overview,
    program,
    responsible,
    shadow,
    side_by_side,
    surfaces,
)
from mainstem.web.render import THEMES, html
from mainstem.web.site import OnLive, Site, inline
from mainstem.workspace.layout import Workspace

Answer = Callable[[Site, Request], Awaitable[Page]]

PAGES: Final[Mapping[str, Answer]] = {
    "": overview.page,
    "explorer": explorer.page,
    "explorer/item": item.page,
    "surfaces": surfaces.page,
    "side-by-side": side_by_side.page,
    "responsible": responsible.page,
    "shadow": shadow.page,
    "launch": launch.page,
    "migration": migration.page,
    "program": program.page,
    "capacity": capacity.page,
    "feature-parity": feature_parity.page,
}

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
"""No script may run, nothing may be asked of another machine, and no other page may frame these."""

_STATIC: Final = {"site.css": "text/css", "mark.svg": "image/svg+xml"}


def routes(live: Live | None, workspace: Workspace, on_live: OnLive = inline) -> list[Route]:
    """The routes of every page, to be mounted into a server.

    Args:
        live: The running platform; None shows evidence alone.
        workspace: Where evidence and the log lie. Drawn figures are kept in its ``evidence/figures``.
        on_live: Runs a function on the thread that owns ``live`` and waits for it.
    """
    site = Site(live, workspace, on_live, Drawn(workspace.folder / "evidence" / "figures"))
    found = [route for name, answer in PAGES.items() for route in _three(site, name, answer)]
    return [*found, Route("/static/{name}", _static), Route("/theme", _theme)]


def _three(site: Site, name: str, answer: Answer) -> list[Route]:
    """A page and its twins; the first page's twins are called overview."""

    async def as_page(request: Request) -> Response:
        page = await _answered(site, request, name, answer)
        theme = request.cookies.get("theme", "")
        body = await site.off_loop(lambda: html(page, site, theme, str(request.url.path), request.url.query))
        return Response(body, page.status, {**HEADERS}, "text/html; charset=utf-8")

    async def as_json(request: Request) -> Response:
        page = await _answered(site, request, name, answer)
        return Response(msgspec.json.encode(page.as_dict()), page.status, {**HEADERS}, "application/json")

    async def as_csv(request: Request) -> Response:
        page = await _answered(site, request, name, answer)
        return _csv(page, request.query_params.get("table", ""))

    twin = name or "overview"
    return [
        Route(f"/{name}", as_page),
        Route(f"/{twin}.json", as_json),
        Route(f"/{twin}.csv", as_csv),
    ]


async def _answered(site: Site, request: Request, name: str, answer: Answer) -> Page:
    """The page, or one that says what is wrong."""
    try:
        return await answer(site, request)
    except MainstemError as error:
        text = f"{error.message} ({error.code})"
        return Page(name, "This cannot be shown", missing=Missing(text, error.hint), status=error.status)


def _csv(page: Page, wanted: str) -> Response:
    """One of the page's tables; the first when none is named."""
    headers = {**HEADERS}
    table = page.table(wanted) if wanted else next(iter(page.tables), None)
    if table is None and wanted and page.tables:
        error = RequestError(
            f"this page has no table {wanted!r}",
            code="web-001",
            status=404,
            hint=did_you_mean(wanted, [one.name for one in page.tables]),
        )
        return Response(msgspec.json.encode(error.as_dict()), error.status, headers, "application/json")
    name = f"{(page.name or 'overview').replace('/', '-')}{'-' + table.name if table else ''}.csv"
    headers["content-disposition"] = f'inline; filename="{name}"'
    return Response(table.as_csv() if table else "", page.status, headers, "text/csv; charset=utf-8")


def _static(request: Request) -> Response:
    """A file of the package, by its name in a short list."""
    name = request.path_params["name"]
    if name not in _STATIC:
        return Response("not found", 404, {**HEADERS}, "text/plain")
    body = files("mainstem.web").joinpath("static", name).read_bytes()
    return Response(body, 200, {**HEADERS, "cache-control": "max-age=300"}, _STATIC[name])


def _theme(request: Request) -> Response:
    """Remembers a theme and goes back to the page it was chosen on; only to a page of ours."""
    back = request.query_params.get("back", "/")
    local = back.startswith("/") and not back.startswith(("//", "/\\")) and "\n" not in back and "\r" not in back
    answer = RedirectResponse(back if local else "/", 303, {**HEADERS})
    theme = request.query_params.get("to", "")
    if theme in THEMES:
        answer.set_cookie("theme", theme, max_age=31_536_000, httponly=True, samesite="strict")
    else:
        answer.delete_cookie("theme", httponly=True, samesite="strict")
    return answer
