"""What was shown to each user lately: what they are tired of, what must wait, which interests are owed places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mainstem.base.request import Floats, Ids, Rows
from mainstem.features.interest_first_artefacts import rows_in
from mainstem.features.interest_first_plan import Plan
from mainstem.features.interest_first_posts import ENTITY, INTEREST, Posts

_HOUR_MS: Final = 3_600_000
_FORGOTTEN: Final = 0.01
"""An entity whose weight fell this low is dropped."""


@dataclass(frozen=True, slots=True)
class Account:
    """One user's account as of ``at_ms``, the time of a request.

    Shapes: ``interest[interests + 1]`` and ``debt[interests + 1]``; ``entity_slots`` ascend.
    """

    interest: Floats
    debt: Floats
    entity_slots: Ids
    entity_weights: Floats
    shown_rows: Rows
    shown_ms: Ids
    at_ms: int

    def fatigue(self, interest: Rows, entity: Rows, now_ms: int, plan: Plan) -> Floats:
        """How tired the user is of candidates with these interests and entities. Shapes: [n]."""
        at = rows_in(self.entity_slots, entity)
        entity_weight = np.append(self.entity_weights, 0.0)[at]
        tired = plan.wear.interest * self.interest[interest] + plan.wear.entity * entity_weight
        return tired * self.fade(now_ms, plan)

    def waiting(self, rows: Rows, now_ms: int, plan: Plan) -> NDArray[np.bool_]:
        """Which candidates were shown so lately that they must wait."""
        lately = self.shown_rows[self.shown_ms > now_ms - plan.wear.cooldown_h * _HOUR_MS]
        return np.isin(rows, lately)

    def fade(self, now_ms: int, plan: Plan) -> float:
        """What is left by now of a weight."""
        return 0.5 ** (max(now_ms - self.at_ms, 0) / (plan.wear.half_life_h * _HOUR_MS))


class Ledger:
    """Everybody's accounts. Only what is served changes them."""

    def __init__(self, posts: Posts) -> None:
        self._posts = posts
        nothing, none = np.empty(0, np.int64), np.zeros(int(posts.sizes[INTEREST]))
        self._empty = Account(none, none, nothing, np.empty(0), nothing, nothing, 0)
        self.accounts: dict[int, Account] = {}

    def of(self, user_id: int) -> Account:
        """The user's account; an empty one for somebody who was served nothing yet."""
        return self.accounts.get(user_id, self._empty)

    def book(self, user_id: int, rows: Rows, floors: Mapping[int, int], now_ms: int, plan: Plan) -> None:
        """Writes a slate down. An interest that missed its floor is owed the missing places."""
        before, slots = self.of(user_id), self._posts.slots[rows]
        fade = before.fade(now_ms, plan)
        shown = np.bincount(slots[:, INTEREST], minlength=len(before.interest))
        missed = np.zeros(len(shown))
        for interest, floor in floors.items():
            missed[interest] = max(floor - shown[interest], 0)
        faded = before.entity_weights * fade
        stays = faded > _FORGOTTEN
        entities, weights = _summed(before.entity_slots[stays], faded[stays], slots[:, ENTITY])
        shown_rows, shown_ms = _noted(before, rows, now_ms, now_ms - plan.wear.cooldown_h * _HOUR_MS)
        self.accounts[user_id] = Account(
            interest=before.interest * fade + shown,
            debt=np.round(before.debt * plan.slate.debt_decay + missed, 9),
            entity_slots=entities,
            entity_weights=weights,
            shown_rows=shown_rows,
            shown_ms=shown_ms,
            at_ms=max(before.at_ms, now_ms),
        )


def _summed(slots: Ids, weights: Floats, more: Ids) -> tuple[Ids, Floats]:
    """The weights with one more for each further slot."""
    together, at = np.unique(np.concatenate([slots, more]), return_inverse=True)
    total = np.bincount(at, np.concatenate([weights, np.ones(len(more))]), len(together))
    return together, total.astype(np.float64)


def _noted(before: Account, rows: Rows, now_ms: int, since_ms: float) -> tuple[Rows, Ids]:
    """What was shown and when, without what is over; what is shown again stands there once, with its new time."""
    stays = (before.shown_ms > since_ms) & ~np.isin(before.shown_rows, rows)
    shown = np.concatenate([before.shown_rows[stays], rows])
    times = np.concatenate([before.shown_ms[stays], np.full(len(rows), now_ms)])
    return shown, times
