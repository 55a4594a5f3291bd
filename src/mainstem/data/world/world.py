"""A seeded world with known truth: its oracle, its responses to any slate, and its logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mainstem.base.errors import DataError, did_you_mean
from mainstem.base.heads import HEADS, SURFACES
from mainstem.base.seeds import uniforms
from mainstem.data.world import nature
from mainstem.data.world.calibrate import calibrated_intercepts
from mainstem.data.world.catalogue import FIRST_ITEM_ID, Catalogue, make_catalogue
from mainstem.data.world.people import FIRST_USER_ID, People, make_people
from mainstem.data.world.settings import WorldSettings
from mainstem.data.world.slices import Slice, make_slices

_LUCK_STREAM: Final = 5_000
_WATCH_STREAM: Final = _LUCK_STREAM + 1 + len(HEADS)


@dataclass(frozen=True, slots=True)
class Truth:
    """What the oracle knows of impressions that are on screen.

    Shapes:
        probabilities [n, heads] in the order of ``HEADS``; watch_s, value [n].
    """

    probabilities: NDArray[np.float64]
    watch_s: NDArray[np.float64]
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of shown items.

    Shapes:
        viewed [n], heads [n, heads] in the order of ``HEADS``; watch_ms [n]; value [n], by the world's own weights.
    """

    viewed: NDArray[np.int8]
    heads: NDArray[np.int8]
    watch_ms: NDArray[np.int64]
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OracleSlate:
    """The best slate there is, with what each item is worth on screen.

    Shapes:
        item_ids, value [count], best first.
    """

    item_ids: NDArray[np.int64]
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class World:
    """Users, items and the law that joins them. Made by ``make_world``; nothing in it ever changes.

    What comes from a world is labelled *made*; no number from it stands in for one from real logs.
    """

    settings: WorldSettings
    items: Catalogue
    people: People
    intercepts: NDArray[np.float64]
    slices: dict[str, Slice]

    def truth(
        self, user_ids: ArrayLike, item_ids: ArrayLike, surface: str, time_ms: ArrayLike, positions: ArrayLike = 0
    ) -> Truth:
        """What would these users do with these items, were they on screen?

        Args:
            user_ids: One or n users.
            item_ids: One or n items.
            surface: One of ``SURFACES``.
            time_ms: One time or n.
            positions: One place or n; the top of the page when left out.

        Raises:
            DataError: data-901 an unknown user, data-902 an unknown item, data-903 an unknown surface.
        """
        c = self._chances(user_ids, item_ids, surface, time_ms, positions)
        heads, watch_s = nature.expected_heads(c), nature.expected_watch_s(c)
        return Truth(heads, watch_s, nature.value_of(heads, watch_s))

    def respond(
        self,
        user_ids: ArrayLike,
        item_ids: ArrayLike,
        positions: ArrayLike,
        surface: str,
        time_ms: ArrayLike,
        draw: int = 0,
    ) -> Outcomes:
        """What becomes of these items when they are shown?

        Luck is a function of seed, user, item, time and ``draw`` alone: two policies that show one item to one user at one time
        meet the same luck, wherever they place it.

        Raises:
            DataError: data-901 an unknown user, data-902 an unknown item, data-903 an unknown surface.
        """
        c = self._chances(user_ids, item_ids, surface, time_ms, positions)
        user, item, time = np.broadcast_arrays(*(np.asarray(x, dtype=np.int64) for x in (user_ids, item_ids, time_ms)))
        return self.outcomes(c, np.atleast_1d(user), np.atleast_1d(item), np.atleast_1d(time), draw)

    def outcomes(
        self,
        c: nature.Chances,
        user_ids: NDArray[np.int64],
        item_ids: NDArray[np.int64],
        time_ms: NDArray[np.int64],
        draw: int = 0,
    ) -> Outcomes:
        """What happened, for chances that are known already."""
        base = uniforms_key(self.settings.seed, draw)
        luck = [uniforms(base, _LUCK_STREAM + k, user_ids, item_ids, time_ms) for k in range(1 + len(HEADS))]
        viewed, heads = nature.draw_heads(c, luck)
        watch_luck = uniforms(base, _WATCH_STREAM, user_ids, item_ids, time_ms)
        watch_ms = np.round(1000 * nature.draw_watch_s(c, viewed, heads, watch_luck)).astype(np.int64)
        return Outcomes(viewed.astype(np.int8), heads, watch_ms, nature.value_of(heads, watch_ms / 1000))

    def oracle_slate(self, user_id: int, surface: str, now_ms: int, count: int) -> OracleSlate:
        """Which items are truly best for this user now: uploaded already, not violating, one of each canonical item.

        Raises:
            DataError: data-901 an unknown user, data-903 an unknown surface.
        """
        rows = np.flatnonzero((self.items.created_ms <= now_ms) & ~self.items.violating)
        value = self.truth(user_id, self.items.item_ids[rows], surface, now_ms).value
        order = np.lexsort((self.items.item_ids[rows], -value))
        _, first = np.unique(self.items.canonical[rows][order], return_index=True)
        best = order[np.sort(first)[:count]]
        return OracleSlate(self.items.item_ids[rows][best], value[best])

    def in_slice(self, name: str, user_ids: ArrayLike, item_ids: ArrayLike) -> NDArray[np.bool_]:
        """Which of these (user, item) pairs belong to a planted slice?

        Raises:
            DataError: data-901 an unknown user, data-902 an unknown item, data-904 an unknown slice.
        """
        if name not in self.slices:
            raise DataError(f"slice {name!r} is not planted", code="data-904", hint=did_you_mean(name, self.slices))
        users, rows = np.broadcast_arrays(self.user_rows(user_ids), self.item_rows(item_ids))
        return self.slices[name].holds(users, rows)

    def user_rows(self, user_ids: ArrayLike) -> NDArray[np.int64]:
        """The row of each user in ``people``."""
        return _rows(user_ids, FIRST_USER_ID, self.settings.users, "user", "data-901")

    def item_rows(self, item_ids: ArrayLike) -> NDArray[np.int64]:
        """The row of each item in ``items``."""
        return _rows(item_ids, FIRST_ITEM_ID, self.settings.items, "item", "data-902")

    def _chances(
        self, user_ids: ArrayLike, item_ids: ArrayLike, surface: str, time_ms: ArrayLike, positions: ArrayLike
    ) -> nature.Chances:
        if surface not in SURFACES:
            raise DataError(
                f"surface {surface!r} is not in the made world", code="data-903", hint=did_you_mean(surface, SURFACES)
            )
        users, rows, time, place = np.broadcast_arrays(
            np.atleast_1d(self.user_rows(user_ids)), self.item_rows(item_ids), _whole(time_ms), _whole(positions)
        )
        codes = nature.surface_codes(surface, len(users))
        return pair_chances(self.people, self.items, self.intercepts, users, rows, codes, time, place)


