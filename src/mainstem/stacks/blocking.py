"""What viewers blocked, as the request path reads it: first on disk, then in memory, the same in every process."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from mainstem.base.clock import Clock
from mainstem.base.errors import ControlError, StoreError
from mainstem.control.blocked import Unwanted
from mainstem.features.catalog import Catalog
from mainstem.store.blocked_list import CREATOR, ITEM, BlockedList, Change


class Blocking:
    """Keeps the blocks of all viewers in memory. Any thread may call any method; what a reader holds is never changed.

    While the list cannot be read at a start, every viewer's blocks are unknown, not empty: ``of`` raises, and the rule does what
    it declares. ``follow`` mends it as soon as the list can be read.

    Args:
        blocked: The durable list.
        catalog: Whose creators and items they are; a block on others is kept and does nothing yet.
        originals: The row that each row is a repost of. Shapes: [n + 1].
        clock: When a block was set.
    """

    def __init__(self, blocked: BlockedList, catalog: Catalog, originals: NDArray[np.int64], clock: Clock) -> None:
        self._blocked, self._catalog, self._originals, self._clock = blocked, catalog, originals, clock
        self._one = threading.Lock()
        self._version = -1
        self._held: dict[int, frozenset[tuple[str, int]]] = {}
        self._unwanted: dict[int, Unwanted] = {}
        self._code_of = dict(zip(catalog.items.creator_id.tolist(), catalog.items.creator.tolist(), strict=True))
        try:
            self.follow()
        except StoreError:
            self._version = -1

    def of(self, user_id: int) -> Unwanted | None:
        """What a viewer blocked; None when nothing.

        Raises:
            ControlError: The list was never read (``control-033``).
        """
        if self._version < 0:
            raise ControlError(
                "found no list of blocks that could be read, expected one beside the event log",
                code="control-033",
                status=503,
                hint="mainstem doctor",
            )
        return self._unwanted.get(user_id)

    def block(self, user_id: int, creator_id: int, /) -> bool:
        """No item of this creator is shown to the viewer from the next request on; False when it was so already."""
        return self._set(user_id, CREATOR, creator_id, True)

    def unblock(self, user_id: int, creator_id: int, /) -> bool:
        """Takes a block back; False when there was none."""
        return self._set(user_id, CREATOR, creator_id, False)

    def hide(self, user_id: int, item_id: int, /) -> bool:
        """Neither this item nor a repost of it is shown to the viewer; False when it was so already."""
        return self._set(user_id, ITEM, item_id, True)

    def unhide(self, user_id: int, item_id: int, /) -> bool:
        """Takes it back; False when it was not hidden."""
        return self._set(user_id, ITEM, item_id, False)

    def held(self, user_id: int) -> list[tuple[str, int]]:
        """A viewer's blocks as (``creator`` or ``item``, id), ascending."""
        return sorted(self._held.get(user_id, ()))

    def follow(self) -> bool:
        """Takes in what other processes changed; False when they changed nothing."""
        with self._one:
            if self._version >= 0 and self._blocked.version() == self._version:
                return False
            self._take_in()
        return True

    def _set(self, user_id: int, kind: str, target: int, held: bool) -> bool:
        with self._one:
            changed = self._blocked.set(user_id, kind, target, held, self._clock.now_ms())
            self._take_in()
        return changed

    def _take_in(self) -> None:
        version, changes = self._blocked.since(max(self._version, 0))
        for change in changes:
            self._take(change)
        self._version = version

    def _take(self, change: Change) -> None:
        one, user_id = (change.kind, change.target), change.user_id
        held = self._held.get(user_id, frozenset())
        held = held | {one} if change.held else held - {one}
        if held:
            self._held[user_id], self._unwanted[user_id] = held, self._resolved(held)
        else:
            self._held.pop(user_id, None)
            self._unwanted.pop(user_id, None)

    def _resolved(self, held: frozenset[tuple[str, int]]) -> Unwanted:
        creators = [self._code_of.get(target, 0) for kind, target in held if kind == CREATOR]
        items = [target for kind, target in held if kind == ITEM]
        rows = self._catalog.item_rows(np.array(items, np.int64))
        return Unwanted(np.array([code for code in creators if code > 0], np.int64), self._originals[rows[rows >= 0]])
