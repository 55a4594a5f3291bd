"""Hashed crosses of categories: one slot number for each declared combination of columns, and how many of them collide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mainstem.base.seeds import mix
from mainstem.features.extract.errors import ExtractionError
from mainstem.features.extract.extractor import Extracted, Json, State, need_columns
from mainstem.features.extract.tokens import salt_of, value_hashes

LARGEST_SLOTS = 1 << 30


@dataclass(frozen=True, slots=True)
class Collisions:
    """How one cross fills its slots.

    Units:
        ``shared_share`` is the share (0 to 1) of distinct combinations that sit in a slot with another one; ``expected_share``
        is what a perfect hash would give: 1 - (1 - 1/slots) ** (distinct - 1).
    """

    cross: tuple[str, ...]
    slots: int
    distinct: int
    occupied: int
    shared_share: float
    expected_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedCross:
    """The slot of each declared cross, 1 to ``slots`` - 1; slot 0 is a cross with a part missing. All missing is empty.

    Args:
        name: The folder of the results.
        version: Yours.
        crosses: Tuples of columns: ``(("kind", "tag"), ("tag", "creator"))``. Order within a tuple matters.
        slots: How many slots each cross has, at least 2.
        salt: Another salt, other collisions.
    Source:
        Wide and deep learning (Cheng et al., DLRS 2016), with hashed in place of enumerated crosses.
    """

    name: str
    version: str
    crosses: tuple[tuple[str, ...], ...]
    slots: int
    salt: int = 0

    def __post_init__(self) -> None:
        """Refuses no crosses, an empty cross, or a number of slots that does not fit."""
        if not self.crosses or not all(self.crosses) or not 2 <= self.slots <= LARGEST_SLOTS:
            raise ExtractionError(
                f"crosses need at least one column each and 2 to 2**30 slots; found {self.crosses} and {self.slots}",
                code="feature-063",
                hint="HashedCross(..., crosses=(('kind', 'tag'),), slots=1 << 18)",
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of a cross, once."""
        return tuple(dict.fromkeys(name for cross in self.crosses for name in cross))

    @property
    def dim(self) -> int:
        """One slot number a cross."""
        return len(self.crosses)

    @property
    def scale(self) -> float:
        """Slot numbers are whole."""
        return 1.0

    def definition(self) -> dict[str, Json]:
        """Crosses, slots and salt."""
        return {"crosses": [list(cross) for cross in self.crosses], "slots": self.slots, "salt": self.salt, "form": 1}

    def extract(self, rows: pl.DataFrame) -> Extracted:
        """The slots of these rows."""
        need_columns(rows, self.columns, self.name)
        slots = np.stack([self._slots_of(rows, cross)[0] for cross in self.crosses], axis=1)
        told = np.any(slots != 0.0, axis=1)
        return Extracted(slots, np.where(told, State.KNOWN, State.EMPTY).astype(np.int8), {})

    def collisions(self, rows: pl.DataFrame) -> tuple[Collisions, ...]:
        """How many distinct combinations of these rows share a slot, cross by cross."""
        need_columns(rows, self.columns, self.name)
        return tuple(self._collisions_of(rows, cross) for cross in self.crosses)

    def _slots_of(self, rows: pl.DataFrame, cross: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
        whole = np.ones(rows.height, np.bool_)
        state = np.full(rows.height, salt_of("cross", *cross, self.salt))
        for name in cross:
            state = mix(state ^ value_hashes(rows[name], salt_of(name)))
            whole &= rows[name].is_not_null().to_numpy()
        slot = (state % np.uint64(self.slots - 1)).astype(np.float64) + 1.0
        return np.where(whole, slot, 0.0), state

    def _collisions_of(self, rows: pl.DataFrame, cross: tuple[str, ...]) -> Collisions:
        slot, state = self._slots_of(rows, cross)
        _, first = np.unique(state[slot > 0], return_index=True)  # 64 bits tell combinations apart
        taken, times = np.unique(slot[slot > 0][first], return_counts=True)
        distinct = len(first)
        shared = float(times[times > 1].sum() / distinct) if distinct else 0.0
        expected = 1.0 - (1.0 - 1.0 / (self.slots - 1)) ** max(distinct - 1, 0)
        return Collisions(cross, self.slots, distinct, len(taken), shared, expected)
