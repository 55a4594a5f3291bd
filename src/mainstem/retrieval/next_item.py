"""What every model of "which item comes next" answers, whatever it is made of."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mainstem.data.sequences import Sequences


class NextItem(Protocol):
    """A trained model that scores all items for a history.

    Closed form, neural, HSTU and generative models all answer this, so that one evaluator judges them and one fusion joins them.
    """

    @property
    def name(self) -> str:
        """How tables call it."""
        ...

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """The score of every item after each history; higher comes sooner. Scores compare within one history only.

        Args:
            histories: One row a user, possibly empty: an empty one gets a popularity order.
            now_ms: The time asked about, for models that read it; None makes them do without. Giving the target's own time is
                a leak that published HSTU figures contain: tables show both.

        Shapes: [len(histories), items].
        """
        ...
