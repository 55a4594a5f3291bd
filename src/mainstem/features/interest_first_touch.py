"""How deep each shown item was touched: what the interest-first stack reads out of feedback."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.heads import HEADS
from mainstem.base.request import Floats, Ids
from mainstem.features.feedback import FeedbackBatch

_JOINS: Final = [HEADS.index(head) for head in ("like", "follow", "comment", "forward")]
_CLICK, _LONG_VIEW = HEADS.index("click"), HEADS.index("long_view")
_CLICK_DEPTH: Final = 0.4


@dataclass(frozen=True, slots=True)
class Touches:
    """Shown items as columns, whether they were seen or not: served counts.

    Attributes:
        depth: 1 for a long view or a joining act (like, follow, comment, forward), 0.4 for a click alone, 0 without a touch.
        joined: The viewer chose the topic by an act.
    """

    user_id: Ids
    time_ms: Ids
    depth: Floats
    long_view: Floats
    joined: NDArray[np.bool_]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Touches:
        """Some of the rows."""
        return Touches(*(getattr(self, field.name)[rows] for field in fields(self)))


def touches_of(feedback: FeedbackBatch) -> Touches:
    """The touches of a batch; an outcome that is not known is none."""
    done = feedback.outcomes == 1
    joined, long_view = done[:, _JOINS].any(axis=1), done[:, _LONG_VIEW]
    depth = np.select([joined | long_view, done[:, _CLICK]], [1.0, _CLICK_DEPTH], 0.0)
    return Touches(feedback.user_id, feedback.time_ms, depth, long_view.astype(np.float64), joined)
