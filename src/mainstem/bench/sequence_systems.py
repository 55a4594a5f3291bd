"""Which of our retrieval models stand in the tables of sequences, and how each is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.bench.anchors import EASE_MOST_ITEMS, Ease, Popularity
from mainstem.data.sequences import LeaveOneOut, Sequences
from mainstem.evaluate.next_item import Reads
from mainstem.retrieval.next_item import NextItem


@dataclass(frozen=True, slots=True)
class Given:
    """What a system is fitted on: in the strict protocol, ``split.fit`` and (to stop and to weigh by) the validation targets."""

    set_name: str
    split: LeaveOneOut
    seed: int

    def told(self, reads: Reads) -> Sequences:
        """What may be learned from."""
        return self.split.fit if reads == "strict" else self.split.with_validation


@dataclass(frozen=True, slots=True)
class System:
    """One of our rows.

    Attributes:
        fit: Makes the model; an ImportError or KeyError says that this version or this set has none.
        seeded: Whether a seed changes it.
        reads: What it learned from.
        sets: Only these; every set when empty.
        most_items: Only catalogues up to so many items.
    """

    name: str
    kind: Literal["ours", "anchor"]
    fit: Callable[[Given], NextItem]
    seeded: bool = False
    reads: Reads = "strict"
    sets: tuple[str, ...] = ()
    most_items: int | None = None


CLOSED, ENCODER, CONTENT, INTEREST, AVERAGE, UNIFIED = (
    "closed form",
    "encoder",
    "content arm",
    "interest arm",
    "rank average of the arms",
    "unified",
)


@dataclass(frozen=True, slots=True)
class RankAverage:
    """Two models joined by the mean of their places: what anybody gets without learning how to join them."""

    first: NextItem
    second: NextItem
    name: str = AVERAGE

    def scores(self, histories: Sequences, now_ms: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Minus the mean place."""
        return _places(self.first.scores(histories, now_ms)) + _places(self.second.scores(histories, now_ms))


def _places(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    order = np.argsort(scores, axis=1, kind="stable")
    places = np.empty(scores.shape, np.float32)
    np.put_along_axis(places, order, np.arange(scores.shape[1], dtype=np.float32)[None, :], axis=1)
    return places


def _popularity(given: Given) -> NextItem:
    return Popularity.fit(given.told("with_validation"))


def _ease(given: Given) -> NextItem:
    return Ease.fit(given.told("with_validation"))


SYSTEMS: Final[tuple[System, ...]] = (
    System("popularity", "anchor", _popularity, reads="with_validation"),
    System("EASE", "anchor", _ease, reads="with_validation", most_items=EASE_MOST_ITEMS),
)


def systems_of(set_name: str, items: int) -> list[System]:
    """The systems of one set's table."""
    return [
        one
        for one in SYSTEMS
        if (not one.sets or set_name in one.sets) and (one.most_items is None or items <= one.most_items)
    ]


def system(name: str) -> System:
    """A system by its name."""
    return next(one for one in SYSTEMS if one.name == name)
