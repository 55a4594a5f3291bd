"""Which creators each viewer chose to follow: the memory behind connected items."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.base.request import Request, Rows
from mainstem.features.catalog import Catalog
from mainstem.features.feedback import FeedbackBatch

_FOLLOW: Final = HEADS.index("follow")
_MOST: Final = 200
"""Creators remembered for a viewer; the oldest go first."""


class Follows:
    """Follows seen in feedback, by user row."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._by_user: dict[int, list[int]] = {}

    def apply(self, feedback: FeedbackBatch) -> None:
        """Remembers the creators of items that led to a follow."""
        followed = np.flatnonzero(feedback.outcomes[:, _FOLLOW] == 1)
        users = self._catalog.user_rows(feedback.user_id[followed])
        items = self._catalog.item_rows(feedback.item_id[followed])
        for user, creator in zip(users.tolist(), self._catalog.items.creator[items].tolist(), strict=True):
            if user < 0 or creator <= 0:
                continue
            creators = self._by_user.setdefault(user, [])
            if creator in creators:
                creators.remove(creator)
            creators.append(creator)
            del creators[:-_MOST]

    def served(self, request: Request, rows: Rows) -> None:
        """Being shown something follows nobody."""

    def of(self, user_row: int) -> NDArray[np.int64]:
        """Creator codes the viewer follows, in ascending order."""
        return np.sort(np.asarray(self._by_user.get(user_row, ()), np.int64))

    def save(self, path: Path) -> None:
        """Writes all follows to one file; it is complete or not there."""
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        scratch.write_text(json.dumps(self._by_user))
        scratch.replace(path)

    def load(self, path: Path) -> None:
        """Takes the follows from a file that ``save`` wrote."""
        self._by_user = {int(user): creators for user, creators in json.loads(path.read_text()).items()}
