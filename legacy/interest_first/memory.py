"""What the stack remembers: of every user their shown items, of everybody the touch rates."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from .catalogue import ALL, INTEREST, PLACE, Catalogue
from .folder import DAY_MS, People, Rows
from .viewer import HALF_LIFE_MS, Past, Viewer


@dataclass(frozen=True, slots=True)
class Shown:
    """One shown item and what became of it."""

    user_id: int
    row: int
    place_key: int
    time_ms: int
    depth: float
    long_view: float
    joined: bool


class Rates:
    """How often things of each key were served and touched, with a 14-day half-life in event time."""

    def __init__(self, keys: int) -> None:
        self.sums = np.zeros((keys, 4))  # served, depth of touch, long views; then the time they are right for

    def copy(self) -> Rates:
        twin = Rates(0)
        twin.sums = self.sums.copy()
        return twin

    def add(self, keys: np.ndarray, time_ms: int, depth: float, long_view: float) -> None:
        """Counts one shown item; one that comes late weighs what it would weigh by now."""
        block = self.sums[keys]
        age = time_ms - block[:, 3]
        block[:, :3] *= np.exp2(np.minimum(-age, 0.0) / HALF_LIFE_MS)[:, None]
        block[:, :3] += np.exp2(np.minimum(age, 0.0) / HALF_LIFE_MS)[:, None] * (1.0, depth, long_view)
        np.maximum(block[:, 3], time_ms, out=block[:, 3])
        self.sums[keys] = block

    def add_all(self, keys: np.ndarray, rows: Rows) -> None:
        """Counts many shown items into empty sums."""
        latest = int(rows.time_ms.max())
        weight = np.exp2((rows.time_ms - latest) / HALF_LIFE_MS)
        for relation in range(keys.shape[1]):
            for column, what in enumerate((weight, weight * rows.depth, weight * rows.long_view)):
                self.sums[:, column] += np.bincount(keys[:, relation], what, minlength=len(self.sums))
        self.sums[:, 3] = latest

    def read(self, keys: np.ndarray, now_ms: int) -> np.ndarray:
        """[..., 3] the sums of keys as of now."""
        block = self.sums[keys]
        fade = np.exp2(np.minimum(block[..., 3:] - now_ms, 0.0) / HALF_LIFE_MS)
        return block[..., :3] * fade


class Archive:
    """The log's rows of every user, waiting until the user is asked for."""

    def __init__(self, rows: Rows, catalogue: Catalogue, people: People) -> None:
        rows = rows.take(np.argsort(rows.user_id, kind="stable"))
        row = catalogue.rows_of(rows.item_id)
        keys = catalogue.keys[row]
        keys[:, PLACE] = catalogue.place_keys(rows.surface, rows.scenario)
        users, starts, lengths = np.unique(rows.user_id, return_index=True, return_counts=True)
        offset = np.array([people.offset_of(user) for user in users.tolist()], dtype=np.int64)
        day = (rows.time_ms + np.repeat(offset, lengths)) // DAY_MS
        self._past = Past(keys, rows.time_ms, day, rows.depth, rows.joined)
        self._interest = catalogue.slots[row, INTEREST]
        self._people, self._width = people, int(catalogue.sizes[INTEREST])
        self._span = {
            u: slice(a, a + n) for u, a, n in zip(users.tolist(), starts.tolist(), lengths.tolist(), strict=True)
        }
        self.rates = Rates(int(catalogue.sizes.sum()))
        if len(rows):
            self.rates.add_all(keys, rows)
        self.records = frozenset(zip(rows.request_id.tolist(), rows.item_id.tolist(), strict=True))

    def __contains__(self, user_id: int) -> bool:
        return user_id in self._span

    def viewer(self, user_id: int) -> Viewer:
        """The user's memory as the log left it."""
        offset = self._people.offset_of(user_id)
        if user_id not in self._span:
            return Viewer(offset, self._width)
        part = self._span[user_id]
        past = Past(*(getattr(self._past, name)[part] for name in Past.__slots__))
        return Viewer(offset, self._width, past, self._interest[part])


class Memory:
    """All state that feedback changes, on top of the rows of a log."""

    def __init__(self, catalogue: Catalogue, people: People, rows: Rows) -> None:
        self.catalogue, self.people = catalogue, people
        self._archive = Archive(rows, catalogue, people)
        self.reset()

    def reset(self) -> None:
        """Back to what the log left; everything noted since is forgotten."""
        self.rates = self._archive.rates.copy()
        self._viewers: dict[int, Viewer] = {}
        self._known: set = set()
        self.events_seen = 0

    def viewer(self, user_id: int) -> Viewer | None:
        """The memory of a user, to read; None when nothing was ever shown to them."""
        found = self._viewers.get(user_id)
        if found is None and user_id in self._archive:
            found = self._viewers[user_id] = self._archive.viewer(user_id)
        return found

    def note(self, shown: Shown, known_as: Hashable) -> bool:
        """Takes one feedback record in; False when it was known before and changed nothing."""
        if known_as in self._known or known_as in self._archive.records:
            return False
        self._known.add(known_as)
        self.events_seen += 1
        keys = self.catalogue.keys[shown.row].copy()
        keys[PLACE] = shown.place_key
        viewer = self.viewer(shown.user_id)
        if viewer is None:
            viewer = self._viewers[shown.user_id] = self._archive.viewer(shown.user_id)
        viewer.add(shown, keys, int(self.catalogue.slots[shown.row, INTEREST]))
        if shown.row == self.catalogue.unlisted:
            keys = keys[[ALL, PLACE]]  # nothing is learned about all unlisted posts together
        self.rates.add(keys, shown.time_ms, shown.depth, shown.long_view)
        return True
