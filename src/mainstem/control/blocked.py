"""What viewers do not want to see: creators they blocked and items they hid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Pool, Request, Rows
from mainstem.control.lookups import EMPTY, KNOWN, Answer, LookedUp

BLOCKS: Final = "blocks"
"""How ``Request.failures`` calls the lookup."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """What one viewer does not want: creator codes, and catalog rows of originals."""

    creators: NDArray[np.int64]
    rows: Rows


class Blocks(Protocol):
    """Knows what each viewer blocked."""

    def of(self, user_id: int) -> Unwanted | None:
        """What the viewer blocked; None when nothing. Raises when it is not known."""
        ...


class Blocked(LookedUp):
    """Whether the viewer blocked the item's creator, its original's creator, or hid the item or a repost of it.

    Args:
        blocks: Who blocked what.
        creators: Creator code by catalog row, 0 and below unknown. Shapes: [n + 1].
        originals: The row that each row is a repost of. Shapes: [n + 1].
        closed: Whether everything is dropped while it is not known what the viewer blocked.
    """

    def __init__(
        self, blocks: Blocks, creators: NDArray[np.integer[Any]], originals: Rows, *, closed: bool = True
    ) -> None:
        super().__init__("blocked", UnwantedItems(blocks, creators, originals), closed=closed)


class UnwantedItems:
    """Which candidates a viewer does not want."""

    name = BLOCKS

    def __init__(self, blocks: Blocks, creators: NDArray[np.integer[Any]], originals: Rows) -> None:
        self._blocks, self._originals = blocks, originals
        self._creators = creators
        self._size = int(creators.max(initial=0)) + 1

    def look(self, request: Request, user: Any, pool: Pool) -> Answer:
        """Known where the viewer said so, known to be empty elsewhere. Shapes: [n]."""
        n = len(pool.rows)
        unwanted = self._blocks.of(request.user_id)
        if unwanted is None:
            return Answer(np.full(n, EMPTY, np.int8), np.zeros(n, np.bool_))
        marks = np.zeros(self._size, np.bool_)
        marks[unwanted.creators] = True
        marks[0] = False
        originals = self._originals[pool.rows]
        found = marks[np.maximum(self._creators[pool.rows], 0)] | marks[np.maximum(self._creators[originals], 0)]
        if len(unwanted.rows):
            found |= np.isin(originals, unwanted.rows) & (originals >= 0)
        return Answer(np.where(found, np.int8(KNOWN), np.int8(EMPTY)), found)

    def covers(self, pool: Pool) -> NDArray[np.bool_] | None:
        """Every item: which ones the viewer blocked is what is not known."""
        return None
