"""Which parts of a made world are planted, so that each stack is known to win or to miss one?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.data.world.catalogue import LEAVES_PER_TOPIC, Catalogue
from mainstem.data.world.people import BROAD, DORMANT, NARROW, People
from mainstem.data.world.settings import DAY_MS, WorldSettings

_NO_TOPIC: Final = -1


@dataclass(frozen=True, slots=True)
class Slice:
    """A planted set of (user, item) pairs, and the structure that makes it one.

    Shapes:
        users [users], items [items]: who and what can belong. ``user_topic`` [users] and ``item_topic`` [items] must agree besides,
        where the user's is not -1.
    """

    name: str
    why: str
    users: NDArray[np.bool_]
    items: NDArray[np.bool_]
    user_topic: NDArray[np.int16]
    item_topic: NDArray[np.int16]

    def holds(self, users: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which pairs of rows belong?"""
        wanted = self.user_topic[users]
        return self.users[users] & self.items[rows] & ((wanted == _NO_TOPIC) | (wanted == self.item_topic[rows]))


def make_slices(settings: WorldSettings, people: People, items: Catalogue) -> dict[str, Slice]:
    """The three planted slices of a world: ``content_wins``, ``interest_wins`` and ``both_miss``."""
    recent = items.created_ms >= settings.end_ms - 2 * DAY_MS
    plain = ~items.bridge & ~items.violating
    anything = np.full(settings.users, _NO_TOPIC, dtype=np.int16)
    hidden_topic = (people.hidden // LEAVES_PER_TOPIC).astype(np.int16)
    many = (people.kind == BROAD) | (people.kind == DORMANT)
    made = (
        Slice(
            "content_wins",
            "items of the last two days have tags and a creator but little feedback; narrow users have lately left one interest "
            "for another, so their last actions are right and a long histogram is not",
            people.kind == NARROW,
            recent & plain,
            anything,
            items.topic,
        ),
        Slice(
            "interest_wins",
            "broad and dormant users have several lasting interests and a passing fancy a day: their last actions hold dead "
            "fancies, weeks of actions hold what comes back",
            many,
            ~recent & plain,
            anything,
            items.topic,
        ),
        Slice(
            "both_miss",
            "bridge items in a topic the user never met: far from past actions, in no past interest, and never trending",
            np.ones(settings.users, dtype=bool),
            items.bridge & ~items.violating,
            hidden_topic,
            items.topic,
        ),
    )
    return {one.name: one for one in made}
