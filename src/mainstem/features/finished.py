"""Item features that are ready to be gathered: finished once, and again only after feedback has touched them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


class Finished:
    """Feature columns of some keys (items, items by surface, creators, categories), finished when they are read.

    Feedback only marks what it touched; a request finishes the marked ones among its candidates and gathers the rest. That is the
    same work that it would do without this table, but for the first reader only.

    Args:
        keys: How many.
        finish: The columns of some keys as of now. Shapes: ``[n]`` to ``[n, width]``.
    """

    __slots__ = ("_finish", "_stale", "_values")

    def __init__(self, keys: int, width: int, finish: Callable[[NDArray], NDArray]) -> None:
        self._values = np.zeros((keys, width), np.float32)
        self._stale = np.ones(keys, np.bool_)
        self._finish = finish

    def touch(self, keys: NDArray | None = None) -> None:
        """Marks keys whose sums have changed; all of them when none are named."""
        self._stale[slice(None) if keys is None else keys] = True

    def read(self, keys: NDArray) -> NDArray[np.float32]:
        """The columns of these keys. Shapes: ``[n]`` to ``[n, width]``."""
        stale = self._stale[keys]
        if stale.any():
            again = keys[stale]
            self._values[again] = self._finish(again)
            self._stale[again] = False
        return self._values[keys]

    def whole(self) -> NDArray[np.float32]:
        """The columns of every key, without a copy; good until the next change."""
        again = np.flatnonzero(self._stale)
        if len(again):
            self._values[again] = self._finish(again)
            self._stale[again] = False
        return self._values