def make_world(settings: WorldSettings | None = None) -> World:
    """Which world follows from these settings? The same settings give the same world."""
    settings = settings or WorldSettings()
    items = make_catalogue(settings)
    people = make_people(settings, items)
    intercepts = calibrated_intercepts(settings, people, items)
    return World(settings, items, people, intercepts, make_slices(settings, people, items))


def pair_chances(
    people: People,
    items: Catalogue,
    intercepts: NDArray[np.float64],
    users: NDArray[np.int64],
    rows: NDArray[np.int64],
    surfaces: NDArray[np.int64],
    time_ms: NDArray[np.int64],
    positions: NDArray[np.int64],
) -> nature.Chances:
    """The chances of impressions given as rows of people and items.

    Shapes:
        [n] each.
    """
    near = nature.affinity(people, items, users, rows, time_ms)
    scores = nature.tendencies(people, items, users, rows, surfaces, time_ms, near)
    return nature.chances(scores, intercepts, surfaces, positions, items.duration_s[rows], near)


def uniforms_key(seed: int, draw: int) -> int:
    """One key for a seed and an independent draw."""
    return seed * 1_000_003 + draw


def _whole(numbers: ArrayLike) -> NDArray[np.int64]:
    return np.asarray(numbers, dtype=np.int64)


def _rows(ids: ArrayLike, first: int, count: int, what: str, code: str) -> NDArray[np.int64]:
    rows = _whole(ids) - first
    outside = (rows < 0) | (rows >= count)
    if outside.any():
        found = np.atleast_1d(_whole(ids))[np.atleast_1d(outside)][0]
        raise DataError(
            f"{what} {found} does not live in this made world, expected {first} to {first + count - 1}",
            code=code,
            hint="a made world answers only for its own ids; check that the log is the world's own",
        )
    return rows
