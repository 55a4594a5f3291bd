"""Launch: where a migration's surfaces stand, every metric against its margin, what is spent of each budget, and every act."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.requests import Request

from mainstem.base.errors import DataError, RequestError, did_you_mean
from mainstem.launch.standing import Standing
from mainstem.launch.standing_kept import standing_of_plain
from mainstem.report.launch_rows import summary as heading_of
from mainstem.report.launch_story import Section, story_of
from mainstem.web.page import Missing, Page
from mainstem.web.pages.side_by_side import Summary
from mainstem.web.site import Site
from mainstem.workspace.layout import Workspace

START: Final = "mainstem launch start launch.toml"
FLY: Final = "mainstem launch run --once"
_PREFIX: Final = "launch-"


class Head(msgspec.Struct, frozen=True):
    """What the list of launches needs of a stored standing."""

    launch: str
    started_ms: int


async def page(site: Site, request: Request) -> Page:
    """The page from the evidence ``launch-NAME``; the launch that was started last unless the address names one."""
    asked = request.query_params.get("launch", "")
    return await site.off_loop(lambda: _page(site.workspace, asked))


def _page(workspace: Workspace, asked: str) -> Page:
    known = launches(workspace)
    if not known:
        missing = Missing("No launch has been flown in this workspace yet.", START)
        return Page("launch", "No launch yet", missing=missing)
    if asked and asked not in known:
        raise RequestError(
            f"there is no launch {asked[:40]!r} in this workspace",
            code="web-011",
            status=404,
            hint=did_you_mean(asked, list(known)),
        )
    return told(read(known[asked or next(iter(known))]), tuple(known), f"launch={asked}" if asked else "")


def launches(workspace: Workspace) -> dict[str, Path]:
    """Stored launches and their files, the one started last first; a file that is none is left out."""
    found: list[tuple[int, str, Path]] = []
    for file in workspace.evidence(f"{_PREFIX}x").parent.glob(f"{_PREFIX}*.json"):
        try:
            head = msgspec.json.decode(file.read_bytes(), type=Head)
        except (OSError, msgspec.DecodeError):
            continue
        if file.name == f"{_PREFIX}{head.launch}.json":
            found.append((head.started_ms, head.launch, file))
    return {name: file for _, name, file in sorted(found, reverse=True)}


def read(file: Path) -> Standing:
    """A stored standing.

    Raises:
        DataError: It is not one, such as one of another version (``web-010``).
    """
    try:
        return standing_of_plain(msgspec.json.decode(file.read_bytes()))
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(
            f"evidence/{file.name} is no standing of a launch: {error}", code="web-010", hint=FLY, status=500
        ) from None


def summary(standing: Standing) -> Summary:
    """Where the surfaces stand, for the overview."""
    return Summary(heading_of(standing), standing.verdict)


def tile(workspace: Workspace) -> dict[str, Any]:
    """The overview's tile: the launch that was started last, or the command that starts one."""
    found = {"title": "Launch", "path": "/launch", "heading": "", "answer": "", "mark": "", "gain": None, "command": ""}
    known = launches(workspace)
    if not known:
        return found | {"command": START}
    try:
        short = summary(read(next(iter(known.values()))))
    except DataError as error:
        return found | {"heading": error.message, "answer": "not measured", "mark": "cannot be read"}
    return found | {"heading": short.heading, "answer": short.answer, "mark": short.mark}


def told(standing: Standing, known: tuple[str, ...] = (), query: str = "") -> Page:
    """The whole page.

    Args:
        standing: The launch that is shown.
        known: Every launch there is, to choose among.
        query: What the address asked, for the twins' addresses.
    """
    story = story_of(standing)
    facts: dict[str, Any] = {
        "launch": standing.launch,
        "plan_hash": standing.plan_hash,
        "pilot": standing.pilot,
        "launches": list(known),
        "sections": [_section(one) for one in story.sections],
    }
    return Page(
        "launch",
        story.heading,
        "\n".join(story.lead),
        standing.verdict,
        "made" if standing.made else "real",
        story.tables(),
        story.figures(),
        facts,
        again="mainstem launch run",
        query=query,
    )


def _section(section: Section) -> dict[str, Any]:
    """A section as plain values: figures and tables by name."""
    return {
        "name": section.name,
        "title": section.title,
        "notes": list(section.notes),
        "verdicts": [{"of": of, "word": word, "why": why} for of, word, why in section.verdicts],
        "figures": [one.name for one in section.figures],
        "tables": [one.name for one in section.tables],
        "most": section.most,
    }
