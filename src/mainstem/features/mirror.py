"""A state table as columns by key: where keys are small whole numbers, a request picks what it would search for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mainstem.base.errors import FeatureError
from mainstem.features.kernel.shape import EVER
from mainstem.features.language.plan import Group
from mainstem.features.live import LiveState
from mainstem.features.reading import Reading
from mainstem.features.steps import Arrays

Ints = NDArray[np.int64]


class Mirror:
    """The numbers of one key of a reading, by key.

    They are those that the state was read for last: whoever applies events says which keys they touched.

    Args:
        state: What is mirrored.
        reading: Whose state tables keyed by ``key`` are held.
        key: The name of the key; its numbers count from 0.
        size: How many there are.

    Raises:
        FeatureError: A table of the key has windows, which move with the clock (``feature-006``).
    """

    def __init__(self, state: LiveState, reading: Reading, key: str, size: int) -> None:
        self._state, self._reading, self._key = state, reading, key
        self._groups = [g for g in reading.groups if isinstance(g, Group) and g.key == (key,) and not g.latest]
        moving = [group for group in self._groups if any(window.level != EVER for window in group.windows)]
        if moving:
            raise FeatureError(
                f"{key!r} keys windows, and what a window holds changes without an event",
                code="feature-006",
                hint="mirror tables of which everything is read, or read them from the state",
            )
        self._leaves = [leaf.name for group in self._groups for leaf in group.leaves]
        self._columns = np.empty((len(self._leaves), size))
        self.refresh(np.arange(size))

    def refresh(self, keys: Ints) -> None:
        """Reads some keys from the state again."""
        values: Arrays = {self._key: keys[None, :], "now_ms": np.zeros(1, np.int64)}
        for group in self._groups:
            self._state.read_group(self._reading, group, values)
        for at, leaf in enumerate(self._leaves):
            self._columns[at, keys] = values[leaf][0]

    def read(self, keys: Ints) -> Arrays:
        """What the state holds of the keys, under the names it is read by. Shapes: [1, n]."""
        return {leaf: self._columns[at, keys][None, :] for at, leaf in enumerate(self._leaves)}
