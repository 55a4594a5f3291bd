"""Item features that are ready to be gathered: finished once, and again only after feedback has touched them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


class Finished:
    """Feature columns of some keys (items, items by surface, creators, categories), finished when they are read.

    Feedback only marks what it touched; a request finishes the marked ones among its candidates and gathers the rest. That is the
    same work that it would do without this table, but for the first reader only.

    A first column that is not a number is the mark: no second table to look into.

    Args:
        keys: How many.
        finish: The columns of some keys as of now. Shapes: ``[n]`` to ``[n, width]``.
    """

    __slots__ = ("_finish", "_values")

    def __init__(self, keys: int, width: int, finish: Callable[[NDArray], NDArray]) -> None:
        self._values = np.full((keys, width), np.nan, np.float32)
        self._finish = finish

    def touch(self, keys: NDArray | None = None) -> None:
        """Marks keys whose sums have changed; all of them when none are named."""
        self._values[slice(None) if keys is None else keys, 0] = np.nan

    def read(self, keys: NDArray) -> NDArray[np.float32]:
        """The columns of these keys. Shapes: ``[n]`` to ``[n, width]``."""
        found = self._values[keys]
        stale = np.isnan(found[:, 0])
        if stale.any():
            again = keys[stale]
            found[stale] = self._values[again] = self._finish(again)
        return found

    def whole(self) -> NDArray[np.float32]:
        """The columns of every key, without a copy; good until the next change."""
        again = np.flatnonzero(np.isnan(self._values[:, 0]))
        if len(again):
            self._values[again] = self._finish(again)
        return self._values
