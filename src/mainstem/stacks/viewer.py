"""The unified stack's features on the request path: the viewer's side once, the candidates' side as one array."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Request, Rows
from mainstem.features import define, sums
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.online import FeatureState
from mainstem.retrieval.follows import Follows


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, as sources, ranker and rules read it.

    Shapes: ``side[u]`` the user features; the row arrays hold catalog rows, newest first.
    """

    row: int
    surface: int
    side: NDArray[np.float32]
    liked_rows: Rows
    seen_rows: Rows
    followed_creators: NDArray[np.int64]


class LiveFeatures:
    """Feature values as of now from the in-process state; also the memory that feedback moves forward.

    Args:
        state: All behavioural state.
        follows: Who follows whom.
        surfaces: The names whose position is a surface's code.
    """

    names: tuple[str, ...] = define.names((*define.ITEM, *define.CROSS))

    def __init__(self, state: FeatureState, follows: Follows, surfaces: tuple[str, ...]) -> None:
        self.state = state
        self._follows = follows
        self._code = {name: code for code, name in enumerate(surfaces)}
        self._defaults = np.array(define.defaults(define.USER), np.float32)

    def user(self, request: Request) -> Viewer:
        """The viewer's side. A failed lookup (``features``) gives every user feature its declared default and no history."""
        row = int(self.state.catalog.user_rows(np.array([request.user_id], np.int64))[0])
        surface = self._code.get(request.surface, -1)
        if "features" in request.failures:
            nothing = np.empty(0, np.int64)
            return Viewer(-1, surface, self._defaults, nothing, nothing, nothing)
        recent = self.state.recent(row)
        seen = recent.row[0]
        enjoyed = (recent.click[0] == 1) | (recent.like[0] == 1) | (recent.long_view[0] == 1)
        return Viewer(
            row=row,
            surface=surface,
            side=self.state.user_side(row, request.scenario, surface, request.now_ms),
            liked_rows=seen[enjoyed & (seen >= 0)],
            seen_rows=seen[seen >= 0],
            followed_creators=self._follows.of(row),
        )

    def items(self, request: Request, user: Viewer, rows: Rows) -> Floats:
        """Item and cross features of each candidate. Shapes: [n, i + x]."""
        held = rows.astype(np.int32)
        item = self.state.item_side(held, user.surface, request.now_ms)
        return np.concatenate([item, self.state.cross(user.row, held, request.now_ms)], axis=1)

    def apply(self, feedback: FeedbackBatch) -> None:
        """Takes in outcomes."""
        self.state.apply(feedback)

    def served(self, request: Request, rows: Rows) -> None:
        """Being served is no outcome: what became of it arrives as feedback."""

    def save(self, path: Path) -> None:
        """Writes the state for a restart."""
        self.state.save(path)

    def load(self, path: Path) -> None:
        """Takes the state from a file that ``save`` wrote."""
        self.state = FeatureState.load(path, self.state.catalog, self.state.statics)


class SeenByViewer:
    """What the seen rule reads: the viewer's kept events."""

    def seen_rows(self, user: Viewer, last: int) -> Rows:
        """Catalog rows of the viewer's last impressions."""
        return user.seen_rows[:last]


def item_quality(state: FeatureState, now_ms: int) -> Floats:
    """How good each item has been lately: its lift over its scenarios' long-view and click rates, recent days counting double.

    Shapes: [n items].
    """
    side, items = state.lasting(now_ms), state.catalog.items
    column = define.columns(define.ITEM)
    lasting = side[:, column["lift_long_view"]] + 0.5 * side[:, column["lift_click"]]
    age = sums.age(items.created_ms[:-1], np.array([now_ms], np.int64)).astype(np.float32)
    return (lasting + side[:, column["lift_72h"]] - 0.05 * age).astype(np.float64)
