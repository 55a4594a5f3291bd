"""Words of a chart's rows: beside the plot on screens, above each row on phones."""

from __future__ import annotations

from typing import Any

import altair as alt

from mainstem.report.look import INK, PAPER, SOFT


def row_words(base: alt.Chart, plot: int, px: int, *, narrow: bool) -> list[alt.Chart]:
    """Each row's ``told`` to the right of the plot; on phones its ``label`` and ``told`` above its marks.

    Args:
        base: With the rows, encoded by ``label`` on the vertical axis.
        plot: The plot's width in pixels.
        px: Of the words.
        narrow: For phones.
    """
    if not narrow:
        return [base.mark_text(align="left", fontSize=px, color=INK).encode(text="told:N", x=alt.value(plot + 14))]
    return [
        layer
        for text, dy, colour in (("label:N", -19, INK), ("told:N", -2, SOFT))
        for layer in _haloed(base, text, {"align": "left", "dy": dy, "fontSize": px}, colour)
    ]


def _haloed(base: alt.Chart, text: str, place: dict[str, Any], colour: str) -> list[alt.Chart]:
    """Words with the page's colour around them, so that the lines behind do not cross them out."""
    halo = base.mark_text(**place, color=PAPER, stroke=PAPER, strokeWidth=5).encode(text=text, x=alt.value(0))
    return [halo, base.mark_text(**place, color=colour).encode(text=text, x=alt.value(0))]
