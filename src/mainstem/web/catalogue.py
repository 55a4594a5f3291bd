"""What the log knows of an item, and which viewers are good to look at first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from mainstem.base.errors import DataError
from mainstem.data.log import read_log
from mainstem.data.tables import TABLES

_FACTS: Final = ("item_id", "kind", "category", "creator_id", "duration_ms", "created_ms")
_PLACES: Final = (("a heavy viewer", 0.001), ("a regular viewer", 0.25), ("a light viewer", 0.9))
"""Which viewers to offer, by their place in the order of impressions."""


@dataclass(frozen=True, slots=True)
class Example:
    """A viewer to begin with."""

    user_id: int
    text: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Facts of items by id, example viewers, and what the log is called."""

    items: pl.DataFrame
    examples: tuple[Example, ...]
    name: str
    made: bool
    surfaces: dict[str, int]

    def facts(self, item_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        """What is known of these items; an item the log does not hold is left out."""
        wanted = pl.Series("item_id", list(item_ids), pl.Int64)
        rows = self.items.filter(pl.col("item_id").is_in(wanted.implode())).to_dicts()
        return {row["item_id"]: row for row in rows}

    @property
    def first_viewer(self) -> int:
        """Whom a page shows when nobody was chosen."""
        return self.examples[min(1, len(self.examples) - 1)].user_id if self.examples else 0


EMPTY: Final = Catalogue(pl.DataFrame(schema={"item_id": pl.Int64}), (), "no log yet", False, {})


def read_catalogue(folder: Path) -> Catalogue:
    """The catalogue of a log folder; an empty one where there is no log, so that pages can still say so."""
    try:
        log = read_log(folder)
    except DataError:
        return EMPTY
    shown = pl.read_parquet(folder / TABLES["impressions"].file, columns=["user_id", "surface"])
    surfaces = shown.get_column("surface").value_counts(sort=True).sort("count", "surface", descending=[True, False])
    return Catalogue(
        items=log.items.select(name for name in _FACTS if name in log.items.columns),
        examples=_examples(shown.get_column("user_id")),
        name=log.manifest.name,
        made=log.manifest.made,
        surfaces=dict(surfaces.iter_rows()),
    )


def _examples(user_ids: pl.Series) -> tuple[Example, ...]:
    """Viewers at fixed places of the order by impressions; the same log gives the same ones."""
    counts = user_ids.value_counts(name="shown").sort("shown", "user_id", descending=[True, False])
    if not counts.height:
        return ()
    found: dict[int, str] = {}
    for text, place in _PLACES:
        user_id, shown = counts.row(int(place * (counts.height - 1)))
        found.setdefault(
            user_id, f"{text}, {shown} impressions in the log" if shown != 1 else f"{text}, one impression in the log"
        )
    return tuple(Example(user_id, text) for user_id, text in found.items())
