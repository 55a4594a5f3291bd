"""Which items may be shown to nobody now: one mask over the catalog that sources, rules and fallback lists all read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Rows


class Withdrawn:
    """The catalog rows that were taken out while serving. Any thread may set and any may read: arrays are replaced, never changed.

    Args:
        catalog_size: Rows of the catalog.

    Attributes:
        mask: True where a row is withdrawn; the last entry stands for items the catalog does not hold (row -1) and stays False.
        rows: The withdrawn rows, ascending.

    Shapes: ``mask[catalog_size + 1]``.
    """

    __slots__ = ("mask", "rows")

    def __init__(self, catalog_size: int) -> None:
        self.mask: NDArray[np.bool_] = np.zeros(catalog_size + 1, np.bool_)
        self.rows: Rows = np.empty(0, np.int64)

    def set(self, rows: Rows) -> None:
        """Withdraws exactly these rows; negative ones are left out."""
        mask = np.zeros_like(self.mask)
        mask[rows[rows >= 0]] = True
        self.mask = mask
        self.rows = np.flatnonzero(mask)
