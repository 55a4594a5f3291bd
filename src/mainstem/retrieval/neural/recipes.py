"""How an encoder is trained, and the settings that were chosen on validation for each public set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from mainstem.retrieval.neural.encoder import EncoderShape


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything a training depends on besides the sequences and the seed.

    Attributes:
        shape: Size and parts of the encoder.
        epochs: The schedule's length; training may stop earlier.
        patience: Looks at the validation targets without a better one before it stops.
        every: Epochs between two looks.
        places: Places a batch holds.
        rate: Highest step size; it rises over the first steps and falls as a cosine.
        decay: Weight decay.
        negatives: Shared negatives a batch; 0 is the softmax over all items.
        in_batch: Share of the negatives drawn from the batch's own targets.
        ahead: How many following events are wanted at a place.
        ahead_weight: What each event further ahead counts of the one before it.
        smoothing: Share of the wanted mass spread over all items; full softmax only.
        id_dropout: Share of the items whose id vector is left out of a step, where they have marks.
        average: Of the running mean of the weights, which is what is judged and kept; 0 keeps the last weights.
        warm: Starts the items from who follows whom.
        start: Mean length of an item's first id vector; where most items are rare, a long one is noise that stays.
        numbers: ``bfloat16`` is the faster by far where the processor has matrix tiles for it, and the slower elsewhere;
            ``auto`` asks the processor. A run's bytes are the same only on processors that answer alike.
    """

    shape: EncoderShape = field(default_factory=EncoderShape)
    epochs: int = 30
    patience: int = 3
    every: int = 2
    places: int = 6_400
    rate: float = 2e-3
    decay: float = 0.0
    negatives: int = 0
    in_batch: float = 0.5
    ahead: int = 1
    ahead_weight: float = 0.5
    smoothing: float = 0.0
    id_dropout: float = 0.2
    average: float = 0.995
    warm: bool = True
    start: float = 1.0
    numbers: Literal["auto", "float32", "bfloat16"] = "auto"


_MOVIES: Final = Recipe(EncoderShape(length=100), epochs=32)
"""Long histories, few items: an inner product, a hundred events, dropout as published."""

_SHOPS: Final = Recipe(
    EncoderShape(length=50, dim=128, dropout=0.5, cosine=True),
    epochs=20,
    patience=2,
    every=1,
    places=3_200,
    id_dropout=0.3,
    average=0.998,
)
"""Some nine events a user and eleven an item: cosines, without which the lengths of rarely seen vectors decide."""

RECIPES: Final[dict[str, Recipe]] = {
    "ml-1m": _MOVIES,
    "beauty": _SHOPS,
    "toys": _SHOPS,
    "ml-1m-wide": Recipe(EncoderShape(length=200, dim=128, dropout=0.25), epochs=32),
}
"""By the name of the set. ``ml-1m`` was judged after its whole schedule, ``beauty`` after 6 of its epochs; ``toys`` takes
the settings of ``beauty`` unseen, and the wide one, at twice the cost, was not judged after its whole schedule."""
