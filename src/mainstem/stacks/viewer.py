"""The unified stack's features on the request path: the viewer's side once, the candidates' side as one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import AsServed, Floats, Request, Rows
from mainstem.features.failures import FailurePolicies
from mainstem.features.feedback import FeedbackBatch
from mainstem.features.steps import Arrays
from mainstem.features.unified_state import NOBODY, FeatureState
from mainstem.retrieval.follows import Follows


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, as sources, ranker and rules read it.

    Shapes: ``side[u]`` the user features; the row arrays hold catalog rows, newest first.

    Attributes:
        context: What the viewer's features were made of; the candidates' features go on from it.
        failures: Lookups that failed.
    """

    row: int
    surface: int
    side: NDArray[np.float32]
    liked_rows: Rows
    seen_rows: Rows
    followed_creators: NDArray[np.int64]
    context: Arrays
    failures: frozenset[str] = frozenset()


class LiveFeatures:
    """Feature values as of now from the in-process state; also the memory that feedback moves forward.

    Args:
        state: All behavioural state.
        follows: Who follows whom.
        surfaces: The names whose position is a surface's code.
    """

    def __init__(self, state: FeatureState, follows: Follows, surfaces: tuple[str, ...]) -> None:
        self.state = state
        self.names = state.columns
        self._follows = follows
        self._code = {name: code for code, name in enumerate(surfaces)}
        self._defaults = np.array(state.features.defaults_of("user"), np.float32)
        self._user_policies = FailurePolicies(state.features, state.features.columns_of("user"))
        self._item_policies = FailurePolicies(state.features, self.names)

    def user(self, request: Request) -> Viewer:
        """The viewer's side. A failed lookup (``features``) gives every user feature its declared default and no history."""
        surface = self._code.get(request.surface, -1)
        if "features" in request.failures:
            _, context = self.state.viewer(NOBODY, surface, request.scenario, request.now_ms)
            nothing = np.empty(0, np.int64)
            return Viewer(-1, surface, self._defaults, nothing, nothing, nothing, context)
        row = int(self.state.catalog.user_rows(np.array([request.user_id], np.int64))[0])
        side, context = self.state.viewer(request.user_id, surface, request.scenario, request.now_ms)
        seen, enjoyed = self.state.kept(context)
        side = self._user_policies.applied(side, request.failures)
        return Viewer(row, surface, side, seen[enjoyed], seen, self._follows.of(row), context, request.failures)

    def items(self, request: Request, user: Viewer, rows: Rows) -> Floats:
        """Item and cross features of each candidate. Shapes: [n, i + x]."""
        return self._item_policies.applied(self.state.candidates(user.context, rows), user.failures)

    def read(self, request: Request, names: Sequence[str]) -> list[dict[str, Any]]:
        """Some features of the viewer, and of each item the request names, as of now.

        Raises:
            FeatureError: There is no such feature, or it has no value of its own (``feature-017``).
        """
        surface = self._code.get(request.surface, -1)
        ids = np.empty(0, np.int64) if request.item_ids is None else request.item_ids
        return self.state.told(names, request.user_id, surface, request.scenario, request.now_ms, ids)

    def as_served(self, user: Viewer) -> AsServed:
        """What the viewer's features were, and as of where."""
        return AsServed(self.state.live.applied + 1, self.state.features.fingerprint, user.side)

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
        self.state.load(path)


class SeenByViewer:
    """What the seen rule reads: the viewer's kept events."""

    def seen_rows(self, user: Viewer, last: int) -> Rows:
        """Catalog rows of the viewer's last impressions."""
        return user.seen_rows[:last]
