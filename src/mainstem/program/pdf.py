"""A report as PDF: set by Typst from the same sentences, tagged for screen readers. An extra of the package."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, date, datetime
from importlib.resources import files

from mainstem.base.errors import ProgramError
from mainstem.program.deck import LEGEND, slides_of
from mainstem.program.sentences import Report
from mainstem.program.timeline import HEAD, Landing, as_svg


def as_pdf(report: Report, today: date, rows: tuple[Landing, ...] = (), *, slides: bool = False) -> bytes:
    """The report as PDF; the same report gives the same bytes.

    Letters that no font of the machine has are left blank by the setter.

    Args:
        report: What is said.
        today: The day it was written for, which is the file's date.
        rows: Milestones for a picture and a table.
        slides: A slide a heading, else pages.

    Raises:
        ProgramError: Typst is not installed (``program-062``).
    """
    try:
        import typst  # pyright: ignore[reportMissingImports]  an extra
    except ImportError:
        raise ProgramError(
            "a PDF needs Typst, which is not installed",
            code="program-062",
            hint="pip install 'mainstem[pdf]', or --out x.html",
        ) from None
    parts = (
        [asdict(one) for one in slides_of(report)]
        if slides
        else [{"heading": heading, "sentences": [asdict(one) for one in held]} for heading, held in report.parts]
    )
    told = {
        "title": report.title,
        "slides": slides,
        "parts": parts,
        "svg": as_svg(rows, today),
        "legend": LEGEND,
        "head": HEAD,
        "rows": [one.cells() for one in rows],
    }
    stamp = int(datetime(today.year, today.month, today.day, tzinfo=UTC).timestamp())
    source = files("mainstem.program").joinpath("report.typ").read_bytes()
    return typst.compile(source, format="pdf", sys_inputs={"report": json.dumps(told)}, timestamp=stamp)
