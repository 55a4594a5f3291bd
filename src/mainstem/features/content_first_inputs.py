"""What the content-first networks see of a viewer and of each candidate, read from the declared features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Request, Rows
from mainstem.features.content_first import CONTENT_FIRST
from mainstem.features.content_first_acts import ENJOYED
from mainstem.features.content_first_state import ContentState
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.reader import SideReader
from mainstem.features.reading import Reading
from mainstem.features.steps import Arrays

SEEDS: Final = 10
NAMES: Final = tuple(name for role in ("user", "cross", "item") for name in CONTENT_FIRST.columns_of(role))
_TOLD: Final = len(CONTENT_FIRST.columns_of("user"))
_PAIRS: Final = len(CONTENT_FIRST.columns_of("cross"))
_NOBODYS: Final = np.array(CONTENT_FIRST.defaults_of("user"))
_NO_PAIR: Final = np.array(CONTENT_FIRST.defaults_of("cross"))
_NO_ITEM: Final = -1


@dataclass(frozen=True, slots=True)
class ContentViewer:
    """Who asks, as the content-first sources, features and rules read it.

    Attributes:
        side: The user inputs; their defaults when the lookup failed.
        told: Whether it did not fail.
        read: Every name that was read of the viewer.
        recent: Catalog rows of the originals among their last views, newest first; known ones only.
        taste: What they enjoy and what not. Shapes: [2, d].
        seeds: The newest different items they enjoyed.
        followed_creators: Codes of the creators they followed, ascending.
        creator_of: The creator of each catalog row.
    """

    side: Floats
    told: bool
    read: Arrays
    recent: Rows
    taste: Floats
    seeds: Rows
    followed_creators: NDArray[np.int64]
    creator_of: NDArray[np.int64]

    def follows(self, rows: Rows) -> NDArray[np.bool_]:
        """Which candidates come from a creator they followed."""
        return np.isin(self.creator_of[rows], self.followed_creators)


class ContentReader:
    """Feature values as of the request's time, from the live state; also the memory that feedback moves."""

    names: tuple[str, ...] = NAMES

    def __init__(self, state: ContentState) -> None:
        self.state = state
        live = state.live
        self._sides = SideReader(live, ("user",), ("cross", "item"), np.float64)
        self._follows = next(group for group in live.plan.groups if group.latest == "follows")
        self._reading = Reading(live.plan, live.tables, ("pair_followed",))

    def user(self, request: Request) -> ContentViewer:
        """The viewer as of now. When the lookup fails, only the network is blind: sources and rules still see them."""
        self.state.catch_up(request.now_ms)
        given = {"user_id": np.array([request.user_id], np.int64), "now_ms": np.array([request.now_ms], np.int64)}
        side, read = self._sides.user(given, {})
        self.state.live.read_group(self._reading, self._follows, read)
        follows = read["follows.creator"][0]
        ids, did = read["acts.item"][0], read["acts.did"][0]
        known = np.flatnonzero(~np.isnan(ids))
        recent = self.state.catalog.item_rows(ids[known].astype(np.int64)).astype(np.int64)
        enjoyed = (did[known].astype(np.int64) & ENJOYED) > 0
        told = "features" not in request.failures
        return ContentViewer(
            side=side if told else _NOBODYS,
            told=told,
            read=read,
            recent=recent,
            taste=np.stack([read["acts.liked"][0], read["acts.passed"][0]]),
            seeds=_different(recent[enjoyed])[:SEEDS],
            followed_creators=np.unique(follows[~np.isnan(follows)]).astype(np.int64),
            creator_of=self.state.items.creator,
        )

    def items(self, request: Request, user: ContentViewer, rows: Rows) -> Floats:
        """One row of inputs a candidate. Shapes: [n, f]."""
        out = np.empty((len(rows), len(NAMES)))
        if not len(rows):
            return out
        ids = np.where(rows < 0, _NO_ITEM, self.state.items.ids[rows])[None]
        out[:, :_TOLD] = user.side
        out[:, _TOLD:] = self._sides.candidates({**user.read, "item_id": ids}, {"items/item_id": rows[None]}, len(rows))
        if not user.told:
            out[:, _TOLD : _TOLD + _PAIRS] = _NO_PAIR
        return out

    def apply(self, feedback: FeedbackBatch) -> None:
        """Takes in outcomes."""
        self.state.apply(feedback)

    def served(self, request: Request, rows: Rows) -> None:
        """Being served is no outcome."""


def _different(rows: Rows) -> Rows:
    """Each row once, where it stands first."""
    _, first = np.unique(rows, return_index=True)
    return rows[np.sort(first)]
