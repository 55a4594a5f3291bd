"""How an item is taken out of a running stack and put back: first on disk, then in the mask that every request reads."""

from __future__ import annotations

import threading

import numpy as np

from mainstem.base.clock import Clock
from mainstem.base.errors import RequestError
from mainstem.base.withdrawn import Withdrawn
from mainstem.features.catalog import Catalog
from mainstem.store.withdrawn_items import WithdrawnItems


class Withdrawals:
    """Keeps a stack's mask of withdrawn items the same as the durable list. Any thread may call any method.

    Args:
        items: The durable list.
        catalog: Whose items they are.
        withdrawn: What the stack reads.
        clock: When an item was withdrawn.
    """

    def __init__(self, items: WithdrawnItems, catalog: Catalog, withdrawn: Withdrawn, clock: Clock) -> None:
        self._items = items
        self._catalog = catalog
        self._withdrawn = withdrawn
        self._clock = clock
        self._one = threading.Lock()
        self._version = -1
        self.ids: tuple[int, ...] = ()
        """Every withdrawn item, ascending; also those that today's catalog does not hold."""
        self.follow()

    def withdraw(self, item_id: int) -> bool:
        """Takes an item out of every request that begins after this; False when it was out already.

        Raises:
            RequestError: The catalog does not hold it (``request-017``).
            StoreError: It could not be written down (``store-…``); nothing changed.
        """
        self._refuse_unknown(item_id)
        with self._one:
            changed = self._items.add(item_id, self._clock.now_ms())
            self._take_in()
        return changed

    def put_back(self, item_id: int) -> bool:
        """Lets an item be shown again; False when it was not withdrawn. Raises as ``withdraw``."""
        self._refuse_unknown(item_id)
        with self._one:
            changed = self._items.remove(item_id)
            self._take_in()
        return changed

    def follow(self) -> bool:
        """Takes in what other processes changed; False when they changed nothing."""
        with self._one:
            changed = self._items.version() != self._version
            if changed:
                self._take_in()
        return changed

    def _take_in(self) -> None:
        self._version, ids = self._items.read()
        self._withdrawn.set(self._catalog.item_rows(np.array(ids, np.int64)))
        self.ids = tuple(ids)

    def _refuse_unknown(self, item_id: int) -> None:
        if self._catalog.item_rows(np.array([item_id], np.int64))[0] < 0:
            raise RequestError(
                f"found item {item_id}, expected one that the catalog of this server holds",
                code="request-017",
                status=404,
                hint="a catalog is that of the log the server was started on",
            )
