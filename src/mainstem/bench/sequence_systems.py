"""Which of our retrieval models stand in the tables of sequences, and how each is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.bench.anchors import EASE_MOST_ITEMS, Ease, Popularity
from mainstem.data.sequences import LeaveOneOut, Sequences
from mainstem.evaluate.next_item import Reads
from mainstem.retrieval.blend import Blend, Member, learn_weights
from mainstem.retrieval.encoder_serving import EncoderModel
from mainstem.retrieval.linear import LinearNextItem
from mainstem.retrieval.next_item import NextItem
from mainstem.retrieval.recipes import recipe


@dataclass(frozen=True, slots=True)
class Given:
    """What a system is fitted on: in the strict protocol, ``split.fit`` and (to stop and to weigh by) the validation targets.

    Attributes:
        kept: Where an encoder is kept that another system of the same run is made of; what it cost is added to that one.
    """

    set_name: str
    split: LeaveOneOut
    seed: int
    kept: Path | None = None

    @property
    def encoder(self) -> Path | None:
        """The folder of this seed's encoder."""
        return None if self.kept is None else self.kept / f"{self.set_name}.encoder.{self.seed}"

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


def _closed(given: Given) -> LinearNextItem:
    """The closed form under its recipe: content and behaviour in one model, weights as chosen on validation before."""
    return LinearNextItem.fit(given.told("strict"), recipe(given.set_name))


def _arm(given: Given, arm: Literal["content", "interest"]) -> NextItem:
    """One half of the closed form, its experts weighted anew on validation targets: as good as it gets alone."""
    fitted = LinearNextItem.fit(given.told("strict"), recipe(given.set_name).arm(arm))
    return fitted.weighed(given.split, seed=given.seed)


def _content(given: Given) -> NextItem:
    if given.split.sequences.content is None:
        raise KeyError(f"{given.set_name} does not say what its items are")
    return _arm(given, "content")


def _interest(given: Given) -> NextItem:
    return _arm(given, "interest")


def _average(given: Given) -> NextItem:
    return RankAverage(_content(given), _interest(given))


def _encoder(given: Given) -> EncoderModel:
    # PyTorch takes seconds to import and only training needs it.
    from mainstem.retrieval.neural.recipes import RECIPES as ENCODERS
    from mainstem.retrieval.neural.train import held_of, train_encoder

    model = train_encoder(given.told("strict"), ENCODERS[given.set_name], given.seed, held=held_of(given.split))
    if given.encoder is not None:
        model.save(given.encoder)
    return model


def _unified(given: Given) -> NextItem:
    """Every expert of the closed form and, where the set has a recipe for one, this seed's encoder, weighed together."""
    closed = _closed(given)
    members = [Member(expert, "as_is") for expert in closed.experts]
    encoder = _kept_encoder(given) or _encoder_if_any(given)
    if encoder is not None:
        members.append(Member(encoder, "as_is"))
    return Blend(UNIFIED, tuple(members), learn_weights(members, given.split, seed=given.seed))


def _encoder_if_any(given: Given) -> EncoderModel | None:
    try:
        return _encoder(given)
    except KeyError:
        return None


def _kept_encoder(given: Given) -> EncoderModel | None:
    """The encoder this run trained already, when it is there."""
    folder = given.encoder
    return EncoderModel.load(folder) if folder is not None and folder.is_dir() else None


SYSTEMS: Final[tuple[System, ...]] = (
    System("popularity", "anchor", _popularity, reads="with_validation"),
    System("EASE", "anchor", _ease, reads="with_validation", most_items=EASE_MOST_ITEMS),
    System(CONTENT, "ours", _content),
    System(INTEREST, "ours", _interest),
    System(AVERAGE, "ours", _average),
    System(CLOSED, "ours", _closed),
    System(ENCODER, "ours", _encoder, seeded=True),
    System(UNIFIED, "ours", _unified, seeded=True),
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
