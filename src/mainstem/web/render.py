"""How a page becomes HTML: one environment that escapes everything, and the few words templates may use."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mainstem.report import numbers
from mainstem.report.figure import Figure
from mainstem.report.look import mark_of, mark_svg
from mainstem.web.page import SHAPES, Page
from mainstem.web.site import Site

THEMES: Final = ("light", "dark")
NAVIGATION: Final = (
    ("", "Overview"),
    ("explorer", "Feed explorer"),
    ("surfaces", "Surfaces"),
    ("side-by-side", "Side by side"),
    ("responsible", "Responsible"),
    ("shadow", "Shadow diff"),
    ("launch", "Launch"),
    ("migration", "Migration"),
    ("program", "Program"),
    ("capacity", "Capacity"),
    ("feature-parity", "Feature parity"),
)
_HYPHEN: Final = re.compile(r"(?<=[ (\[…])-(?=\.?\d)")
_WHOLE: Final = re.compile(r"(\b\d{4}-\d\d-\d\d\b|[+−]?\d*\.\d+ [(\[][+−\d.]+(?:…|, )[+−\d.]+[)\]])")
_TEMPLATES: Final = {"": "overview.html", "explorer/item": "item.html"}


@cache
def environment() -> Environment:
    """The templates, with autoescape: item kinds, stack names and messages come from data."""
    made = Environment(
        loader=PackageLoader("mainstem.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "count": numbers.count,
        "metric": numbers.metric,
        "signed": numbers.signed,
        "interval": numbers.interval,
        "share": numbers.share,
        "value": numbers.value,
        "seconds": numbers.duration_s,
        "moment": numbers.moment,
        "words": words,
        "prose": prose,
    }
    made.globals |= {"shapes": SHAPES, "navigation": NAVIGATION, "mark": _mark}
    return made


def words(name: str) -> str:
    """A name from the code or the log as words: ``long_view`` is ``long view``."""
    return str(name).replace("_", " ")


def prose(text: str) -> Markup:
    """A sentence with minus signs in its numbers, in which neither a date nor a number with its bounds is torn apart."""
    signed = _HYPHEN.sub("−", text)
    return Markup(_WHOLE.sub(r'<span class="whole">\1</span>', str(escape(signed))))


def _mark(arm: str, arms: list[str]) -> Markup:
    return Markup(mark_svg(mark_of(arm, arms)))


def html(page: Page, site: Site, theme: str, path: str, query: str) -> str:
    """The whole page. Draws its figures, so it runs off the server's loop."""

    def draw(figure: Figure) -> dict[str, Any]:
        wide = site.drawn.svg(figure, figure.wide, "wide")
        narrow = figure.narrow and site.drawn.svg(figure, figure.narrow, "narrow")
        # Markup: drawn by our own code, with every text in it escaped there.
        return {"wide": Markup(wide), "narrow": Markup(narrow) if narrow else None}

    template = "message.html" if page.missing else _TEMPLATES.get(page.name, page.name.replace("-", "_") + ".html")
    here = f"{path}?{query}" if query else path
    return (
        environment()
        .get_template(template)
        .render(
            page=page,
            draw=draw,
            theme=theme if theme in THEMES else "",
            workspace=site.workspace.settings.name,
            twin=f"/{page.name or 'overview'}",
            query=query,
            theme_query={name: urlencode({"to": name, "back": here}) for name in (*THEMES, "auto")},
            address=address,
        )
    )


def address(path: str, **query: Any) -> str:
    """An address of ours with a query; what is None is left out."""
    asked = {key: value for key, value in query.items() if value is not None}
    return f"{path}?{urlencode(asked)}" if asked else path
