"""What filling one slate reads and answers: plain arrays, so that the readable pass and the compiled one share one contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

NO_VARIETY: Final = 0
DISCOUNT: Final = 1
DETERMINANTAL: Final = 2
SLIDING_SPECTRUM: Final = 3

BY_QUOTA: Final = 0
BY_SOFT_QUOTA: Final = 1
BY_CHANCE: Final = 2

SPECTRUM_WINDOW: Final = 10
"""Places up the slate that sliding-spectrum variety compares a candidate with."""

SAME: Final = 1e-12
"""An item whose squared distance from those shown is below this adds no direction of its own."""

Codes = NDArray[np.int32]
Flags = NDArray[np.bool_]
Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SlateTask:
    """One slate to fill. m candidates stand best first; a is attributes with a rule, q quotas, w the window of variety.

    Attributes:
        count: Places.
        score: What candidates are ordered by, falling. Shapes: [m].
        mode: One of ``NO_VARIETY``, ``DISCOUNT``, ``DETERMINANTAL``, ``SLIDING_SPECTRUM``.
        trade_off: 1 is value alone, 0 is variety alone.
        gain: For variety, what each candidate of the window starts with (``control/variety.py``). Shapes: [w].
        kept: Share of its height that the k-th item of a category keeps. Shapes: [count + 1].
        category: Category codes of the window, 0 and below unknown. Shapes: [w].
        gram: How alike the candidates of the window are. Shapes: [w, w].
        codes: Value of each attribute, 0 and below unknown: no cap or spacing holds for it. Shapes: [a, m].
        caps: Most places of one value of the attribute; 0 none. Shapes: [a].
        gaps: Others that stand between two of one value; 0 none. Shapes: [a].
        members: Who counts for a quota. Shapes: [q, m].
        least: Places the quota should get; hard quotas stand before soft ones. Shapes: [q].
        hard: How many of the quotas are hard.
        soft_price: Most score one place of a soft quota may cost.
        share: Chance of each place but the first to be given to chance.
        draws: For each place, whether it explores and whom it shows. Shapes: [2, count], in [0, 1).
    """

    count: int
    score: Doubles
    mode: int
    trade_off: float
    gain: Doubles
    kept: Doubles
    category: Codes
    gram: NDArray[np.float32]
    codes: Codes
    caps: Counts
    gaps: Counts
    members: Flags
    least: Counts
    hard: int
    soft_price: float
    share: float
    draws: Doubles


@dataclass(frozen=True, slots=True)
class Filled:
    """A filled slate.

    Attributes:
        slate: Positions among the candidates, the first place first. Shapes: [k].
        propensities: Chance of each place to show what it shows, all else of the slate given as it then was. Shapes: [k].
        lifted: Whom variety chose before one of a higher score. Shapes: [m].
        charged: 0; 1 + attribute where its cap, 1 + a + attribute where its spacing took the candidate's place. Shapes: [m].
        moves: (``BY_…``, who entered, who left), in the order in which it happened. Shapes: [moves, 3].
        crowded: Places where a spacing could not be kept. Shapes: [a].
    """

    slate: Counts
    propensities: Doubles
    lifted: Flags
    charged: NDArray[np.int16]
    moves: Counts
    crowded: Counts
